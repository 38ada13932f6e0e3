/* score.c: log-sum-exp in one order, ranks and the likeliest tokens of a row. */
#include "engine/score.h"

#include <math.h>

#include "kernel/kernel.h"

float score_log_sum_exp(float *logits, size_t n)
{
    float best = logits[vector_argmax(logits, n)];
    return best + (float)log(vector_exponentials(logits, n, best));
}

static uint32_t rank_of(const float *logits, size_t n_vocab, int32_t token)
{
    uint32_t rank = 0;
    for (size_t i = 0; i < n_vocab; i++)
        rank += logits[i] > logits[token] ? 1 : 0;
    for (size_t i = 0; i < (size_t)token; i++)
        rank += logits[i] == logits[token] ? 1 : 0;
    return rank;
}

/* With logits in place of logarithms. Ids come in order, so of equal ones the lower stays before.
 */
static void find_top(token_logprob *top, size_t n_top, const float *logits, size_t n_vocab)
{
    size_t n = 0;
    for (size_t i = 0; n_top > 0 && i < n_vocab; i++) {
        if (n == n_top && !(logits[i] > top[n - 1].logprob))
            continue;
        size_t at = n < n_top ? n++ : n - 1;
        for (; at > 0 && logits[i] > top[at - 1].logprob; at--)
            top[at] = top[at - 1];
        top[at] = (token_logprob){(int32_t)i, logits[i]};
    }
}

void score_find(scored_token *out, const float *numbers, size_t n, int32_t token, size_t n_top)
{
    out->score = (token_score){token, numbers[token], rank_of(numbers, n, token)};
    find_top(out->top, n_top, numbers, n);
}

void score_token(scored_token *out, float *logits, size_t n_vocab, int32_t token, size_t n_top)
{
    score_find(out, logits, n_vocab, token, n_top);
    float log_sum = score_log_sum_exp(logits, n_vocab);
    out->score.logprob -= log_sum;
    for (size_t i = 0; i < n_top; i++)
        out->top[i].logprob -= log_sum;
}
