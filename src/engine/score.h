/*
 * score.h: from the logits of a position to what the model thinks of a token there.
 *
 * Of the model's own distribution, before biases, penalties and temperature. A function of the
 * logits alone, so as exact as they are.
 */
#ifndef ENGINE_SCORE_H
#define ENGINE_SCORE_H

#include "base/score.h"

/* Scores one token by the n_vocab logits of its position, which are changed; n_top is at most
 * n_vocab. */
void score_token(scored_token *out, float *logits, size_t n_vocab, int32_t token, size_t n_top);

/* The same with the numbers themselves, whatever they are, in place of log-probabilities. */
void score_find(scored_token *out, const float *numbers, size_t n, int32_t token, size_t n_top);

/* ln Σ exp(logits), which are changed. */
float score_log_sum_exp(float *logits, size_t n);

#endif
