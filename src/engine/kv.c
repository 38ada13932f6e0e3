/* kv.c: what of finished sequences a new one takes. */
#include "engine/kv_internal.h"

#include <string.h>

#include "base/clock.h"

/* What follows a common prefix in a finished slot is worth keeping, and so the prefix worth
 * copying, when it is longer than this: copying a position costs about a hundredth of computing it,
 * and perhaps one conversation in five comes back. */
#define TAIL_TOKENS 32
#define TAIL_PART 16 /* of the prefix: one token in so many */

#define COPY_POSITIONS 32       /* a piece of copying: 2.5 MB on the pangu-1b shape, f16 */
#define GIVE_BACK_POSITIONS 256 /* a piece of giving back */

/* ---- what a slot holds ---------------------------------------------------------------------- */

bool kv_is_copying(const kv_slot *slot)
{
    return slot->source != NULL;
}

/* Only the first n tokens stay valid; who copies from the slot gets no more than these. */
static void cut(kv_cache *kv, kv_slot *slot, size_t n);

static void cut_reader(kv_cache *kv, kv_slot *reader, size_t n)
{
    if (reader->wanted > n)
        reader->wanted = n;
    size_t end = reader->wanted > reader->tokens.length ? reader->wanted : reader->tokens.length;
    bool begins_anew = !kv_can_go_on(kv, reader, end);
    if (begins_anew || reader->tokens.length >= reader->wanted)
        reader->source = NULL;
    if (begins_anew)
        cut(kv, reader, 0);
    else
        kv_lower_begins(kv, reader, end);
}

static void cut(kv_cache *kv, kv_slot *slot, size_t n)
{
    slot->tokens.length = n;
    kv_lower_begins(kv, slot, n);
    for (size_t i = 0; i < kv->n_slots; i++)
        if (kv->slots[i].source == slot)
            cut_reader(kv, &kv->slots[i], n);
}

/* Of one region, positions begin … end - 1 from `least` on. (Of grouped keys from the group's
 * begin: what the slot had of it was open, and the group's scales stand there.) */
static void copy_region(char *to, const char *source, size_t position_bytes, size_t least,
                        size_t begin, size_t end)
{
    begin = begin > least ? begin : least;
    if (begin < end)
        memcpy(to + begin * position_bytes, source + begin * position_bytes,
               (end - begin) * position_bytes);
}

static void copy_piece(kv_cache *kv, kv_slot *slot)
{
    const kv_slot *source = slot->source;
    size_t from = slot->tokens.length, n = slot->wanted - from;
    n = n < COPY_POSITIONS ? n : COPY_POSITIONS;
    kv_commit(kv, slot, from + n);
    for (size_t i = 0; i < 2 * kv->half_regions; i++) {
        bool is_grouped = kv->open_position_bytes > 0 && i < kv->half_regions;
        copy_region(slot->view.keys + i * kv->region_bytes,
                    source->view.keys + i * kv->region_bytes, kv->position_bytes,
                    kv_region_is_windowed(kv, i) ? slot->window_from : 0,
                    is_grouped ? from / KV_GROUP * KV_GROUP : from, from + n);
    }
    for (size_t i = 0; kv->open_position_bytes > 0 && i < kv->half_regions; i++)
        copy_region(slot->view.open_keys + i * kv->open_region_bytes,
                    source->view.open_keys + i * kv->open_region_bytes, kv->open_position_bytes,
                    slot->open_from, from, from + n);
    memcpy(slot->tokens.ids + from, source->tokens.ids + from, n * sizeof(int32_t));
    slot->tokens.length += n;
    if (slot->tokens.length == slot->wanted)
        slot->source = NULL;
}

static void give_back_piece(kv_cache *kv, kv_slot *slot)
{
    size_t n = slot->committed - slot->kept;
    kv_give_back(kv, slot,
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

static size_t common_prefix(const kv_cache *kv, const kv_slot *slot, const int32_t *tokens,
                            size_t n)
{
    const token_list *held = &slot->tokens;
    size_t i = 0;
    while (!slot->is_alone && i < held->length && i + 1 < n && held->ids[i] == tokens[i])
        i++;
    if (!kv_can_go_on(kv, slot, i))
        i = i / KV_GROUP * KV_GROUP; /* at a group's begin no open key is needed */
    return kv_can_go_on(kv, slot, i) ? i : 0;
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

static void drop_readers(kv_cache *kv, const kv_slot *slot)
{
    for (size_t i = 0; i < kv->n_slots; i++) {
        kv_slot *reader = &kv->slots[i];
        if (reader->source != slot)
            continue;
        reader->source = NULL;
        cut(kv, reader, 0);
    }
}

static void copy_from(kv_cache *kv, kv_slot *slot, kv_slot *source, size_t wanted)
{
    size_t from = kv_window_begin(kv, wanted), open_from = kv_open_begin(kv, wanted);
    if (from < source->window_from)
        from = source->window_from;
    if (open_from < source->open_from)
        open_from = source->open_from < wanted ? source->open_from : wanted;
    if (from > slot->window_from || open_from > slot->open_from)
        drop_readers(kv, slot); /* what they are copying goes */
    kv_raise_window(kv, slot, from);
    kv_raise_open(kv, slot, open_from);
    slot->source = source;
    slot->wanted = wanted;
}

kv_slot *kv_acquire(kv_cache *kv, const int32_t *tokens, size_t n)
{
    candidate source = {0}, target = {0};
    for (size_t i = 0; i < kv->n_slots; i++) {
        candidate c = {&kv->slots[i], common_prefix(kv, &kv->slots[i], tokens, n)};
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
    if (source.prefix > target.prefix)
        copy_from(kv, slot, source.slot, source.prefix);
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
        kv_give_back(kv, oldest, 0);
    }
    return before - kv->committed_bytes;
}
