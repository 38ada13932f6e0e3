/* score.c: log-sum-exp in one order, ranks and the likeliest tokens of a row. */
#include "engine/score.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

/* ---- one token ------------------------------------------------------------------------------- */

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

/* ---- lists ----------------------------------------------------------------------------------- */

/* More than the list has room for. */
static error_code grow(score_list *list, size_t least)
{
    size_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
    if (capacity < least)
        capacity = least;
    token_score *items = realloc(list->items, capacity * sizeof *items);
    if (items != NULL)
        list->items = items;
    token_logprob *top = NULL;
    if (items != NULL && list->n_top > 0) {
        top = realloc(list->top, capacity * list->n_top * sizeof *top);
        if (top != NULL)
            list->top = top;
    }
    if (items == NULL || (list->n_top > 0 && top == NULL))
        return ERR_MEMORY;
    list->capacity = capacity;
    return OK;
}

error_code score_list_add(score_list *list, const scored_token *scored)
{
    error_code code = list->length == list->capacity ? grow(list, list->length + 1) : OK;
    if (code != OK)
        return code;
    list->items[list->length] = scored->score;
    if (list->n_top > 0)
        memcpy(list->top + list->length * list->n_top, scored->top,
               list->n_top * sizeof *list->top);
    list->length++;
    return OK;
}

error_code score_list_append(score_list *to, const score_list *from)
{
    if (from->length == 0)
        return OK;
    if (to->length == 0 && to->n_top != from->n_top) {
        score_list_free(to);
        to->n_top = from->n_top;
    }
    size_t length = to->length + from->length;
    error_code code = length > to->capacity ? grow(to, length) : OK;
    if (code != OK)
        return code;
    memcpy(to->items + to->length, from->items, from->length * sizeof *to->items);
    if (to->n_top > 0)
        memcpy(to->top + to->length * to->n_top, from->top,
               from->length * to->n_top * sizeof *to->top);
    to->length = length;
    return OK;
}

void score_list_drop(score_list *list, size_t n)
{
    list->length -= n;
    if (list->length == 0)
        return;
    memmove(list->items, list->items + n, list->length * sizeof *list->items);
    if (list->n_top > 0)
        memmove(list->top, list->top + n * list->n_top,
                list->length * list->n_top * sizeof *list->top);
}

void score_list_clear(score_list *list)
{
    list->length = 0;
}

void score_list_free(score_list *list)
{
    free(list->items);
    free(list->top);
    *list = (score_list){.n_top = list->n_top};
}
