/*
 * label.h: requests answered by every model of a configuration, and the answers graded: what a
 * router can be fitted on and judged by.
 */
#ifndef EVIDENCE_LABEL_H
#define EVIDENCE_LABEL_H

#include "evidence/block.h"

typedef struct label_plan {
    task_list tasks;
    bool is_asked[CONFIG_MAX_MODELS]; /* by number: who answers; at least one */
    bool is_read;           /* the last model reads the answers of those before it, one at least */
    block_options load;     /* LOAD_CLOSED; `progress` and `answered` are label's own */
    const char *journal;    /* a file that keeps answers until all are graded; NULL: none */
    const json_t *settings; /* what the journal must have been written with */
    /* Answers that nobody is asked for: labelled lines by id, of which each model counts that has
     * an answer, with its tokens and prompt_tokens; NULL: none. */
    const json_t *answers;
} label_plan;

typedef struct label_progress {
    void (*call)(void *context, const char *doing, double fraction);
    void *context;
} label_progress;

/* *lines: a JSON list, one object a task, in their order, to be released: the task in the trace's
 * own form (trace.h) and what each model did: of a pair small and large, of more models an object
 * "models" with their names (label_answer finds it):
 *   {"right": bool or null (nothing says what is right), "answer": the text, "finish": stop or
 *       length, "prompt_tokens", "tokens"}; of a request that the model refused
 *       {"right": false, "error": the text}; a model that was not asked is not there
 *   reading: where it was asked for, what the last model thinks of this one's answer:
 *       {"mean", "least": log-probability of a token, nats, "tokens"}; null of no answer
 *   agree: where there is no check and the last model was asked, too, whether both answers come to
 *       the same (answer.h); or null
 * Of a pair reading and agree stand beside small and large.
 * ERR_CANCELLED: it was stopped; what was answered is in the journal. */
error_code label_perform(const label_plan *p, orchestra *o, const config *c,
                         label_progress progress, json_t **lines, failure *fail);

/* What the model of this number did, in a line; NULL: it is not there. */
const json_t *label_answer(const json_t *line, const config *c, size_t number);
/* Whether its answer and the last model's come to the same; NULL: not there. */
const json_t *label_agreement(const json_t *line, const config *c, size_t number);

/* Figures of labelled lines: {"kinds": [{"kind", "requests", "graded", "neither", "models": {NAME:
 * {"right", "low", "high", "tokens", "only", "agreed"}}}]}, the last of them "all"; shares in per
 * cent of the graded, low and high their 95 % interval, tokens the mean of an answer, only: no
 * other model was right, agreed: of those without a check, with the last model; null for a model
 * that was not asked. Of a pair "small" and "large" stand there without "models", and "only_small",
 * "only_large" and "agreed" beside them. NULL: no memory. */
json_t *label_figures(const json_t *lines, const config *c);

#endif
