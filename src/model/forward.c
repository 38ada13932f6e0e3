/* forward.c: the scratch memory of a model's steps, and what a step consists of. What its threads
 * do is in forward_stages.c. */
#include "model/forward_internal.h"

#include <stdlib.h>

#include "base/aligned.h"
#include "model/rope.h"

/* ---- creation ------------------------------------------------------------------------------ */

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static float *take(float **next, size_t n)
{
    float *p = *next;
    *next += (n + 15) / 16 * 16; /* keeps every buffer on a cache line of its own */
    return p;
}

static size_t rope_pairs(const model_config *c)
{
    return (c->ropes[0].dims + c->ropes[1].dims) / 2;
}

static error_code allocate_ropes(forward *f)
{
    for (size_t i = 0; i < MODEL_ROPES; i++) {
        const rope_plan *p = &f->m->config.ropes[i];
        rope_scratch *r = &f->ropes[i];
        if (p->dims == 0)
            continue;
        r->pairs = p->dims / 2;
        r->frequencies = reallocarray(NULL, r->pairs, sizeof *r->frequencies);
        if (r->frequencies == NULL)
            return ERR_MEMORY;
        rope_frequencies(p, f->m->rope_factors, r->frequencies);
    }
    return OK;
}

static error_code allocate_buffers(forward *f)
{
    const model_config *c = &f->m->config;
    size_t n = f->max_rows;
    size_t row =
        2 * c->n_embd + forward_qkv_rows(c) + c->n_heads * c->head_dim + 2 * rope_pairs(c) + 1;
    size_t floats = n * row + f->max_outputs * c->n_vocab + 16 * 16;
    f->memory = aligned_array(floats, sizeof(float));
    f->segments = reallocarray(NULL, n, sizeof *f->segments);
    f->outputs = reallocarray(NULL, f->max_outputs, sizeof *f->outputs);
    f->closing = reallocarray(NULL, n, sizeof *f->closing);
    f->chosen = calloc(f->max_outputs, sizeof *f->chosen);
    if (f->memory == NULL || f->segments == NULL || f->outputs == NULL || f->closing == NULL ||
        f->chosen == NULL || allocate_ropes(f) != OK)
        return ERR_MEMORY;
    float *next = f->memory;
    f->x = take(&next, n * c->n_embd);
    f->block = take(&next, n * c->n_embd);
    f->qkv = take(&next, n * forward_qkv_rows(c));
    f->mixed = take(&next, n * c->n_heads * c->head_dim);
    for (size_t i = 0; i < MODEL_ROPES; i++) {
        f->ropes[i].cosines = take(&next, n * f->ropes[i].pairs);
        f->ropes[i].sines = take(&next, n * f->ropes[i].pairs);
    }
    f->temperatures = take(&next, n);
    f->logits = take(&next, f->max_outputs * c->n_vocab);
    return OK;
}

static error_code allocate_workers(forward *f, failure *fail)
{
    f->workers = calloc((size_t)f->n_threads, sizeof *f->workers);
    if (f->workers == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the forward pass");
    for (int i = 0; i < f->n_threads; i++) {
        worker_scratch *w = &f->workers[i];
        size_t floats = attention_scratch_floats(&f->shape, ATTENTION_ROWS);
        w->normed = aligned_array(f->max_length, sizeof(float));
        w->attention = aligned_array(floats, sizeof(float));
        w->tile = aligned_array(2 * MATRIX_PIECE_ROWS * f->max_rows, sizeof(float));
        if (w->normed == NULL || w->attention == NULL || w->tile == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for the forward pass");
        error_code code = activation_create(&w->own, f->max_length, PRIVATE_ROWS, fail);
        if (code != OK)
            return code;
    }
    return OK;
}

error_code forward_create(forward **out, const model *m, int n_threads, size_t max_rows,
                          size_t max_outputs, failure *fail)
{
    const model_config *c = &m->config;
    forward *f = calloc(1, sizeof *f);
    if (f == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the forward pass");
    f->m = m;
    f->n_threads = n_threads;
    f->max_rows = max_rows;
    f->max_outputs = max_outputs;
    f->max_length = max_size(max_size(c->n_embd, c->n_ff), c->n_heads * c->head_dim);
    f->shape = (attention_shape){
        .type = KV_F32, .group = c->n_heads / c->n_kv_heads, .head_dim = c->head_dim};
    error_code code = allocate_buffers(f);
    if (code != OK)
        failure_set(fail, code, "no memory for steps of %zu rows", max_rows);
    if (code == OK)
        code = allocate_workers(f, fail);
    if (code == OK)
        code = activation_create(&f->shared, f->max_length, max_rows, fail);
    if (code == OK && c->n_ff > 0)
        code = activation_create(&f->ffn, c->n_ff, max_rows, fail);
    if (code == OK)
        code = team_loop_create(&f->loop, n_threads, fail);
    if (code == OK && c->n_experts > 0)
        code = forward_experts_create(f, fail);
    if (code != OK) {
        forward_destroy(f);
        return code;
    }
    *out = f;
    return OK;
}

void forward_destroy(forward *f)
{
    if (f == NULL)
        return;
    for (int i = 0; f->workers != NULL && i < f->n_threads; i++) {
        activation_destroy(f->workers[i].own);
        free(f->workers[i].normed);
        free(f->workers[i].attention);
        free(f->workers[i].tile);
    }
    free(f->workers);
    activation_destroy(f->shared);
    activation_destroy(f->ffn);
    team_loop_destroy(f->loop);
    forward_experts_destroy(f);
    free(f->segments);
    free(f->outputs);
    free(f->closing);
    free(f->chosen);
    for (size_t i = 0; i < MODEL_ROPES; i++)
        free(f->ropes[i].frequencies);
    free(f->memory);
    free(f);
}

/* ---- a step --------------------------------------------------------------------------------- */

/* Rows from `first` on that follow one another in one sequence. */
static size_t count_run(const forward_row *rows, size_t first, size_t n_rows)
{
    size_t n = 1;
    while (first + n < n_rows && rows[first + n].kv == rows[first].kv &&
           rows[first + n].position == rows[first].position + n)
        n++;
    return n;
}

/* Equal parts, so that threads which share them out come to an end together. */
static void add_segments(forward *f, const forward_row *rows, size_t first, size_t n)
{
    size_t parts = (n + ATTENTION_ROWS - 1) / ATTENTION_ROWS;
    for (size_t i = 0; i < parts; i++) {
        size_t begin = first + n * i / parts, end = first + n * (i + 1) / parts;
        f->segments[f->n_segments++] =
            (segment){begin, end - begin, rows[begin].position, rows[begin].kv};
    }
}

static void plan_step(forward *f, const forward_row *rows, size_t n_rows)
{
    f->rows = rows;
    f->n_rows = n_rows;
    f->n_segments = f->n_outputs = f->n_closing = f->n_readers = 0;
    for (size_t first = 0, n; first < n_rows; first += n) {
        n = count_run(rows, first, n_rows);
        add_segments(f, rows, first, n);
    }
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].want == WANT_LOGITS)
            f->outputs[f->n_outputs++] = i;
        if (kv_groups_keys(rows[i].kv->type) && rows[i].position % KV_GROUP == KV_GROUP - 1)
            f->closing[f->n_closing++] = i;
    }
}

void forward_begin(forward *f, const forward_row *rows, size_t n_rows)
{
    plan_step(f, rows, n_rows);
    f->choose = NULL;
    for (int i = 0; i < f->n_threads; i++)
        f->workers[i].skipped_rows = 0;
    f->at = (place){n_rows > 0 ? STAGE_EMBED : STAGE_END, 0};
    f->paused = false;
}

void forward_read_states(forward *f, const state_reader *readers, size_t n_readers)
{
    f->readers = readers;
    f->n_readers = n_readers;
}

void forward_choose_logits(forward *f, logit_choice *choose, void *context)
{
    f->choose = choose;
    f->choose_context = context;
}

bool forward_run(forward *f, team *threads, const atomic_bool *pause)
{
    f->threads = threads;
    f->pause = pause;
    if (f->at.stage != STAGE_END)
        team_run(threads, forward_run_worker, f);
    return f->at.stage == STAGE_END;
}

void forward_step(forward *f, team *threads, const forward_row *rows, size_t n_rows)
{
    forward_begin(f, rows, n_rows);
    forward_run(f, threads, NULL);
}

float *forward_logits(forward *f, size_t index)
{
    return f->logits + index * f->m->config.n_vocab;
}

size_t forward_kv_bytes(const model *m, kv_type type, size_t position)
{
    const model_config *c = &m->config;
    size_t bytes = 0; /* of one KV head of all layers */
    for (size_t i = 0; i < c->n_layers; i++) {
        size_t window = config_layer(c, i)->window;
        size_t seen = window > 0 && window < position + 1 ? window : position + 1;
        bytes += kv_read_bytes(type, c->head_dim, position, seen);
    }
    return c->n_kv_heads * bytes;
}
