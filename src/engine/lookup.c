/* lookup.c: hash tables over the history, updated with each token. */
#include "engine/lookup.h"

#include <stdbool.h>
#include <stdlib.h>

#define N_TABLES 5
static const size_t run_lengths[N_TABLES] = {12, 6, 3, 2, 1}; /* longest first */

struct lookup {
    uint32_t *tables[N_TABLES]; /* slot → index of the token that followed the run; 0: empty */
    size_t mask;
    size_t seen;
    size_t source; /* what the text is expected to go on with is there; 0: unknown */
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

static void remember(lookup *l, const int32_t *tokens, size_t follows)
{
    for (size_t t = 0; t < N_TABLES; t++) {
        size_t n = run_lengths[t];
        /* A newer occurrence, or another run with the same slot, takes the place: drafts are
         * checked against the history, so a collision costs a draft and nothing else. */
        if (follows >= n)
            l->tables[t][hash_run(tokens + follows - n, n) & l->mask] = (uint32_t)follows;
    }
}

void lookup_update(lookup *l, const int32_t *tokens, size_t n_tokens)
{
    for (; l->seen < n_tokens; l->seen++) {
        bool as_expected = l->source > 0 && tokens[l->source] == tokens[l->seen];
        l->source = as_expected ? l->source + 1 : 0;
        remember(l, tokens, l->seen);
    }
}

/* For how many tokens what stands before `follows` is what the history ends with. */
static size_t match_length(const int32_t *tokens, size_t n_tokens, size_t follows)
{
    size_t n = 0;
    while (n < LOOKUP_MAX_MATCH && n < follows &&
           tokens[follows - 1 - n] == tokens[n_tokens - 1 - n])
        n++;
    return n;
}

static size_t find_longest(const lookup *l, const int32_t *tokens, size_t n_tokens, size_t *match)
{
    size_t best = l->source;
    *match = best > 0 ? match_length(tokens, n_tokens, best) : 0;
    for (size_t t = 0; t < N_TABLES && *match < LOOKUP_MAX_MATCH; t++) {
        size_t n = run_lengths[t];
        if (n_tokens < n)
            continue;
        size_t follows = l->tables[t][hash_run(tokens + n_tokens - n, n) & l->mask];
        size_t length = follows > 0 ? match_length(tokens, n_tokens, follows) : 0;
        if (length > *match) {
            *match = length;
            best = follows;
        }
    }
    return best;
}

size_t lookup_draft(lookup *l, const int32_t *tokens, size_t n_tokens, size_t max, int32_t *draft,
                    size_t *match)
{
    size_t follows = find_longest(l, tokens, n_tokens, match);
    l->source = follows;
    if (*match == 0)
        return 0;
    /* Past the history's end the draft continues itself: a repeating text stays repeating. */
    for (size_t i = 0; i < max; i++)
        draft[i] = follows + i < n_tokens ? tokens[follows + i] : draft[follows + i - n_tokens];
    return max;
}
