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
            forward_normalise(w, w->scratch->normed, x, weight, length);
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

/* Where a product of the layer goes: to the residual stream, or first to f->block. */
static bool attention_waits(const layer_plan *plan, const layer_weights *l)
{
    return plan->is_parallel || l->attn_post_norm != NULL;
}

static bool ffn_waits(const layer_weights *l)
{
    return l->ffn_post_norm != NULL || l->router != NULL;
}

/* f->block = W a (+ bias) for one piece of rows. */
static void multiply_into_block(const worker *w, const matrix *m, const activation *a,
                                const float *bias, size_t piece)
{
    forward *f = w->f;
    size_t n = w->c->n_embd;
    row_range r = piece_rows(m, f->n_rows, n, piece);
    matrix_multiply(m, a, f->n_rows, r.begin, r.end, f->block, n);
    for (size_t i = 0; bias != NULL && i < f->n_rows; i++)
        vector_add(f->block + i * n + r.begin, bias + r.begin, r.end - r.begin);
}

/* x += scale · (W a (+ bias)) for one piece of rows; what waits in f->block comes with it. */
static void multiply_into_residual(const worker *w, const layer_plan *plan, const matrix *m,
                                   const activation *a, const float *bias, bool with_block,
                                   size_t piece)
{
    forward *f = w->f;
    row_range r = piece_rows(m, f->n_rows, w->c->n_embd, piece);
    float *tile = w->scratch->tile;
    size_t n = w->c->n_embd, rows = r.end - r.begin;
    matrix_multiply(m, a, f->n_rows, r.begin, r.end, tile - r.begin, rows);
    for (size_t i = 0; i < f->n_rows; i++) {
        float *out = tile + i * rows;
        if (bias != NULL)
            vector_add(out, bias + r.begin, rows);
        if (with_block)
            vector_add(out, f->block + i * n + r.begin, rows);
        if (plan->residual_scale != 1.0f)
            vector_scale(out, plan->residual_scale, rows);
        vector_add(f->x + i * n + r.begin, out, rows);
    }
}

static void multiply_attention_output(const worker *w, size_t layer, size_t piece)
{
    const layer_weights *l = &w->f->m->layers[layer];
    const layer_plan *plan = config_layer(w->c, layer);
    const activation *a = forward_prepared(w);
    if (attention_waits(plan, l))
        multiply_into_block(w, l->attn_output, a, l->attn_output_bias, piece);
    else
        multiply_into_residual(w, plan, l->attn_output, a, l->attn_output_bias, false, piece);
}

static void multiply_down(const worker *w, size_t layer, size_t piece)
{
    const layer_weights *l = &w->f->m->layers[layer];
    const layer_plan *plan = config_layer(w->c, layer);
    if (ffn_waits(l))
        multiply_into_block(w, l->down, w->f->ffn, l->down_bias, piece);
    else
        multiply_into_residual(w, plan, l->down, w->f->ffn, l->down_bias, plan->is_parallel, piece);
}

/* Leaves activation(gate) · up in f->ffn, as down's right-hand side. */
static void multiply_gate_up(const worker *w, size_t layer, size_t piece)
{
    forward *f = w->f;
    const layer_weights *l = &f->m->layers[layer];
    const activation *a = forward_prepared(w);
    row_range r = piece_rows(l->gate_up, f->n_rows, w->c->n_ff, piece);
    size_t n = w->c->n_ff, rows = r.end - r.begin;
    float *gate = w->scratch->tile, *up = gate + rows * f->n_rows;
    matrix_multiply(l->gate_up, a, f->n_rows, r.begin, r.end, gate - r.begin, rows);
    /* The up rows follow the gate rows. */
    matrix_multiply(l->gate_up, a, f->n_rows, n + r.begin, n + r.end, up - n - r.begin, rows);
    for (size_t i = 0; i < f->n_rows; i++) {
        if (l->gate_up_bias != NULL) {
            vector_add(gate + i * rows, l->gate_up_bias + r.begin, rows);
            vector_add(up + i * rows, l->gate_up_bias + n + r.begin, rows);
        }
        forward_activate(config_layer(w->c, layer)->activation, gate + i * rows, up + i * rows,
                         rows);
        activation_set_part(f->ffn, i, r.begin, gate + i * rows, rows, n, l->down);
    }
}

/* x += scale · norm(block) of one row. */
static void add_normalised(const worker *w, const layer_plan *plan, const float *weight, size_t row)
{
    forward *f = w->f;
    size_t n = w->c->n_embd;
    float *given = f->block + row * n;
    forward_normalise(w, given, given, weight, n);
    if (plan->residual_scale != 1.0f)
        vector_scale(given, plan->residual_scale, n);
    vector_add(f->x + row * n, given, n);
}

/* ---- before the layers ----------------------------------------------------------------------- */

static void set_angles(const worker *w, size_t row)
{
    double position = (double)w->f->rows[row].position;
    for (size_t i = 0; i < MODEL_ROPES; i++) {
        const rope_scratch *r = &w->f->ropes[i];
        double magnitude = (double)w->c->ropes[i].magnitude;
        for (size_t j = 0; j < r->pairs; j++) {
            double angle = position * r->frequencies[j];
            r->cosines[row * r->pairs + j] = (float)(cos(angle) * magnitude);
            r->sines[row * r->pairs + j] = (float)(sin(angle) * magnitude);
        }
    }
}

static void embed_row(const worker *w, size_t row)
{
    forward *f = w->f;
    const model_config *c = w->c;
    model_embed(f->m, f->rows[row].token, f->x + row * c->n_embd);
    set_angles(w, row);
    if (c->temperature_length > 0) {
        size_t times = f->rows[row].position / c->temperature_length;
        f->temperatures[row] = (float)(1 + (double)c->temperature_scale * log(1 + (double)times));
    }
}

/* ---- states ---------------------------------------------------------------------------------- */

/* Where the reader wants the state, in sums; n_layers: it does not. */
static size_t place_of_state(const state_reader *r, uint32_t state)
{
    size_t i = 0;
    while (i < r->n_layers && r->layers[i] != state)
        i++;
    return i;
}

static bool is_state_read(const forward *f, size_t layer)
{
    uint32_t state = (uint32_t)layer + 1, last = (uint32_t)f->m->config.n_layers;
    for (size_t i = 0; i < f->n_readers; i++) {
        const state_reader *r = &f->readers[i];
        if (place_of_state(r, state) < r->n_layers ||
            (state == last && r->layers[r->n_layers - 1] > last))
            return true;
    }
    return false;
}

static void add_to_sums(double *sums, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += (double)x[i];
}

/* One reader's rows, one after the other: a sum does not depend on who else takes part. */
static void read_states(const worker *w, const state_reader *r, size_t layer)
{
    forward *f = w->f;
    size_t n = w->c->n_embd;
    uint32_t state = (uint32_t)layer + 1, last = (uint32_t)w->c->n_layers;
    size_t plain = place_of_state(r, state);
    size_t normed = state == last ? place_of_state(r, last + 1) : r->n_layers;
    for (size_t row = r->first_row; row < r->first_row + r->n_rows; row++) {
        const float *x = f->x + row * n;
        if (plain < r->n_layers)
            add_to_sums(r->sums + plain * n, x, n);
        if (normed == r->n_layers)
            continue;
        forward_normalise(w, w->scratch->normed, x, f->m->output_norm, n);
        add_to_sums(r->sums + normed * n, w->scratch->normed, n);
    }
}

/* ---- stages ---------------------------------------------------------------------------------- */

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
        forward_prepare(w, f->x, n, l->ffn_norm, l->gate_up);
    else if (at.stage == STAGE_EXPERTS)
        forward_experts_run(w, at.layer);
}

static size_t count_pieces(const forward *f, place at)
{
    const model_config *c = &f->m->config;
    const layer_weights *l = &f->m->layers[at.layer];
    switch (at.stage) {
    case STAGE_EMBED:
    case STAGE_QK_ROWS:
    case STAGE_ATTENTION_NORM:
    case STAGE_FFN_NORM:
        return f->n_rows;
    case STAGE_QKV:
        return row_pieces(l->qkv, f->n_rows, forward_qkv_rows(c));
    case STAGE_HEADS:
        return f->n_rows * c->n_kv_heads;
    case STAGE_CLOSE:
        return f->n_closing * c->n_kv_heads;
    case STAGE_ATTENTION:
        return f->n_segments * c->n_kv_heads;
    case STAGE_ATTENTION_OUTPUT:
        return row_pieces(l->attn_output, f->n_rows, c->n_embd);
    case STAGE_GATE_UP:
        return row_pieces(l->gate_up, f->n_rows, c->n_ff);
    case STAGE_DOWN:
        return row_pieces(l->down, f->n_rows, c->n_embd);
    case STAGE_STATES:
        return f->n_readers;
    case STAGE_OUTPUTS:
        return f->n_outputs;
    case STAGE_LOGITS:
        return forward_output_pieces(f);
    default:
        return 0; /* the experts share their work by themselves */
    }
}

/* Every row is a segment of its own and closes no group of keys: what makes its heads ready attends
 * to them, too, without a barrier in between. */
static bool are_heads_attended_at_once(const forward *f)
{
    return f->n_segments == f->n_rows && f->n_closing == 0;
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
    case STAGE_QK_ROWS:
        forward_normalise_qk(w, l, piece);
        return;
    case STAGE_HEADS:
        forward_finish_head(w, at.layer, piece / heads, piece % heads);
        return;
    case STAGE_CLOSE:
        forward_close_group(w, at.layer, f->closing[piece / heads], piece % heads);
        return;
    case STAGE_ATTENTION:
        if (are_heads_attended_at_once(f))
            forward_finish_head(w, at.layer, piece / heads, piece % heads);
        forward_attend(w, at.layer, &f->segments[piece / heads], piece % heads);
        return;
    case STAGE_ATTENTION_OUTPUT:
        multiply_attention_output(w, at.layer, piece);
        return;
    case STAGE_ATTENTION_NORM:
        add_normalised(w, config_layer(w->c, at.layer), l->attn_post_norm, piece);
        return;
    case STAGE_GATE_UP:
        multiply_gate_up(w, at.layer, piece);
        return;
    case STAGE_DOWN:
        multiply_down(w, at.layer, piece);
        return;
    case STAGE_FFN_NORM:
        add_normalised(w, config_layer(w->c, at.layer), l->ffn_post_norm, piece);
        return;
    case STAGE_STATES:
        read_states(w, &f->readers[piece], at.layer);
        return;
    case STAGE_OUTPUTS:
        forward_normalise_output(w, piece);
        return;
    case STAGE_LOGITS:
        forward_multiply_output(w, piece);
        return;
    default:
        return;
    }
}

/* Whether a layer has anything to do in a stage of its kind. */
static bool has_stage(const forward *f, place at)
{
    const layer_weights *l = &f->m->layers[at.layer];
    switch (at.stage) {
    case STAGE_QK_ROWS:
        return config_layer(&f->m->config, at.layer)->qk_norm == QK_NORM_ROW;
    case STAGE_HEADS:
        return !are_heads_attended_at_once(f);
    case STAGE_CLOSE:
        return f->n_closing > 0;
    case STAGE_ATTENTION_NORM:
        return l->attn_post_norm != NULL;
    case STAGE_GATE_UP:
    case STAGE_DOWN:
        return l->gate_up != NULL;
    case STAGE_EXPERTS:
        return l->router != NULL;
    case STAGE_FFN_NORM:
        return l->ffn_post_norm != NULL;
    case STAGE_STATES:
        return is_state_read(f, at.layer);
    default:
        return true;
    }
}

static place next_place(const forward *f, place at)
{
    do {
        if (at.stage == STAGE_STATES && at.layer + 1 < f->m->config.n_layers)
            at = (place){STAGE_QKV, at.layer + 1};
        else
            at.stage++;
    } while (!has_stage(f, at));
    return at;
}

static bool pause_wanted(const forward *f)
{
    return f->pause != NULL && atomic_load_explicit(f->pause, memory_order_relaxed);
}

/* False: pieces are left, because a pause was wanted. All threads say the same. */
static bool run_stage(const worker *w, place at, bool prepared)
{
    forward *f = w->f;
    double since = forward_trace_begin(w);
    if (!prepared)
        prepare_stage(w, at);
    since = forward_trace_note(w, at, TRACE_PREPARE, since);
    size_t n = count_pieces(f, at);
    for (size_t piece; !pause_wanted(f) && team_take(f->loop, w->thread, n, &piece);)
        run_piece(w, at, piece);
    since = forward_trace_note(w, at, TRACE_WORK, since);
    team_barrier(f->threads);
    forward_trace_note(w, at, TRACE_WAIT, since);
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
