#include "engine/lookup.h"

#include <stdlib.h>
#include <string.h>

#define N_TABLES 2
static const size_t run_lengths[N_TABLES] = {6, 3}; /* longest first */

struct lookup {
    uint32_t *tables[N_TABLES]; /* slot → index of the token that followed the run; 0: empty */
    size_t mask;
    size_t seen;
};

error_code lookup_create(lookup **out, size_t max_tokens, failure *fail)
{
    lookup *l = calloc(1, sizeof *l);
    size_t slots = 64;
    while (slots < 2 * max_tokens)
        slots *= 2;
    for (size_t i = 0; l != NULL && i < N_TABLES; i++) {
        l->tables[i] = calloc(slots, sizeof *l->tables[i]);
        if (l->tables[i] == NULL) {
            lookup_destroy(l);
            l = NULL;
        }
    }
    if (l == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to index %zu tokens", max_tokens);
    l->mask = slots - 1;
    *out = l;
    return OK;
}

void lookup_destroy(lookup *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < N_TABLES; i++)
        free(l->tables[i]);
    free(l);
}

static size_t hash_run(const int32_t *tokens, size_t n)
{
    uint64_t h = 0;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint32_t)tokens[i]) * 0x9e3779b97f4a7c15u;
    return (size_t)(h >> 20);
}

void lookup_update(lookup *l, const int32_t *tokens, size_t n_tokens)
{
    for (; l->seen < n_tokens; l->seen++) {
        for (size_t t = 0; t < N_TABLES; t++) {
            size_t n = run_lengths[t];
            /* A newer occurrence, or another run with the same slot, takes the place: drafts are
             * checked against the history, so a collision costs a draft and nothing else. */
            if (l->seen >= n)
                l->tables[t][hash_run(tokens + l->seen - n, n) & l->mask] = (uint32_t)l->seen;
        }
    }
}

size_t lookup_draft(const lookup *l, const int32_t *tokens, size_t n_tokens, size_t max,
                    int32_t *draft, size_t *match)
{
    *match = 0;
    for (size_t t = 0; t < N_TABLES; t++) {
        size_t n = run_lengths[t];
        if (n_tokens < n)
            continue;
        const int32_t *end = tokens + n_tokens - n;
        size_t follows = l->tables[t][hash_run(end, n) & l->mask];
        if (follows < n || memcmp(tokens + follows - n, end, n * sizeof *end) != 0)
            continue;
        /* Past the history's end the draft continues itself: a repeating text stays repeating. */
        for (size_t i = 0; i < max; i++)
            draft[i] = follows + i < n_tokens ? tokens[follows + i] : draft[follows + i - n_tokens];
        *match = n;
        return max;
    }
    return 0;
}
