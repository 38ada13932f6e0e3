/* forward_stages.c: what the threads of a step do. A layer is a row of stages; a stage is prepared,
 * then its pieces are shared out, then all meet at a barrier. That is where a step can be left in
 * the middle: threads take no further piece, and the next run goes on with the pieces that are
 * left. */
#include "model/forward_internal.h"

#include <math.h>

/* The product's right-hand side: row i of `input` (stride floats apart), normalised when weight is
 * not NULL. Few rows: every thread makes its own copy; many: they share the work and wait. */
const activation *forward_prepare(const worker *w, const float *input, size_t length,
                                  const float *weight, const matrix *m)
{
    size_t n_rows = w->f->n_rows;
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

static const activation *forward_prepared(const worker *w)
{
    return w->f->n_rows <= PRIVATE_ROWS ? w->scratch->own : w->f->shared;
}

/* ---- products -------------------------------------------------------------------------------- */

typedef struct row_range {
    size_t begin, end;
} row_range;

static size_t row_pieces(const matrix *m, size_t columns, size_t rows)
{
    size_t each = matrix_piece_rows(m, columns);
    return (rows + each - 1) / each;
}

static row_range piece_rows(const matrix *m, size_t columns, size_t rows, size_t piece)
{
    size_t each = matrix_piece_rows(m, columns), begin = piece * each;
    return (row_range){begin, rows - begin < each ? rows : begin + each};
}

static void multiply_qkv(const worker *w, const layer_weights *l, size_t piece)
{
    forward *f = w->f;
    size_t rows = forward_qkv_rows(w->c);
    row_range r = piece_rows(l->qkv, f->n_rows, rows, piece);
    matrix_multiply(l->qkv, forward_prepared(w), f->n_rows, r.begin, r.end, f->qkv, rows);
}

/* x += W a (+ bias) for one piece of rows. */
static void multiply_into_residual(const worker *w, const matrix *m, const activation *a,
                                   const float *bias, size_t piece)
{
    forward *f = w->f;
    row_range r = piece_rows(m, f->n_rows, w->c->n_embd, piece);
    float *tile = w->scratch->tile;
    size_t n = w->c->n_embd, rows = r.end - r.begin;
    matrix_multiply(m, a, f->n_rows, r.begin, r.end, tile - r.begin, rows);
    for (size_t i = 0; i < f->n_rows; i++) {
        if (bias != NULL)
            vector_add(tile + i * rows, bias + r.begin, rows);
        vector_add(f->x + i * n + r.begin, tile + i * rows, rows);
    }
}

/* Leaves silu(gate) · up in f->ffn, as down's right-hand side. */
static void multiply_gate_up(const worker *w, const layer_weights *l, size_t piece)
{
    forward *f = w->f;
    const matrix *m = l->gate_up[0];
    const activation *a = forward_prepared(w);
    row_range r = piece_rows(m, f->n_rows, w->c->n_ff, piece);
    size_t n = w->c->n_ff, rows = r.end - r.begin;
    float *gate = w->scratch->tile, *up = gate + rows * f->n_rows;
    matrix_multiply(m, a, f->n_rows, r.begin, r.end, gate - r.begin, rows);
    /* The up rows follow the gate rows. */
    matrix_multiply(m, a, f->n_rows, n + r.begin, n + r.end, up - n - r.begin, rows);
    for (size_t i = 0; i < f->n_rows; i++) {
        vector_silu_multiply(gate + i * rows, up + i * rows, rows);
        activation_set_part(f->ffn, i, r.begin, gate + i * rows, rows, n, l->down[0]);
    }
}

/* ---- before and after the layers ---------------------------------------------------------------
 */

static void embed_row(const worker *w, size_t row)
{
    forward *f = w->f;
    size_t half = w->c->rope_dims / 2;
    model_embed(f->m, f->rows[row].token, f->x + row * w->c->n_embd);
    for (size_t j = 0; j < half; j++) {
        double angle = (double)f->rows[row].position * f->frequencies[j];
        f->cosines[row * half + j] = (float)cos(angle);
        f->sines[row * half + j] = (float)sin(angle);
    }
}

static void normalise_output(const worker *w, size_t output)
{
    forward *f = w->f;
    size_t n = w->c->n_embd;
    vector_rms_norm(w->scratch->normed, f->x + f->outputs[output] * n, f->m->output_norm, n,
                    w->c->rms_epsilon);
    activation_set(f->shared, output, w->scratch->normed, n, f->m->output);
}

static void multiply_output(const worker *w, size_t piece)
{
    forward *f = w->f;
    size_t n_vocab = w->c->n_vocab;
    row_range r = piece_rows(f->m->output, f->n_outputs, n_vocab, piece);
    matrix_multiply(f->m->output, f->shared, f->n_outputs, r.begin, r.end, f->logits, n_vocab);
}

/* ---- stages ------------------------------------------------------------------------------------
 */

static void prepare_stage(const worker *w, place at)
{
    forward *f = w->f;
    const layer_weights *l = &f->m->layers[at.layer];
    size_t n = w->c->n_embd;
    if (at.stage == STAGE_QKV)
        forward_prepare(w, f->x, n, l->attn_norm, l->qkv);
    else if (at.stage == STAGE_ATTENTION_OUTPUT)
        forward_prepare(w, f->mixed, w->c->n_heads * w->c->head_dim, NULL, l->attn_output);
    else if (at.stage == STAGE_GATE_UP)
        forward_prepare(w, f->x, n, l->ffn_norm, l->gate_up[0]);
    else if (at.stage == STAGE_EXPERTS)
        forward_experts_run(w, l);
}

static size_t count_pieces(const forward *f, place at)
{
    const model_config *c = &f->m->config;
    const layer_weights *l = &f->m->layers[at.layer];
    switch (at.stage) {
    case STAGE_EMBED:
        return f->n_rows;
    case STAGE_QKV:
        return row_pieces(l->qkv, f->n_rows, forward_qkv_rows(c));
    case STAGE_HEADS:
        return f->n_rows * c->n_kv_heads;
    case STAGE_ATTENTION:
        return f->n_segments * c->n_kv_heads;
    case STAGE_ATTENTION_OUTPUT:
        return row_pieces(l->attn_output, f->n_rows, c->n_embd);
    case STAGE_GATE_UP:
        return row_pieces(l->gate_up[0], f->n_rows, c->n_ff);
    case STAGE_DOWN:
        return row_pieces(l->down[0], f->n_rows, c->n_embd);
    case STAGE_OUTPUTS:
        return f->n_outputs;
    case STAGE_LOGITS:
        return f->n_outputs > 0 ? row_pieces(f->m->output, f->n_outputs, c->n_vocab) : 0;
    default:
        return 0; /* the experts share their work by themselves */
    }
}

static void run_piece(const worker *w, place at, size_t piece)
{
    forward *f = w->f;
    const layer_weights *l = &f->m->layers[at.layer];
    size_t heads = w->c->n_kv_heads;
    switch (at.stage) {
    case STAGE_EMBED:
        embed_row(w, piece);
        return;
    case STAGE_QKV:
        multiply_qkv(w, l, piece);
        return;
    case STAGE_HEADS:
        forward_finish_head(w, at.layer, piece / heads, piece % heads);
        return;
    case STAGE_ATTENTION:
        forward_attend(w, at.layer, &f->segments[piece / heads], piece % heads);
        return;
    case STAGE_ATTENTION_OUTPUT:
        multiply_into_residual(w, l->attn_output, forward_prepared(w), l->attn_output_bias, piece);
        return;
    case STAGE_GATE_UP:
        multiply_gate_up(w, l, piece);
        return;
    case STAGE_DOWN:
        multiply_into_residual(w, l->down[0], f->ffn, NULL, piece);
        return;
    case STAGE_OUTPUTS:
        normalise_output(w, piece);
        return;
    case STAGE_LOGITS:
        multiply_output(w, piece);
        return;
    default:
        return;
    }
}

static place next_place(const forward *f, place at)
{
    bool experts = f->m->config.n_experts > 0;
    switch (at.stage) {
    case STAGE_ATTENTION_OUTPUT:
        at.stage = experts ? STAGE_EXPERTS : STAGE_GATE_UP;
        return at;
    case STAGE_DOWN:
    case STAGE_EXPERTS:
        at.layer++;
        at.stage = at.layer < f->m->config.n_layers ? STAGE_QKV : STAGE_OUTPUTS;
        return at;
    default:
        at.stage++;
        return at;
    }
}

static bool pause_wanted(const forward *f)
{
    return f->pause != NULL && atomic_load_explicit(f->pause, memory_order_relaxed);
}

/* False: pieces are left, because a pause was wanted. All threads say the same. */
static bool run_stage(const worker *w, place at, bool prepared)
{
    forward *f = w->f;
    if (!prepared)
        prepare_stage(w, at);
    size_t n = count_pieces(f, at);
    for (size_t piece; !pause_wanted(f) && team_take(f->loop, w->thread, n, &piece);)
        run_piece(w, at, piece);
    team_barrier(f->threads);
    if (team_loop_unfinished(f->loop, w->thread, n))
        return false;
    team_loop_next(f->loop, w->thread);
    return true;
}

void forward_run_worker(void *context, int thread, int n_threads)
{
    forward *f = context;
    worker w = {f, &f->m->config, &f->workers[thread], thread, n_threads};
    place at = f->at; /* written below only after a barrier that all have reached */
    bool prepared = f->paused;
    while (at.stage != STAGE_END && run_stage(&w, at, prepared)) {
        at = next_place(f, at);
        prepared = false;
    }
    if (thread == 0) {
        f->at = at;
        f->paused = at.stage != STAGE_END;
    }
}
