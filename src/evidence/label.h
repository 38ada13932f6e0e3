/*
 * label.h: requests answered by both models of a pair, and the answers graded: what a router can be
 * fitted on and judged by.
 */
#ifndef EVIDENCE_LABEL_H
#define EVIDENCE_LABEL_H

#include "evidence/block.h"

typedef struct label_plan {
    task_list tasks;
    bool is_asked[2];       /* small, large: who answers; at least one */
    bool is_read;           /* the large model reads the small one's answers, which is asked */
    block_options load;     /* LOAD_CLOSED; `progress` and `answered` are label's own */
    const char *journal;    /* a file that keeps answers until all are graded; NULL: none */
    const json_t *settings; /* what the journal must have been written with */
    /* Answers that nobody is asked for: labelled lines by id, of which small and large count where
     * they have an answer, with its tokens and prompt_tokens; NULL: none. */
    const json_t *answers;
} label_plan;

typedef struct label_progress {
    void (*call)(void *context, const char *doing, double fraction);
    void *context;
} label_progress;

/* *lines: a JSON list, one object a task, in their order, to be released: the task in the trace's
 * own form (trace.h) and
 *   small, large: {"right": bool or null (nothing says what is right), "answer": the text,
 *       "finish": stop or length, "prompt_tokens", "tokens"}; of a request that the model refused
 *       {"right": false, "error": the text}; a model that was not asked is not there
 *   reading: where it was asked for, what the large model thinks of the small one's answer:
 *       {"mean", "least": log-probability of a token, nats, "tokens"}; null of no answer
 *   agree: where there is no check and both were asked, whether the answers come to the same
 *       (answer.h); or null
 * ERR_CANCELLED: it was stopped; what was answered is in the journal. */
error_code label_perform(const label_plan *p, orchestra *o, const config *c,
                         label_progress progress, json_t **lines, failure *fail);

/* Figures of labelled lines: {"kinds": [{"kind", "requests", "graded", "agreed" (of those without a
 * check), "small": {"right", "low", "high", "tokens"}, "large": …, "only_small", "only_large",
 * "neither"}]}, the last of them "all"; shares in per cent of the graded, low and high their 95 %
 * interval, tokens the mean of an answer; null for a model that was not asked. NULL: no memory. */
json_t *label_figures(const json_t *lines);

#endif
