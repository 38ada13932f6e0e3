/*
 * kv.h: where the keys and values of sequences live, and what of finished ones is worth taking.
 *
 * Memory. A cache has a fixed number of slots, each a range of addresses for the whole context: one
 * region for K and one for V of every layer and KV head, contiguous in positions as the kernels
 * want. Addresses are reserved at the start and cost nothing; the system commits a page when it is
 * first written, and pages that no position needs any more are given back (vAttention's idea). So
 * slots (addresses) and memory are different limits: kv_read_usage and kv_sequence_bytes count the
 * memory, kv_evict makes room in it.
 *
 * Windows. A layer whose rows see only the last positions keeps these, and a few before them: as a
 * sequence grows, the pages below are given back. So its prefix can be taken as long as the window
 * before its end is there; a much shorter one cannot.
 *
 * Groups. Where the type closes keys in groups, the open keys of the last group and of one before
 * are kept beside the closed ones, and the pages below are given back: a sequence can go on from
 * any position within them, and from the begin of any group.
 *
 * Prefix cache. A slot that was given back keeps its tokens and their KV until the slot or its
 * memory is needed, the least recently used first. A new sequence takes the longest common prefix
 * of all slots, running ones included (below the common prefix nothing changes any more): in place,
 * where the slot is free and what follows the prefix is not worth keeping; else by copying.
 *
 * Copying and giving back go on in pieces (kv_work), between which a slot is whole: it holds the
 * KV of its `tokens`, never more, never less. Used by one thread: the conductor's.
 */
#ifndef ENGINE_KV_H
#define ENGINE_KV_H

#include "base/buffer.h"
#include "model/forward.h"

typedef struct kv_slot kv_slot;
typedef struct kv_cache kv_cache;

struct kv_slot {
    kv_view view;      /* capacity: the context, or a little more, up to a page's end */
    token_list tokens; /* whose KV the slot holds, from position 0; has room for the context */

    /* kv.c's own. */
    bool busy;
    bool is_alone; /* its tokens are nobody else's prefix, and are forgotten at its release */
    double last_used_ms;
    size_t kept;      /* positions whose pages shall stay: written, or soon to be */
    size_t committed; /* positions whose pages may be there; what lies above kept is given back */
    /* Layers with a window hold nothing below this position any more. */
    size_t window_from;
    /* No layer holds open keys below this position any more. */
    size_t open_from;
    kv_slot *source; /* being copied from, or NULL */
    size_t wanted;   /* tokens to be had from the source */
};

typedef struct kv_usage {
    size_t reserved_bytes;  /* of addresses */
    size_t committed_bytes; /* of memory: whole pages that are, or may be, resident */
    size_t idle_bytes;      /* of that, held by finished sequences */
} kv_usage;

/* ahead: the most positions beyond a slot's tokens that kv_commit is told of.
 * ERR_UNSUPPORTED where the type's blocks do not fit the heads; ERR_MEMORY where the addresses
 * cannot be reserved, saying which of the system's limits to look at. */
error_code kv_create(kv_cache **out, const model_config *c, kv_type type, size_t context,
                     size_t ahead, size_t n_slots, failure *fail);
void kv_destroy(kv_cache *kv);

/* A slot for a sequence that begins with the n tokens, holding a prefix of at most n - 1 of them
 * (the last one must be computed to have logits); NULL when every slot is busy. More of the prefix
 * may be still to come: see kv_is_copying. */
kv_slot *kv_acquire(kv_cache *kv, const int32_t *tokens, size_t n);
/* The sequence has ended, or gives up its slot; what it computed stays for others. */
void kv_release(kv_cache *kv, kv_slot *slot);

/* Until its release nobody takes a prefix from the slot, and then nothing of it stays. Right after
 * kv_acquire. */
void kv_keep_alone(kv_slot *slot);

/* True while tokens of the prefix are being copied: computing them would be a waste. */
bool kv_is_copying(const kv_slot *slot);
/* Copies and gives back for about budget_ms (0: not at all). True: there is more to do. */
bool kv_work(kv_cache *kv, double budget_ms);

/* Positions below n are about to be written: counts the memory that this will commit. */
void kv_commit(kv_cache *kv, kv_slot *slot, size_t n);
kv_usage kv_read_usage(const kv_cache *kv);
/* Memory for the KV of n positions, at most. Page tables come on top: at most 1/512 of a full slot,
 * but one page a region for a short one. */
size_t kv_sequence_bytes(const kv_cache *kv, size_t n);
/* Forgets finished sequences, least recently used first, until at least so many bytes of memory
 * have gone back to the system or no finished sequence is left; returns how many. */
size_t kv_evict(kv_cache *kv, size_t bytes);

#endif
