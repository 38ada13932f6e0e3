/* perplexity.c: windows through the forward pass, summed in the text's order. */
#include "measure/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/kv.h"
#include "model/forward.h"

typedef struct reading {
    const model *m;
    const perplexity_options *o;
    forward *forward;
    kv_cache *kv;
    kv_slot *slot;
    forward_row *rows;
    double sum, squares; /* of -ln p, and of its square */
    perplexity_result *out;
} reading;

/* -ln of the probability that softmax gives to `token`. */
static double nats_of(const float *logits, size_t n, int32_t token)
{
    double most = (double)logits[0], total = 0;
    for (size_t i = 1; i < n; i++)
        most = fmax(most, (double)logits[i]);
    for (size_t i = 0; i < n; i++)
        total += exp((double)logits[i] - most);
    return most + log(total) - (double)logits[token];
}

static void count(reading *r, size_t output, int32_t token)
{
    double nats = nats_of(forward_logits(r->forward, output), r->m->config.n_vocab, token);
    r->sum += nats;
    r->squares += nats * nats;
    r->out->tokens++;
}

/* Counts `next[0 … n)`, of which next[i] follows `given` and next[0 … i). */
static void read_window(reading *r, int32_t given, const int32_t *next, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t rows = n - at < r->o->chunk ? n - at : r->o->chunk;
        for (size_t i = 0; i < rows; i++)
            r->rows[i] = (forward_row){at + i == 0 ? given : next[at + i - 1], (uint32_t)(at + i),
                                       &r->slot->view, WANT_LOGITS};
        forward_step(r->forward, r->o->threads, r->rows, rows);
        for (size_t i = 0; i < rows; i++)
            count(r, i, next[at + i]);
        at += rows;
    }
    r->out->windows++;
}

static void read_text(reading *r, const token_list *text)
{
    bool bos = tokenizer_adds_bos(r->m->tokenizer);
    size_t stride = r->o->window - 1;
    double start = clock_ms();
    for (size_t at = bos ? 0 : 1; at < text->length; at += stride) {
        if (r->o->progress != NULL)
            r->o->progress(r->o->progress_context, (double)at / (double)text->length);
        size_t n = text->length - at < stride ? text->length - at : stride;
        int32_t given = bos ? tokenizer_bos(r->m->tokenizer) : text->ids[at - 1];
        read_window(r, given, text->ids + at, n);
    }
    r->out->ms = clock_ms() - start;
}

static void finish(const reading *r)
{
    perplexity_result *out = r->out;
    double n = (double)out->tokens;
    out->nats = r->sum / n;
    out->perplexity = exp(out->nats);
    if (out->tokens > 1)
        out->standard_error = sqrt(fmax(0, r->squares / n - out->nats * out->nats) / (n - 1));
}

static error_code check(const model *m, const token_list *text, size_t window, failure *fail)
{
    if (window < 2 || window > m->config.context_length)
        return failure_set(fail, ERR_CONTEXT,
                           "a window of %zu tokens: must be 2 to the model's context, %zu", window,
                           m->config.context_length);
    if (text->length < (tokenizer_adds_bos(m->tokenizer) ? 1 : 2))
        return failure_set(fail, ERR_INVALID, "the text has no token that could be predicted");
    return OK;
}

error_code measure_perplexity(const model *m, const token_list *text,
                              const perplexity_options *options, perplexity_result *out,
                              failure *fail)
{
    *out = (perplexity_result){0};
    error_code code = check(m, text, options->window, fail);
    if (code != OK)
        return code;
    reading r = {.m = m, .o = options, .out = out};
    r.rows = calloc(options->chunk, sizeof *r.rows);
    if (r.rows == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for %zu rows", options->chunk);
    if (code == OK)
        code = forward_create(&r.forward, m, team_size(options->threads), options->chunk,
                              options->chunk, fail);
    if (code == OK)
        code = kv_create(&r.kv, &m->config, options->kv, options->window, options->window, 1, fail);
    if (code == OK) {
        r.slot = kv_acquire(r.kv, text->ids, 1);
        read_text(&r, text);
        finish(&r);
    }
    kv_destroy(r.kv);
    forward_destroy(r.forward);
    free(r.rows);
    return code;
}
