/* sequence_check.c: what a request to an engine has to be. */
#include "engine/conductor.h"

static error_code check_tokens(const engine *e, const int32_t *tokens, size_t n, failure *fail)
{
    size_t n_vocab = e->model->config.n_vocab;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= n_vocab)
            return failure_set(fail, ERR_INVALID, "token %d is not in the vocabulary of %zu",
                               tokens[i], n_vocab);
    }
    return OK;
}

static error_code check_prompt(const engine *e, const sequence_request *r, failure *fail)
{
    size_t context = e->options.context;
    bool replies = r->kind == SEQUENCE_REPLY;
    if (r->n_prompt == 0)
        return failure_set(fail, ERR_INVALID, "the prompt is empty");
    /* A reply needs room for one token at least. */
    if (r->n_prompt + (replies ? 1 : 0) > context)
        return failure_set(fail, ERR_CONTEXT,
                           "the prompt has %zu tokens%s: that exceeds the available context size "
                           "of %zu",
                           r->n_prompt, replies ? ", and the reply needs one at least" : "",
                           context);
    return check_tokens(e, r->prompt, r->n_prompt, fail);
}

/* ---- by kind --------------------------------------------------------------------------------- */

static error_code check_forced(const engine *e, const sequence_request *r, failure *fail)
{
    if (r->n_forced == 0)
        return OK;
    if (r->max_tokens > 0 || r->grammar != NULL)
        return failure_set(fail, ERR_INVALID, "a forced reply has its own length and no grammar");
    if (r->n_prompt + r->n_forced > e->options.context)
        return failure_set(fail, ERR_CONTEXT,
                           "prompt and forced reply have %zu tokens, the context holds %zu",
                           r->n_prompt + r->n_forced, e->options.context);
    return check_tokens(e, r->forced, r->n_forced, fail);
}

static error_code check_reply(const engine *e, const sequence_request *r, failure *fail)
{
    if (r->lookup.mode == LOOKUP_FIXED &&
        (r->lookup.length == 0 || r->lookup.length > LOOKUP_MAX_DRAFT))
        return failure_set(fail, ERR_INVALID, "lookup length is %u, must be 1 to %d",
                           r->lookup.length, LOOKUP_MAX_DRAFT);
    if (r->lookup.mode == LOOKUP_DRAFT && e->drafter == NULL)
        return failure_set(fail, ERR_INVALID, "lookup is draft, but the model has no draft model");
    error_code code = check_forced(e, r, fail);
    return code == OK ? sampling_check(&r->sampling, e->model->config.n_vocab, fail) : code;
}

static error_code check_labels(const engine *e, const sequence_request *r, failure *fail)
{
    size_t n_vocab = e->model->config.n_vocab;
    if (r->n_labels == 0 || r->n_labels > SEQUENCE_MAX_LABELS)
        return failure_set(fail, ERR_INVALID, "%zu labels, must be 1 to %d", r->n_labels,
                           SEQUENCE_MAX_LABELS);
    for (size_t i = 0; i < r->n_labels; i++) {
        if (r->labels[i] < 0 || (size_t)r->labels[i] >= n_vocab)
            return failure_set(fail, ERR_INVALID, "label token %d is not in the vocabulary",
                               r->labels[i]);
    }
    return OK;
}

static error_code check_scored(const engine *e, const sequence_request *r, failure *fail)
{
    size_t n_vocab = e->model->config.n_vocab;
    size_t most = n_vocab < SCORE_MAX_TOP ? n_vocab : SCORE_MAX_TOP;
    if (r->n_scored >= r->n_prompt)
        return failure_set(fail, ERR_INVALID,
                           "%zu of the prompt's %zu tokens cannot be scored: the first follows "
                           "nothing",
                           r->n_scored, r->n_prompt);
    if (r->kind == SEQUENCE_SCORE && r->n_scored == 0)
        return failure_set(fail, ERR_INVALID, "there are no tokens to be scored");
    if (r->n_top > most)
        return failure_set(fail, ERR_INVALID, "%zu most probable tokens, at most %zu are told",
                           r->n_top, most);
    return OK;
}

static error_code check_layers(const engine *e, const sequence_request *r, failure *fail)
{
    uint32_t last = model_last_state(e->model);
    if (r->n_layers == 0)
        return failure_set(fail, ERR_INVALID, "an embedding of no layer");
    for (size_t i = 0; i < r->n_layers; i++) {
        if (r->layers[i] == 0 || r->layers[i] > last)
            return failure_set(fail, ERR_INVALID,
                               "there is no state of layer %u: 1 to %u are known", r->layers[i],
                               last);
        if (i > 0 && r->layers[i] <= r->layers[i - 1])
            return failure_set(fail, ERR_INVALID, "an embedding's layers must increase");
    }
    return OK;
}

/* What another kind is asked for would be passed over. */
static error_code check_kind(const sequence_request *r, failure *fail)
{
    bool scores = r->kind == SEQUENCE_REPLY || r->kind == SEQUENCE_SCORE;
    if ((r->n_labels > 0 && r->kind != SEQUENCE_CLASSIFICATION) ||
        (r->n_layers > 0 && r->kind != SEQUENCE_EMBEDDING) ||
        (r->n_forced > 0 && r->kind != SEQUENCE_REPLY) ||
        ((r->n_scored > 0 || r->n_top > 0) && !scores))
        return failure_set(fail, ERR_INVALID, "the request mixes what belongs to several kinds");
    return OK;
}

error_code sequence_check(const engine *e, const sequence_request *r, failure *fail)
{
    error_code code = check_prompt(e, r, fail);
    if (code == OK)
        code = check_kind(r, fail);
    if (code == OK && !(r->deadline_ms >= 0))
        code = failure_set(fail, ERR_INVALID, "deadline is %g ms, must be 0 (none) or more",
                           r->deadline_ms);
    if (code == OK && r->kind == SEQUENCE_REPLY)
        code = check_reply(e, r, fail);
    if (code == OK && (r->kind == SEQUENCE_REPLY || r->kind == SEQUENCE_SCORE))
        code = check_scored(e, r, fail);
    if (code == OK && r->kind == SEQUENCE_CLASSIFICATION)
        code = check_labels(e, r, fail);
    if (code == OK && r->kind == SEQUENCE_EMBEDDING)
        code = check_layers(e, r, fail);
    return code;
}
