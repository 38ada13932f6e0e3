/*
 * perplexity.h: how well a model predicts a text, so that a quantisation or a KV type carries a
 * figure of quality.
 *
 * The text is cut into windows of `window` tokens, each computed from an empty KV. A window's first
 * token is given and not counted: bos where the model adds one, else the last token of the window
 * before it. The stride is thus window - 1, and every token of the text is counted once (the very
 * first only after bos). The result does not depend on chunk and threads (promise 1).
 */
#ifndef MEASURE_PERPLEXITY_H
#define MEASURE_PERPLEXITY_H

#include "base/buffer.h"
#include "model/model.h"

typedef struct perplexity_options {
    team *threads;
    kv_type kv;
    size_t window; /* tokens, ≥ 2; at most the model's context */
    size_t chunk;  /* rows a step takes, ≥ 1 */
    void (*progress)(void *context, double fraction); /* or NULL */
    void *progress_context;
} perplexity_options;

typedef struct perplexity_result {
    size_t tokens; /* counted */
    size_t windows;
    double nats;           /* mean of -ln p(token) */
    double standard_error; /* of that mean, as if tokens were independent; 0 for one token */
    double perplexity;     /* e^nats */
    double ms;             /* of all windows */
} perplexity_result;

/* ERR_INVALID for a text without a token to count, ERR_CONTEXT for a window longer than the
 * context. */
error_code measure_perplexity(const model *m, const token_list *text,
                              const perplexity_options *options, perplexity_result *out,
                              failure *fail);

#endif
