/* forward.c: one step of many rows through one model, run by every thread of the team at once.
 *
 * Barriers a layer: after q/k/v, after attention, after its output, after gate/up, after down; one
 * more after storing K and V when heads cannot be divided evenly among the threads. */
#include "model/forward_internal.h"

#include <math.h>
#include <stdlib.h>

/* ---- creation ------------------------------------------------------------------------------ */

static size_t qkv_rows(const model_config *c)
{
    return (c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void compute_frequencies(forward *f)
{
    const model_config *c = &f->m->config;
    for (size_t i = 0; i < c->rope_dims / 2; i++) {
        double frequency =
            pow((double)c->rope_base, -2.0 * (double)i / (double)c->rope_dims) * c->rope_scale;
        if (f->m->rope_factors != NULL)
            frequency /= (double)f->m->rope_factors[i];
        f->frequencies[i] = frequency;
    }
}

static float *take(float **next, size_t n)
{
    float *p = *next;
    *next += (n + 15) / 16 * 16; /* keeps every buffer on a cache line of its own */
    return p;
}

static error_code allocate_buffers(forward *f)
{
    const model_config *c = &f->m->config;
    size_t half = c->rope_dims / 2, n = f->max_rows;
    size_t floats = n * (c->n_embd + qkv_rows(c) + c->n_heads * c->head_dim + 2 * half) +
                    f->max_outputs * (c->n_embd + c->n_vocab) + 16 * 16;
    f->memory = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
    f->frequencies = malloc(half * sizeof *f->frequencies);
    f->segments = malloc(n * sizeof *f->segments);
    f->output_rows = malloc(n * sizeof *f->output_rows);
    f->logit_outputs = malloc(n * sizeof *f->logit_outputs);
    if (f->memory == NULL || f->frequencies == NULL || f->segments == NULL ||
        f->output_rows == NULL || f->logit_outputs == NULL)
        return ERR_MEMORY;
    float *next = f->memory;
    f->x = take(&next, n * c->n_embd);
    f->qkv = take(&next, n * qkv_rows(c));
    f->mixed = take(&next, n * c->n_heads * c->head_dim);
    f->cosines = take(&next, n * half);
    f->sines = take(&next, n * half);
    f->hidden = take(&next, f->max_outputs * c->n_embd);
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
        w->normed = aligned_alloc(64, (f->max_length * sizeof(float) + 63) / 64 * 64);
        w->attention = aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64);
        w->tile = aligned_alloc(64, 2 * MATRIX_PIECE_ROWS * f->max_rows * sizeof(float));
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
    f->shape = (attention_shape){KV_F32, c->n_heads / c->n_kv_heads, c->head_dim,
                                 1.0f / sqrtf((float)c->head_dim)};
    error_code code = allocate_buffers(f);
    if (code != OK)
        failure_set(fail, code, "no memory for steps of %zu rows", max_rows);
    if (code == OK)
        code = allocate_workers(f, fail);
    if (code == OK)
        code = activation_create(&f->shared, f->max_length, max_rows, fail);
    if (code == OK && c->n_experts == 0)
        code = activation_create(&f->ffn, c->n_ff, max_rows, fail);
    if (code == OK)
        code = team_loop_create(&f->loop, n_threads, fail);
    if (code == OK && c->n_experts > 0)
        code = forward_experts_create(f, fail);
    if (code != OK) {
        forward_destroy(f);
        return code;
    }
    compute_frequencies(f);
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
    free(f->output_rows);
    free(f->logit_outputs);
    free(f->frequencies);
    free(f->memory);
    free(f);
}

/* ---- one worker's part of a step ----------------------------------------------------------- */

/* The product's right-hand side: row i of `input` (stride floats apart), normalised when weight is
 * not NULL. Few rows: every thread makes its own copy; many: they share the work and wait. */
const activation *forward_prepare(const worker *w, const float *input, size_t n_rows, size_t length,
                                  const float *weight, const matrix *m)
{
    bool own = n_rows <= PRIVATE_ROWS;
    activation *a = own ? w->scratch->own : w->f->shared;
    size_t step = own ? 1 : (size_t)w->n_threads;
    for (size_t i = own ? 0 : (size_t)w->thread; i < n_rows; i += step) {
        const float *x = input + i * length;
        if (weight != NULL) {
            vector_rms_norm(w->scratch->normed, x, weight, length, w->c->rms_epsilon);
            x = w->scratch->normed;
        }
        activation_set(a, i, x, length, m);
    }
    if (!own)
        team_barrier(w->f->threads);
    return a;
}

typedef struct row_range {
    size_t begin, end;
} row_range;

/* The next rows for this thread of a product's n rows, `each` at a time. */
static bool take_rows(const worker *w, size_t n, size_t each, row_range *out)
{
    size_t piece;
    if (!team_take(w->f->loop, w->thread, (n + each - 1) / each, &piece))
        return false;
    out->begin = piece * each;
    out->end = n - out->begin < each ? n : out->begin + each;
    return true;
}

/* x += W a (+ bias). */
static void multiply_into_residual(const worker *w, const matrix *m, const activation *a,
                                   const float *bias)
{
    forward *f = w->f;
    size_t n = w->c->n_embd, each = matrix_piece_rows(m, f->n_rows);
    float *tile = w->scratch->tile;
    for (row_range r; take_rows(w, n, each, &r);) {
        size_t rows = r.end - r.begin;
        matrix_multiply(m, a, f->n_rows, r.begin, r.end, tile - r.begin, each);
        for (size_t i = 0; i < f->n_rows; i++) {
            if (bias != NULL)
                vector_add(tile + i * each, bias + r.begin, rows);
            vector_add(f->x + i * n + r.begin, tile + i * each, rows);
        }
    }
}

static void rotate(const model_config *c, float *head, const float *cosines, const float *sines)
{
    size_t half = c->rope_dims / 2;
    size_t step = c->rope == ROPE_ADJACENT ? 2 : 1;
    size_t partner = c->rope == ROPE_ADJACENT ? 1 : half;
    for (size_t i = 0; i < half; i++) {
        float *a = head + i * step, *b = a + partner;
        float even = *a, odd = *b;
        *a = even * cosines[i] - odd * sines[i];
        *b = even * sines[i] + odd * cosines[i];
    }
}

static void finish_head(const worker *w, size_t row, float *head, const float *norm)
{
    const model_config *c = w->c;
    size_t half = c->rope_dims / 2;
    if (norm != NULL)
        vector_rms_norm(head, head, norm, c->head_dim, c->rms_epsilon);
    rotate(c, head, w->f->cosines + row * half, w->f->sines + row * half);
}

static char *kv_position(const model_config *c, const kv_view *kv, char *base, size_t layer,
                         size_t head, size_t position)
{
    size_t index = (layer * c->n_kv_heads + head) * kv->capacity + position;
    return base + index * kv_value_bytes(kv->type, c->head_dim);
}

/* Bias, norm and RoPE for the queries of one KV head's group and for its key; stores key and value.
 */
static void finish_kv_head(const worker *w, const layer_weights *l, size_t layer, size_t head)
{
    forward *f = w->f;
    const model_config *c = w->c;
    size_t d = c->head_dim, group = c->n_heads / c->n_kv_heads, width = qkv_rows(c);
    size_t q_at = head * group * d, k_at = (c->n_heads + head) * d;
    size_t v_at = (c->n_heads + c->n_kv_heads + head) * d;
    for (size_t row = 0; row < f->n_rows; row++) {
        float *qkv = f->qkv + row * width;
        const forward_row *r = &f->rows[row];
        if (l->qkv_bias != NULL) {
            vector_add(qkv + q_at, l->qkv_bias + q_at, group * d);
            vector_add(qkv + k_at, l->qkv_bias + k_at, d);
            vector_add(qkv + v_at, l->qkv_bias + v_at, d);
        }
        for (size_t g = 0; g < group; g++)
            finish_head(w, row, qkv + q_at + g * d, l->q_norm);
        finish_head(w, row, qkv + k_at, l->k_norm);
        kv_store(r->kv->type, kv_position(c, r->kv, r->kv->keys, layer, head, r->position),
                 qkv + k_at, d);
        kv_store(r->kv->type, kv_position(c, r->kv, r->kv->values, layer, head, r->position),
                 qkv + v_at, d);
    }
}

static void attend(const worker *w, size_t layer, size_t head, const segment *s)
{
    forward *f = w->f;
    const model_config *c = w->c;
    attention_shape shape = f->shape;
    shape.type = s->kv->type;
    size_t at = head * shape.group * c->head_dim;
    size_t width = qkv_rows(c), out_width = c->n_heads * c->head_dim;
    attention_head(&shape, f->qkv + s->first_row * width + at, width,
                   kv_position(c, s->kv, s->kv->keys, layer, head, 0),
                   kv_position(c, s->kv, s->kv->values, layer, head, 0), s->first_position,
                   s->n_rows, w->scratch->attention, f->mixed + s->first_row * out_width + at,
                   out_width);
}

static void run_attention(const worker *w, const layer_weights *l, size_t layer)
{
    forward *f = w->f;
    size_t heads = w->c->n_kv_heads, n = (size_t)w->n_threads, me = (size_t)w->thread;
    for (size_t h = me; h < heads; h += n)
        finish_kv_head(w, l, layer, h);
    /* Whole heads a thread: what it stored is all that it reads. */
    bool whole_heads = heads % n == 0;
    if (!whole_heads)
        team_barrier(f->threads);
    for (size_t i = 0; i < f->n_segments * heads; i++) {
        size_t head = i % heads;
        if ((whole_heads ? head : i) % n == me)
            attend(w, layer, head, &f->segments[i / heads]);
    }
}

static void run_qkv(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    const model_config *c = w->c;
    const activation *a = forward_prepare(w, f->x, f->n_rows, c->n_embd, l->attn_norm, l->qkv);
    size_t each = matrix_piece_rows(l->qkv, f->n_rows);
    for (row_range r; take_rows(w, qkv_rows(c), each, &r);)
        matrix_multiply(l->qkv, a, f->n_rows, r.begin, r.end, f->qkv, qkv_rows(c));
}

/* Leaves silu(gate) · up in f->ffn, as down's right-hand side. */
static void run_gate_up(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    const matrix *m = l->gate_up[0];
    size_t n = w->c->n_ff, each = matrix_piece_rows(m, f->n_rows);
    const activation *a = forward_prepare(w, f->x, f->n_rows, w->c->n_embd, l->ffn_norm, m);
    float *gate = w->scratch->tile, *up = gate + each * f->n_rows;
    for (row_range r; take_rows(w, n, each, &r);) {
        size_t rows = r.end - r.begin;
        matrix_multiply(m, a, f->n_rows, r.begin, r.end, gate - r.begin, each);
        /* The up rows follow the gate rows. */
        matrix_multiply(m, a, f->n_rows, n + r.begin, n + r.end, up - n - r.begin, each);
        for (size_t i = 0; i < f->n_rows; i++) {
            vector_silu_multiply(gate + i * each, up + i * each, rows);
            activation_set_part(f->ffn, i, r.begin, gate + i * each, rows, n, l->down[0]);
        }
    }
}

static void run_dense(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    run_gate_up(w, l);
    team_barrier(f->threads);
    multiply_into_residual(w, l->down[0], f->ffn, NULL);
}

static void run_layer(const worker *w, size_t layer)
{
    forward *f = w->f;
    const model_config *c = w->c;
    const layer_weights *l = &f->m->layers[layer];
    run_qkv(w, l);
    team_barrier(f->threads);
    run_attention(w, l, layer);
    team_barrier(f->threads);
    multiply_into_residual(
        w, l->attn_output,
        forward_prepare(w, f->mixed, f->n_rows, c->n_heads * c->head_dim, NULL, l->attn_output),
        l->attn_output_bias);
    team_barrier(f->threads);
    if (c->n_experts > 0)
        forward_experts_run(w, l);
    else
        run_dense(w, l);
    team_barrier(f->threads);
}

static void embed_rows(const worker *w)
{
    forward *f = w->f;
    size_t half = w->c->rope_dims / 2;
    for (size_t i = (size_t)w->thread; i < f->n_rows; i += (size_t)w->n_threads) {
        model_embed(f->m, f->rows[i].token, f->x + i * w->c->n_embd);
        for (size_t j = 0; j < half; j++) {
            double angle = (double)f->rows[i].position * f->frequencies[j];
            f->cosines[i * half + j] = (float)cos(angle);
            f->sines[i * half + j] = (float)sin(angle);
        }
    }
    team_barrier(f->threads);
}

static void run_outputs(const worker *w)
{
    forward *f = w->f;
    const model_config *c = w->c;
    for (size_t i = (size_t)w->thread; i < f->n_outputs; i += (size_t)w->n_threads)
        vector_rms_norm(f->hidden + i * c->n_embd, f->x + f->output_rows[i] * c->n_embd,
                        f->m->output_norm, c->n_embd, c->rms_epsilon);
    if (f->n_logits == 0)
        return;
    team_barrier(f->threads);
    for (size_t i = (size_t)w->thread; i < f->n_logits; i += (size_t)w->n_threads)
        activation_set(f->shared, i, f->hidden + f->logit_outputs[i] * c->n_embd, c->n_embd,
                       f->m->output);
    team_barrier(f->threads);
    size_t each = matrix_piece_rows(f->m->output, f->n_logits);
    for (row_range r; take_rows(w, c->n_vocab, each, &r);)
        matrix_multiply(f->m->output, f->shared, f->n_logits, r.begin, r.end, f->logits,
                        c->n_vocab);
}

static void run_worker(void *context, int thread, int n_threads)
{
    forward *f = context;
    worker w = {f, &f->m->config, &f->workers[thread], thread, n_threads};
    embed_rows(&w);
    for (size_t layer = 0; layer < w.c->n_layers; layer++)
        run_layer(&w, layer);
    run_outputs(&w);
}

/* ---- a step --------------------------------------------------------------------------------- */

static bool continues(const segment *s, const forward_row *r)
{
    return s->kv == r->kv && s->first_position + s->n_rows == r->position &&
           s->n_rows < ATTENTION_ROWS;
}

static void plan_step(forward *f, const forward_row *rows, size_t n_rows)
{
    f->rows = rows;
    f->n_rows = n_rows;
    f->n_segments = f->n_outputs = f->n_logits = 0;
    for (size_t i = 0; i < n_rows; i++) {
        segment *last = f->n_segments > 0 ? &f->segments[f->n_segments - 1] : NULL;
        if (last != NULL && continues(last, &rows[i]))
            last->n_rows++;
        else
            f->segments[f->n_segments++] = (segment){i, 1, rows[i].position, rows[i].kv};
        if (rows[i].want == WANT_LOGITS)
            f->logit_outputs[f->n_logits++] = f->n_outputs;
        if (rows[i].want != WANT_NOTHING)
            f->output_rows[f->n_outputs++] = i;
    }
}

void forward_step(forward *f, team *threads, const forward_row *rows, size_t n_rows)
{
    if (n_rows == 0)
        return;
    plan_step(f, rows, n_rows);
    f->threads = threads;
    team_run(threads, run_worker, f);
}

float *forward_logits(forward *f, size_t index)
{
    return f->logits + index * f->m->config.n_vocab;
}

const float *forward_hidden(const forward *f, size_t index)
{
    return f->hidden + index * f->m->config.n_embd;
}

size_t forward_kv_bytes(const model *m, kv_type type, size_t position)
{
    const model_config *c = &m->config;
    return 2 * c->n_layers * c->n_kv_heads * (position + 1) * kv_value_bytes(type, c->head_dim);
}
