#include "engine/kv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct kv_cache {
    kv_slot *slots;
    size_t n_slots;
    size_t bytes; /* of keys, and of values, of one slot */
    uint64_t clock;
};

static char *reserve(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
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
    kv_slot *slots = calloc(n_slots, sizeof *slots);
    if (kv == NULL || slots == NULL) {
        free(kv);
        free(slots);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu KV slots", n_slots);
    }
    kv->slots = slots;
    kv->n_slots = n_slots;
    kv->bytes = c->n_layers * c->n_kv_heads * context * kv_value_bytes(type, c->head_dim);
    for (size_t i = 0; i < n_slots; i++) {
        kv_view *view = &slots[i].view;
        *view = (kv_view){type, reserve(kv->bytes), reserve(kv->bytes), context};
        slots[i].tokens.ids = malloc(context * sizeof *slots[i].tokens.ids);
        slots[i].tokens.capacity = context;
        if (view->keys == NULL || view->values == NULL || slots[i].tokens.ids == NULL) {
            int reason = errno;
            kv_destroy(kv);
            return failure_set(fail, ERR_MEMORY,
                               "cannot reserve KV for %zu sequences of %zu tokens: %s", n_slots,
                               context, strerror(reason));
        }
    }
    *out = kv;
    return OK;
}

void kv_destroy(kv_cache *kv)
{
    if (kv == NULL)
        return;
    for (size_t i = 0; i < kv->n_slots; i++) {
        if (kv->slots[i].view.keys != NULL)
            munmap(kv->slots[i].view.keys, kv->bytes);
        if (kv->slots[i].view.values != NULL)
            munmap(kv->slots[i].view.values, kv->bytes);
        token_list_free(&kv->slots[i].tokens);
    }
    free(kv->slots);
    free(kv);
}

static size_t common_prefix(const token_list *held, const int32_t *tokens, size_t n)
{
    size_t i = 0;
    while (i < held->length && i + 1 < n && held->ids[i] == tokens[i])
        i++;
    return i;
}

kv_slot *kv_acquire(kv_cache *kv, const int32_t *tokens, size_t n)
{
    kv_slot *best = NULL;
    size_t best_prefix = 0;
    for (size_t i = 0; i < kv->n_slots; i++) {
        kv_slot *s = &kv->slots[i];
        if (s->busy)
            continue;
        size_t prefix = common_prefix(&s->tokens, tokens, n);
        if (best == NULL || prefix > best_prefix ||
            (prefix == best_prefix && s->last_used < best->last_used)) {
            best = s;
            best_prefix = prefix;
        }
    }
    if (best != NULL) {
        best->busy = true;
        best->tokens.length = best_prefix;
    }
    return best;
}

void kv_release(kv_cache *kv, kv_slot *slot)
{
    slot->busy = false;
    slot->last_used = ++kv->clock;
}
