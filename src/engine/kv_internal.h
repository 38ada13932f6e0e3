/*
 * kv_internal.h: what the KV cache's files share; nobody else includes it.
 *
 *   kv_memory.c   addresses and pages: reserving, committing, giving back, windows
 *   kv.c          the prefix cache: choosing a slot, copying, evicting
 */
#ifndef ENGINE_KV_INTERNAL_H
#define ENGINE_KV_INTERNAL_H

#include "engine/kv.h"

struct kv_cache {
    kv_slot *slots;
    size_t n_slots;
    char *base; /* slot after slot: K, V, open K, token ids; each region begins on a page */
    size_t slot_bytes;
    size_t page_bytes;
    size_t position_bytes; /* of one region */
    size_t half_regions;   /* of K, and of V, of a slot */
    size_t region_bytes;
    size_t open_position_bytes; /* the same of open keys; 0: keys are not grouped */
    size_t open_region_bytes;
    size_t committed_bytes;
    /* Layers with an attention window. */
    size_t window;           /* positions that their rows see; 0: no layer has one */
    size_t ahead;            /* most positions that are committed beyond a slot's tokens */
    size_t windowed_regions; /* of K and V together */
    size_t n_kv_heads;
    bool layer_is_windowed[MODEL_MAX_LAYERS];
};

/* Whether the slot holds what a row at this position sees, beside itself. */
static inline bool kv_can_go_on(const kv_cache *kv, const kv_slot *slot, size_t position)
{
    size_t group = position / KV_GROUP * KV_GROUP;
    if (kv->open_position_bytes > 0 && position > group && group < slot->open_from)
        return false;
    return slot->window_from == 0 || position + 1 >= slot->window_from + kv->window;
}

bool kv_region_is_windowed(const kv_cache *kv, size_t region);
/* Of the layers with a window, only what stands at `from` and beyond is needed from now on. */
void kv_raise_window(kv_cache *kv, kv_slot *slot, size_t from);
/* Open keys are needed from this position on. */
void kv_raise_open(kv_cache *kv, kv_slot *slot, size_t from);
/* Only the first n tokens are: what is to be written after them begins there. */
void kv_lower_begins(kv_cache *kv, kv_slot *slot, size_t n);
/* The lowest position of which open keys are kept behind n tokens. */
size_t kv_open_begin(const kv_cache *kv, size_t n);
/* The lowest position that layers with a window keep behind n tokens: a few may yet be taken back,
 * or be the only ones that differ from the next request's. */
size_t kv_window_begin(const kv_cache *kv, size_t n);
/* Gives back the pages that only positions from … committed - 1 need. */
void kv_give_back(kv_cache *kv, kv_slot *slot, size_t from);

#endif
