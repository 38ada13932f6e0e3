/* score.h: what a model thinks of tokens: their log-probabilities, in natural logarithms. */
#ifndef BASE_SCORE_H
#define BASE_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

#define SCORE_MAX_TOP 20

typedef struct token_logprob {
    int32_t token;
    float logprob;
} token_logprob;

typedef struct token_score {
    int32_t token;
    float logprob;
    uint32_t rank; /* tokens that are more probable (of equal ones the lower id is); 0: the one that
                      greedy sampling would take */
} token_score;

typedef struct scored_token {
    token_score score;
    token_logprob top[SCORE_MAX_TOP]; /* the most probable first */
} scored_token;

/* Scores in the order of positions. One thread at a time; start from {0}. */
typedef struct score_list {
    token_score *items;
    size_t length, capacity;
    size_t n_top;       /* of each item; fixed while the list is not empty */
    token_logprob *top; /* item i's at top + i · n_top, the most probable first */
} score_list;

/* ERR_MEMORY: the list is unchanged. */
error_code score_list_add(score_list *list, const scored_token *scored);
/* Appends the other list's items; both have the same n_top, unless `to` is empty. */
error_code score_list_append(score_list *to, const score_list *from);
/* Takes the first n away, which must be there. */
void score_list_drop(score_list *list, size_t n);
void score_list_clear(score_list *list); /* length 0, memory and n_top kept */
void score_list_free(score_list *list);  /* leaves an empty, usable list */

#endif
