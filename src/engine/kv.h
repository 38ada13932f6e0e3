/*
 * kv.h: where the keys and values of sequences live: a fixed number of slots, each contiguous in
 * virtual memory for the whole context, committed by the system page by page as it fills
 * (vAttention's idea). A slot that was given back keeps its content; a new sequence takes the free
 * slot with the longest common prefix. Used by the conductor's thread only.
 */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include "base/buffer.h"
#include "model/forward.h"

typedef struct kv_slot {
    kv_view view;
    token_list tokens; /* whose KV the slot holds, from position 0; has room for the context */
    bool busy;
    uint64_t last_used;
} kv_slot;

typedef struct kv_cache kv_cache;

error_code kv_create(kv_cache **out, const model_config *c, kv_type type, size_t context,
                     size_t n_slots, failure *fail);
void kv_destroy(kv_cache *kv);

/* The best free slot, cut to the prefix it shares with the n tokens (at most n - 1: the last one
 * must be computed to have logits); NULL when none is free. */
kv_slot *kv_acquire(kv_cache *kv, const int32_t *tokens, size_t n);
void kv_release(kv_cache *kv, kv_slot *slot);

#endif
