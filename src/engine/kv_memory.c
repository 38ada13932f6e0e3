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
        kv->slots[i].view = (kv_view){type, keys, values, capacity};
        kv->slots[i].tokens.ids = (int32_t *)(values + kv->half_regions * kv->region_bytes);
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

static size_t region_bytes(const kv_cache *kv, size_t from, size_t to)
{
    size_t begin = page_begin(kv, from * kv->position_bytes);
    size_t end = page_end(kv, to * kv->position_bytes);
    return begin < end ? end - begin : 0;
}

static size_t held_bytes(const kv_cache *kv, size_t window_from, size_t n)
{
    size_t whole = 2 * kv->half_regions - kv->windowed_regions;
    return whole * region_bytes(kv, 0, n) +
           kv->windowed_regions * region_bytes(kv, window_from, n) +
           page_end(kv, n * sizeof(int32_t));
}

size_t kv_slot_bytes(const kv_cache *kv, const kv_slot *slot)
{
    return held_bytes(kv, slot->window_from, slot->committed);
}

/* The window begins somewhere in a page, and moves on only when WINDOW_STEP positions are due. */
size_t kv_sequence_bytes(const kv_cache *kv, size_t n)
{
    size_t most = kv->window + WINDOW_SLACK + WINDOW_STEP + kv->ahead;
    size_t positions_of_page = kv->page_bytes / kv->position_bytes + 1;
    size_t from = kv->window > 0 && n > most + positions_of_page ? n - most - positions_of_page : 0;
    return held_bytes(kv, from, n);
}

static void set_committed(kv_cache *kv, kv_slot *slot, size_t window_from, size_t n)
{
    kv->committed_bytes -= kv_slot_bytes(kv, slot);
    slot->window_from = window_from;
    slot->committed = n;
    kv->committed_bytes += kv_slot_bytes(kv, slot);
}

/* ---- windows -------------------------------------------------------------------------------- */

bool kv_region_is_windowed(const kv_cache *kv, size_t region)
{
    return kv->layer_is_windowed[region % kv->half_regions / kv->n_kv_heads];
}

size_t kv_window_begin(const kv_cache *kv, size_t n)
{
    size_t reach = kv->window + WINDOW_SLACK;
    return kv->window > 0 && n > reach ? n - reach : 0;
}

static bool is_copied_from(const kv_cache *kv, const kv_slot *slot)
{
    for (size_t i = 0; i < kv->n_slots; i++)
        if (kv->slots[i].source == slot)
            return true;
    return false;
}

void kv_raise_window(kv_cache *kv, kv_slot *slot, size_t from)
{
    if (from <= slot->window_from)
        return;
    size_t begin = page_begin(kv, slot->window_from * kv->position_bytes);
    size_t end = page_begin(kv, from * kv->position_bytes);
    for (size_t i = 0; begin < end && i < 2 * kv->half_regions; i++)
        if (kv_region_is_windowed(kv, i))
            madvise(slot->view.keys + i * kv->region_bytes + begin, end - begin, MADV_DONTNEED);
    set_committed(kv, slot, from, slot->committed);
}

void kv_lower_window(kv_cache *kv, kv_slot *slot)
{
    set_committed(kv, slot, 0, slot->committed);
}

void kv_commit(kv_cache *kv, kv_slot *slot, size_t n)
{
    size_t from = kv_window_begin(kv, slot->tokens.length);
    if (from >= slot->window_from + WINDOW_STEP && !is_copied_from(kv, slot))
        kv_raise_window(kv, slot, from);
    if (n > slot->kept)
        slot->kept = n;
    if (n > slot->committed)
        set_committed(kv, slot, slot->window_from, n);
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
        give_back_bytes(kv, (char *)slot->tokens.ids, from * sizeof(int32_t),
                        slot->committed * sizeof(int32_t));
    }
    set_committed(kv, slot, from == 0 ? 0 : slot->window_from, from);
}

kv_usage kv_read_usage(const kv_cache *kv)
{
    kv_usage u = {kv->slot_bytes * kv->n_slots, kv->committed_bytes, 0};
    for (size_t i = 0; i < kv->n_slots; i++)
        if (!kv->slots[i].busy)
            u.idle_bytes += kv_slot_bytes(kv, &kv->slots[i]);
    return u;
}
