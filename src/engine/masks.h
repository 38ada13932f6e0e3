/*
 * masks.h: inside the engine room only: which tokens may follow in the replies that have a grammar,
 * worked out while the step's forward pass runs.
 *
 * A mask_lane is a reply's: its state in the grammar and the masks of one step, the first for the
 * token after those that were accepted, then one after each drafted token. The masker's thread
 * works through the lanes it was given, one mask after the other; whoever needs a mask waits for
 * it. All but the masker's own work is the conductor thread's.
 */
#ifndef ENGINE_MASKS_H
#define ENGINE_MASKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "engine/engine.h"

typedef struct masker masker;
typedef struct mask_lane mask_lane;

error_code masker_create(masker **out, failure *fail);
void masker_destroy(masker *m); /* no lane is at work any more */

error_code mask_lane_create(mask_lane **out, masker *m, const grammar *g, failure *fail);
void mask_lane_destroy(mask_lane *l); /* any thread, also in the middle of a step */

/* Between two steps. */

/* How many of the drafted tokens may follow. */
size_t mask_lane_count_valid(mask_lane *l, const int32_t *draft, size_t n);
/* Tokens that follow in any case; returns how many. */
size_t mask_lane_forced(mask_lane *l, int32_t *tokens, size_t most);

/* Begins a step whose rows are the next token and n drafted ones after it, n ≤ LOOKUP_MAX_DRAFT. */
void mask_lane_begin(mask_lane *l, const int32_t *draft, size_t n);

/* Within a step, on any thread: the mask of a row, bit t % 32 of word t / 32 for token t; NULL
 * while it is not there. */
const uint32_t *mask_lane_find(mask_lane *l, size_t row);

/* Within a step, in order: row 0, the token that was sampled from it, and as long as that was as
 * drafted, row 1 and so on. */

/* Leaves of the logits of a row what may follow; *is_finite: all of these are numbers. */
error_code mask_lane_apply(mask_lane *l, size_t row, float *logits, size_t n_vocab, bool *is_finite,
                           failure *fail);
/* The reply goes on with this token. *complete: the grammar lets nothing follow it. */
error_code mask_lane_accept(mask_lane *l, int32_t token, bool *complete, failure *fail);

#endif
