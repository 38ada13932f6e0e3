/* score.c: lists of scores that grow. */
#include "base/score.h"

#include <stdlib.h>
#include <string.h>

/* More than the list has room for. */
static error_code grow(score_list *list, size_t least)
{
    size_t capacity = list->capacity == 0 ? 64 : 2 * list->capacity;
    if (capacity < least)
        capacity = least;
    token_score *items = reallocarray(list->items, capacity, sizeof *items);
    if (items != NULL)
        list->items = items;
    token_logprob *top = NULL;
    if (items != NULL && list->n_top > 0) {
        top = reallocarray(list->top, capacity, list->n_top * sizeof *top);
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
    list->items = NULL;
    list->top = NULL;
    list->length = list->capacity = 0;
}
