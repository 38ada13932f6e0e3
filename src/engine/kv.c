#include "engine/kv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"

/* What follows a common prefix in a finished slot is worth keeping, and so the prefix worth
 * copying, when it is longer than this: copying a position costs about a hundredth of computing it,
 * and perhaps one conversation in five comes back. */
#define TAIL_TOKENS 32
#define TAIL_PART 16 /* of the prefix: one token in so many */

#define COPY_POSITIONS 32       /* a piece of copying: 2.5 MB on the pangu-1b shape, f16 */
#define GIVE_BACK_POSITIONS 256 /* a piece of giving back */

struct kv_cache {
    kv_slot *slots;
    size_t n_slots;
    char *base; /* slot after slot: K, V, token ids; each region begins on a page */
    size_t slot_bytes;
    size_t page_bytes;
    size_t position_bytes; /* of one region */
    size_t half_regions;   /* of K, and of V, of a slot */
    size_t region_bytes;
    size_t committed_bytes;
};

/* ---- reserving ------------------------------------------------------------------------------ */

static bool multiply(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* Regions begin on a page of their own, so that giving back one's end does not touch the next one:
 * the capacity is rounded up to positions that fill whole pages. */
static bool plan_slot(kv_cache *kv, size_t context, size_t *capacity, size_t *total)
{
    size_t lowest_bit = kv->position_bytes & (~kv->position_bytes + 1);
    size_t unit = lowest_bit < kv->page_bytes ? kv->page_bytes / lowest_bit : 1;
    size_t keys, ids;
    if (context > SIZE_MAX - unit - kv->page_bytes)
        return false;
    *capacity = (context + unit - 1) / unit * unit;
    if (!multiply(*capacity, kv->position_bytes, &kv->region_bytes) ||
        !multiply(kv->region_bytes, 2 * kv->half_regions, &keys) ||
        !multiply(*capacity, sizeof(int32_t), &ids) || ids > SIZE_MAX - kv->page_bytes)
        return false;
    ids = (ids + kv->page_bytes - 1) / kv->page_bytes * kv->page_bytes;
    if (__builtin_add_overflow(keys, ids, &kv->slot_bytes))
        return false;
    return multiply(kv->slot_bytes, kv->n_slots, total);
}

static bool overcommits_never(void)
{
    char mode = '0';
    FILE *f = fopen("/proc/sys/vm/overcommit_memory", "r");
    if (f == NULL)
        return false;
    if (fread(&mode, 1, 1, f) != 1)
        mode = '0';
    fclose(f);
    return mode == '2';
}

/* Which limit of the system most likely stands in the way. */
static void describe_limit(char *out, size_t size)
{
    struct rlimit addresses, data;
    *out = '\0';
    if (getrlimit(RLIMIT_AS, &addresses) == 0 && addresses.rlim_cur != RLIM_INFINITY)
        snprintf(out, size, " (the process may have %.3g GB of addresses: ulimit -v)",
                 (double)addresses.rlim_cur / 1e9);
    else if (getrlimit(RLIMIT_DATA, &data) == 0 && data.rlim_cur != RLIM_INFINITY)
        snprintf(out, size, " (the process may have %.3g GB of data: ulimit -d)",
                 (double)data.rlim_cur / 1e9);
    else if (overcommits_never())
        snprintf(out, size,
                 " (the system reserves nothing beyond its memory: "
                 "vm.overcommit_memory is 2)");
}

static error_code reserve(kv_cache *kv, size_t total, size_t context, failure *fail)
{
    char limit[128];
    void *p = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED) {
        int reason = errno;
        describe_limit(limit, sizeof limit);
        return failure_set(fail, ERR_MEMORY,
                           "cannot reserve %.3g GB of addresses for the KV of %zu sequences of %zu "
                           "tokens: %s%s; use fewer slots or a smaller context",
                           (double)total / 1e9, kv->n_slots, context, strerror(reason), limit);
    }
    kv->base = p;
    /* A huge page would commit 2 MB for the first token of every region. Kernels without huge pages
     * refuse the call, and need none. */
    (void)madvise(p, total, MADV_NOHUGEPAGE);
    return OK;
}

static error_code lay_out(kv_cache *kv, kv_type type, size_t context, failure *fail)
{
    size_t capacity, total;
    if (!plan_slot(kv, context, &capacity, &total))
        return failure_set(fail, ERR_MEMORY,
                           "the KV of %zu sequences of %zu tokens is more than can be addressed; "
                           "use fewer slots or a smaller context",
                           kv->n_slots, context);
    error_code code = reserve(kv, total, context, fail);
    for (size_t i = 0; code == OK && i < kv->n_slots; i++) {
        char *keys = kv->base + i * kv->slot_bytes;
        char *values = keys + kv->half_regions * kv->region_bytes;
        kv->slots[i].view = (kv_view){type, keys, values, capacity};
        kv->slots[i].tokens.ids = (int32_t *)(values + kv->half_regions * kv->region_bytes);
        kv->slots[i].tokens.capacity = context;
    }
    return code;
}

error_code kv_create(kv_cache **out, const model_config *c, kv_type type, size_t context,
                     size_t n_slots, failure *fail)
{
    if (c->head_dim % kv_block_values(type) != 0)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "KV of type %s needs heads of a multiple of %zu values, this model's "
                           "have %zu; use f16",
                           kv_type_name(type), kv_block_values(type), c->head_dim);
    kv_cache *kv = calloc(1, sizeof *kv);
    if (kv == NULL || (kv->slots = calloc(n_slots, sizeof *kv->slots)) == NULL) {
        free(kv);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu KV slots", n_slots);
    }
    kv->n_slots = n_slots;
    kv->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    kv->position_bytes = kv_value_bytes(type, c->head_dim);
    kv->half_regions = c->n_layers * c->n_kv_heads;
    error_code code = lay_out(kv, type, context, fail);
    if (code != OK) {
        kv_destroy(kv);
        return code;
    }
    *out = kv;
    return OK;
}

void kv_destroy(kv_cache *kv)
{
    if (kv == NULL)
        return;
    if (kv->base != NULL)
        munmap(kv->base, kv->slot_bytes * kv->n_slots);
    free(kv->slots);
    free(kv);
}

/* ---- memory --------------------------------------------------------------------------------- */

static size_t page_end(const kv_cache *kv, size_t bytes)
{
    return (bytes + kv->page_bytes - 1) / kv->page_bytes * kv->page_bytes;
}

size_t kv_sequence_bytes(const kv_cache *kv, size_t n)
{
    return 2 * kv->half_regions * page_end(kv, n * kv->position_bytes) +
           page_end(kv, n * sizeof(int32_t));
}

static void set_committed(kv_cache *kv, kv_slot *slot, size_t n)
{
    kv->committed_bytes -= kv_sequence_bytes(kv, slot->committed);
    slot->committed = n;
    kv->committed_bytes += kv_sequence_bytes(kv, n);
}

void kv_commit(kv_cache *kv, kv_slot *slot, size_t n)
{
    if (n > slot->kept)
        slot->kept = n;
    if (n > slot->committed)
        set_committed(kv, slot, n);
}

/* MADV_DONTNEED and not MADV_FREE: the pages are gone when it returns, so that what is counted is
 * what is resident. */
static void give_back_bytes(const kv_cache *kv, char *region, size_t from, size_t to)
{
    from = page_end(kv, from);
    to = page_end(kv, to);
    if (from < to)
        madvise(region + from, to - from, MADV_DONTNEED);
}

/* The pages that only positions from … committed - 1 need. */
static void give_back(kv_cache *kv, kv_slot *slot, size_t from)
{
    if (from == 0) {
        madvise(slot->view.keys, kv->slot_bytes, MADV_DONTNEED);
    } else {
        for (size_t i = 0; i < 2 * kv->half_regions; i++)
            give_back_bytes(kv, slot->view.keys + i * kv->region_bytes, from * kv->position_bytes,
                            slot->committed * kv->position_bytes);
        give_back_bytes(kv, (char *)slot->tokens.ids, from * sizeof(int32_t),
                        slot->committed * sizeof(int32_t));
    }
    set_committed(kv, slot, from);
}

kv_usage kv_read_usage(const kv_cache *kv)
{
    kv_usage u = {kv->slot_bytes * kv->n_slots, kv->committed_bytes, 0};
    for (size_t i = 0; i < kv->n_slots; i++)
        if (!kv->slots[i].busy)
            u.idle_bytes += kv_sequence_bytes(kv, kv->slots[i].committed);
    return u;
}

/* ---- what a slot holds ---------------------------------------------------------------------- */

bool kv_is_copying(const kv_slot *slot)
{
    return slot->source != NULL;
}

/* Only the first n tokens stay valid; who copies from the slot gets no more than these. */
static void cut(kv_cache *kv, kv_slot *slot, size_t n)
{
    slot->tokens.length = n;
    for (size_t i = 0; i < kv->n_slots; i++) {
        kv_slot *reader = &kv->slots[i];
        if (reader->source != slot)
            continue;
        if (reader->wanted > n)
            reader->wanted = n;
        if (reader->tokens.length >= reader->wanted)
            reader->source = NULL;
    }
}

static void copy_piece(kv_cache *kv, kv_slot *slot)
{
    const kv_slot *source = slot->source;
    size_t from = slot->tokens.length, n = slot->wanted - from;
    n = n < COPY_POSITIONS ? n : COPY_POSITIONS;
    kv_commit(kv, slot, from + n);
    for (size_t i = 0; i < 2 * kv->half_regions; i++) {
        size_t at = i * kv->region_bytes + from * kv->position_bytes;
        memcpy(slot->view.keys + at, source->view.keys + at, n * kv->position_bytes);
    }
    memcpy(slot->tokens.ids + from, source->tokens.ids + from, n * sizeof(int32_t));
    slot->tokens.length += n;
    if (slot->tokens.length == slot->wanted)
        slot->source = NULL;
}

static void give_back_piece(kv_cache *kv, kv_slot *slot)
{
    size_t n = slot->committed - slot->kept;
    give_back(kv, slot,
              n > GIVE_BACK_POSITIONS ? slot->committed - GIVE_BACK_POSITIONS : slot->kept);
}

bool kv_work(kv_cache *kv, double budget_ms)
{
    double end_ms = clock_ms() + budget_ms;
    for (size_t i = 0; i < kv->n_slots; i++) {
        kv_slot *slot = &kv->slots[i];
        while (slot->source != NULL || slot->kept < slot->committed) {
            if (clock_ms() >= end_ms)
                return true;
            if (slot->source != NULL)
                copy_piece(kv, slot);
            else
                give_back_piece(kv, slot);
        }
    }
    return false;
}

/* ---- choosing ------------------------------------------------------------------------------- */

typedef struct candidate {
    kv_slot *slot; /* NULL: none yet */
    size_t prefix; /* tokens it has in common with the new sequence */
} candidate;

static size_t common_prefix(const kv_slot *slot, const int32_t *tokens, size_t n)
{
    const token_list *held = &slot->tokens;
    size_t i = 0;
    while (!slot->is_alone && i < held->length && i + 1 < n && held->ids[i] == tokens[i])
        i++;
    return i;
}

static size_t tail(const candidate *c)
{
    return c->slot->tokens.length - c->prefix;
}

/* The longer prefix; then a slot that can be taken; then the one that loses less by it. */
static bool is_better_source(const candidate *c, const candidate *best)
{
    if (best->slot == NULL || c->prefix != best->prefix)
        return best->slot == NULL || c->prefix > best->prefix;
    if (c->slot->busy != best->slot->busy)
        return best->slot->busy;
    if (tail(c) != tail(best))
        return tail(c) < tail(best);
    return c->slot->last_used_ms < best->slot->last_used_ms;
}

/* The least recently used goes first, and before all one that holds nothing. */
static bool goes_before(const kv_slot *slot, const kv_slot *best)
{
    bool empty = slot->tokens.length == 0;
    if (best == NULL || empty != (best->tokens.length == 0))
        return best == NULL || empty;
    return slot->last_used_ms < best->last_used_ms;
}

static bool is_taken_in_place(const candidate *source, const kv_slot *oldest)
{
    if (source->slot->busy)
        return false;
    return source->slot == oldest || tail(source) <= TAIL_TOKENS + source->prefix / TAIL_PART;
}

kv_slot *kv_acquire(kv_cache *kv, const int32_t *tokens, size_t n)
{
    candidate source = {0}, target = {0};
    for (size_t i = 0; i < kv->n_slots; i++) {
        candidate c = {&kv->slots[i], common_prefix(&kv->slots[i], tokens, n)};
        if (is_better_source(&c, &source))
            source = c;
        if (!c.slot->busy && goes_before(c.slot, target.slot))
            target = c;
    }
    if (target.slot == NULL)
        return NULL;
    if (is_taken_in_place(&source, target.slot))
        target = source;
    kv_slot *slot = target.slot;
    cut(kv, slot, target.prefix);
    slot->busy = true;
    slot->kept = n;
    if (source.prefix > target.prefix) {
        slot->source = source.slot;
        slot->wanted = source.prefix;
    }
    return slot;
}

void kv_keep_alone(kv_slot *slot)
{
    slot->is_alone = true;
}

void kv_release(kv_cache *kv, kv_slot *slot)
{
    if (slot->is_alone)
        cut(kv, slot, 0);
    slot->is_alone = false;
    slot->busy = false;
    slot->source = NULL;
    slot->last_used_ms = clock_ms();
    slot->kept = slot->tokens.length;
    if (slot->kept < slot->committed)
        give_back_piece(kv, slot); /* most often all there is: a draft's positions */
}

size_t kv_evict(kv_cache *kv, size_t bytes)
{
    size_t before = kv->committed_bytes;
    while (before - kv->committed_bytes < bytes) {
        kv_slot *oldest = NULL;
        for (size_t i = 0; i < kv->n_slots; i++) {
            kv_slot *slot = &kv->slots[i];
            if (!slot->busy && slot->committed > 0 &&
                (oldest == NULL || slot->last_used_ms < oldest->last_used_ms))
                oldest = slot;
        }
        if (oldest == NULL)
            break;
        cut(kv, oldest, 0);
        oldest->kept = 0;
        give_back(kv, oldest, 0);
    }
    return before - kv->committed_bytes;
}
