/* kv_memory.c: addresses and pages of the KV cache. */
#include "engine/kv_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Positions that layers with a window keep below it: so far a reply may be taken back (a draft, the
 * question of a probe, the end of a turn that a template renders anew) and still be gone on from.
 */
#define WINDOW_SLACK 256
#define WINDOW_STEP 256 /* positions that are given back at once */

/* Positions below the last group whose open keys are kept, for the same reason; computing a group's
 * positions anew is the price where that is too few. They are given back by groups. */
#define OPEN_SLACK KV_GROUP

/* ---- reserving ------------------------------------------------------------------------------ */

static bool multiply(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

/* The fewest positions of so many bytes that fill whole pages: a power of two. */
static size_t page_positions(const kv_cache *kv, size_t position_bytes)
{
    size_t lowest_bit = position_bytes & (~position_bytes + 1);
    return lowest_bit < kv->page_bytes ? kv->page_bytes / lowest_bit : 1;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Regions begin on a page of their own, so that giving back one's end does not touch the next one:
 * the capacity is rounded up to positions that fill whole pages, and whole groups. */
static bool plan_slot(kv_cache *kv, size_t context, size_t *capacity, size_t *total)
{
    size_t unit = page_positions(kv, kv->position_bytes), keys, open, ids;
    if (kv->open_position_bytes > 0)
        unit = larger(larger(unit, page_positions(kv, kv->open_position_bytes)), KV_GROUP);
    if (context > SIZE_MAX - unit - kv->page_bytes)
        return false;
    *capacity = (context + unit - 1) / unit * unit;
    if (!multiply(*capacity, kv->position_bytes, &kv->region_bytes) ||
        !multiply(kv->region_bytes, 2 * kv->half_regions, &keys) ||
        !multiply(*capacity, kv->open_position_bytes, &kv->open_region_bytes) ||
        !multiply(kv->open_region_bytes, kv->half_regions, &open) ||
        !multiply(*capacity, sizeof(int32_t), &ids) || ids > SIZE_MAX - kv->page_bytes)
        return false;
    ids = (ids + kv->page_bytes - 1) / kv->page_bytes * kv->page_bytes;
    if (__builtin_add_overflow(keys, open, &kv->slot_bytes) ||
        __builtin_add_overflow(kv->slot_bytes, ids, &kv->slot_bytes))
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
                           "no memory to reserve %.3g GB for the KV of %zu sequences of %zu "
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
        char *open = values + kv->half_regions * kv->region_bytes;
        kv->slots[i].view =
            (kv_view){type, keys, values, capacity, kv->open_position_bytes > 0 ? open : NULL};
        kv->slots[i].tokens.ids = (int32_t *)(open + kv->half_regions * kv->open_region_bytes);
        kv->slots[i].tokens.capacity = context;
    }
    return code;
}

static void plan_windows(kv_cache *kv, const model_config *c, size_t ahead)
{
    kv->ahead = ahead;
    kv->n_kv_heads = c->n_kv_heads;
    for (size_t i = 0; i < c->n_layers; i++) {
        size_t window = config_layer(c, i)->window;
        kv->layer_is_windowed[i] = window > 0;
        kv->windowed_regions += window > 0 ? 2 * c->n_kv_heads : 0;
        kv->window = window > kv->window ? window : kv->window;
    }
}

error_code kv_create(kv_cache **out, const model_config *c, kv_type type, size_t context,
                     size_t ahead, size_t n_slots, failure *fail)
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
    kv->open_position_bytes = kv_groups_keys(type) ? kv_value_bytes(KV_OPEN_TYPE, c->head_dim) : 0;
    kv->half_regions = c->n_layers * c->n_kv_heads;
    plan_windows(kv, c, ahead);
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

static size_t page_begin(const kv_cache *kv, size_t bytes)
{
    return bytes / kv->page_bytes * kv->page_bytes;
}

static size_t region_bytes(const kv_cache *kv, size_t position_bytes, size_t from, size_t to)
{
    size_t begin = page_begin(kv, from * position_bytes);
    size_t end = page_end(kv, to * position_bytes);
    return begin < end ? end - begin : 0;
}

static size_t held_bytes(const kv_cache *kv, size_t window_from, size_t open_from, size_t n)
{
    size_t whole = 2 * kv->half_regions - kv->windowed_regions;
    return whole * region_bytes(kv, kv->position_bytes, 0, n) +
           kv->windowed_regions * region_bytes(kv, kv->position_bytes, window_from, n) +
           kv->half_regions * region_bytes(kv, kv->open_position_bytes, open_from, n) +
           page_end(kv, n * sizeof(int32_t));
}

/* Bytes of memory that the slot may hold. */
static size_t slot_bytes(const kv_cache *kv, const kv_slot *slot)
{
    return held_bytes(kv, slot->window_from, slot->open_from, slot->committed);
}

/* The lowest that a begin may be which lags `most` positions behind n and lies in a page. */
static size_t lowest_begin(const kv_cache *kv, size_t position_bytes, size_t most, size_t n)
{
    most += kv->page_bytes / position_bytes + 1;
    return n > most ? n - most : 0;
}

/* The window begins somewhere in a page, and moves on only when WINDOW_STEP positions are due. */
size_t kv_sequence_bytes(const kv_cache *kv, size_t n)
{
    size_t most = kv->window + WINDOW_SLACK + WINDOW_STEP + KV_GROUP + kv->ahead, from = 0;
    size_t most_open = OPEN_SLACK + 2 * KV_GROUP + kv->ahead, open_from = 0;
    if (kv->window > 0)
        from = lowest_begin(kv, kv->position_bytes, most, n);
    if (kv->open_position_bytes > 0)
        open_from = lowest_begin(kv, kv->open_position_bytes, most_open, n);
    return held_bytes(kv, from, open_from, n);
}

static void set_held(kv_cache *kv, kv_slot *slot, size_t window_from, size_t open_from, size_t n)
{
    kv->committed_bytes -= slot_bytes(kv, slot);
    slot->window_from = window_from;
    slot->open_from = open_from;
    slot->committed = n;
    kv->committed_bytes += slot_bytes(kv, slot);
}

/* ---- windows -------------------------------------------------------------------------------- */

bool kv_region_is_windowed(const kv_cache *kv, size_t region)
{
    return kv->layer_is_windowed[region % kv->half_regions / kv->n_kv_heads];
}

size_t kv_window_begin(const kv_cache *kv, size_t n)
{
    size_t reach = kv->window + WINDOW_SLACK;
    return kv->window > 0 && n > reach ? (n - reach) / KV_GROUP * KV_GROUP : 0;
}

size_t kv_open_begin(const kv_cache *kv, size_t n)
{
    size_t group = n / KV_GROUP * KV_GROUP;
    return kv->open_position_bytes > 0 && group > OPEN_SLACK ? group - OPEN_SLACK : 0;
}

static bool is_copied_from(const kv_cache *kv, const kv_slot *slot)
{
    for (size_t i = 0; i < kv->n_slots; i++)
        if (kv->slots[i].source == slot)
            return true;
    return false;
}

/* Of one region, the pages that hold nothing from position `to` on; those below `from` are gone. */
static void give_back_below(const kv_cache *kv, char *region, size_t position_bytes, size_t from,
                            size_t to)
{
    size_t begin = page_begin(kv, from * position_bytes), end = page_begin(kv, to * position_bytes);
    if (begin < end)
        madvise(region + begin, end - begin, MADV_DONTNEED);
}

void kv_raise_window(kv_cache *kv, kv_slot *slot, size_t from)
{
    if (from <= slot->window_from)
        return;
    for (size_t i = 0; i < 2 * kv->half_regions; i++)
        if (kv_region_is_windowed(kv, i))
            give_back_below(kv, slot->view.keys + i * kv->region_bytes, kv->position_bytes,
                            slot->window_from, from);
    set_held(kv, slot, from, slot->open_from, slot->committed);
}

void kv_raise_open(kv_cache *kv, kv_slot *slot, size_t from)
{
    if (from <= slot->open_from)
        return;
    for (size_t i = 0; i < kv->half_regions; i++)
        give_back_below(kv, slot->view.open_keys + i * kv->open_region_bytes,
                        kv->open_position_bytes, slot->open_from, from);
    set_held(kv, slot, slot->window_from, from, slot->committed);
}

void kv_lower_begins(kv_cache *kv, kv_slot *slot, size_t n)
{
    set_held(kv, slot, n == 0 ? 0 : slot->window_from, n < slot->open_from ? n : slot->open_from,
             slot->committed);
}

void kv_commit(kv_cache *kv, kv_slot *slot, size_t n)
{
    size_t from = kv_window_begin(kv, slot->tokens.length);
    size_t open_from = kv_open_begin(kv, slot->tokens.length);
    bool is_due = from >= slot->window_from + WINDOW_STEP,
         is_open_due = open_from > slot->open_from;
    if ((is_due || is_open_due) && !is_copied_from(kv, slot)) {
        if (is_due)
            kv_raise_window(kv, slot, from);
        kv_raise_open(kv, slot, open_from);
    }
    if (n > slot->kept)
        slot->kept = n;
    if (n > slot->committed)
        set_held(kv, slot, slot->window_from, slot->open_from, n);
}

/* ---- giving back ---------------------------------------------------------------------------- */

/* MADV_DONTNEED and not MADV_FREE: the pages are gone when it returns, so that what is counted is
 * what is resident. */
static void give_back_bytes(const kv_cache *kv, char *region, size_t from, size_t to)
{
    from = page_end(kv, from);
    to = page_end(kv, to);
    if (from < to)
        madvise(region + from, to - from, MADV_DONTNEED);
}

void kv_give_back(kv_cache *kv, kv_slot *slot, size_t from)
{
    if (from == 0) {
        madvise(slot->view.keys, kv->slot_bytes, MADV_DONTNEED);
    } else {
        for (size_t i = 0; i < 2 * kv->half_regions; i++)
            give_back_bytes(kv, slot->view.keys + i * kv->region_bytes, from * kv->position_bytes,
                            slot->committed * kv->position_bytes);
        for (size_t i = 0; kv->open_position_bytes > 0 && i < kv->half_regions; i++)
            give_back_bytes(kv, slot->view.open_keys + i * kv->open_region_bytes,
                            from * kv->open_position_bytes,
                            slot->committed * kv->open_position_bytes);
        give_back_bytes(kv, (char *)slot->tokens.ids, from * sizeof(int32_t),
                        slot->committed * sizeof(int32_t));
    }
    set_held(kv, slot, from == 0 ? 0 : slot->window_from, from == 0 ? 0 : slot->open_from, from);
}

kv_usage kv_read_usage(const kv_cache *kv)
{
    kv_usage u = {kv->slot_bytes * kv->n_slots, kv->committed_bytes, 0};
    for (size_t i = 0; i < kv->n_slots; i++)
        if (!kv->slots[i].busy)
            u.idle_bytes += slot_bytes(kv, &kv->slots[i]);
    return u;
}
