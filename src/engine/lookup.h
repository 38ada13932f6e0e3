/*
 * lookup.h: prompt lookup: drafts the continuation of a sequence from its own history.
 *
 * Two hash tables remember, for every run of 3 and of 6 tokens, what followed its latest
 * occurrence: O(1) a token. The longest match wins. A lookup belongs to one sequence and one
 * thread; it reads the sequence's tokens, which the caller owns. (Prompt lookup decoding: A.
 * Saxena, 2023.)
 */
#ifndef ENGINE_LOOKUP_H
#define ENGINE_LOOKUP_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct lookup lookup;

/* For sequences of up to max_tokens. */
error_code lookup_create(lookup **out, size_t max_tokens, failure *fail);
void lookup_destroy(lookup *l);

/* Takes in tokens[seen … n_tokens). `tokens` is the whole history, in the same order every call. */
void lookup_update(lookup *l, const int32_t *tokens, size_t n_tokens);

/* Writes up to `max` tokens that followed the latest earlier occurrence of the history's end;
 * returns how many. *match is the length of the run that matched (6 or 3; 0 when none). */
size_t lookup_draft(const lookup *l, const int32_t *tokens, size_t n_tokens, size_t max,
                    int32_t *draft, size_t *match);

#endif
