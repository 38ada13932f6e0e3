/*
 * lookup.h: prompt lookup: drafts the continuation of a sequence from its own history.
 *
 * Hash tables remember, for every run of 1, 2, 3, 6 and 12 tokens, what followed its latest
 * occurrence, and the place that the last draft came from is followed while the text goes on as it
 * does there: O(1) a token. The longest match wins. A lookup belongs to one sequence and one
 * thread; it reads the sequence's tokens, which the caller owns. (Prompt lookup decoding: A.
 * Saxena, 2023.)
 */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct lookup lookup;

#define LOOKUP_MAX_MATCH 64 /* a longer match counts as one of so many tokens */

/* For sequences of up to max_tokens. */
error_code lookup_create(lookup **out, size_t max_tokens, failure *fail);
void lookup_destroy(lookup *l);

/* Takes in tokens[seen … n_tokens). `tokens` is the whole history, in the same order every call. */
void lookup_update(lookup *l, const int32_t *tokens, size_t n_tokens);

/* Writes up to `max` tokens that followed the earlier occurrence whose end is the history's end for
 * the most tokens, the latest such; returns how many. *match is for how many (0: none). */
size_t lookup_draft(lookup *l, const int32_t *tokens, size_t n_tokens, size_t max, int32_t *draft,
                    size_t *match);

#endif
