/* forward_experts.c: the feed-forward network of a mixture of experts: each row goes through the
 * few experts its router likes best (softmax over all, the best n_experts_used, renormalised).
 *
 * What a row gets is added up in the order of its own ranking, whoever else visits an expert:
 * promise 1. */
#include "model/forward_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static float *allocate_floats(size_t n)
{
    return aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
}

error_code forward_experts_create(forward *f, failure *fail)
{
    const model_config *c = &f->m->config;
    expert_scratch *e = &f->experts;
    size_t pairs = f->max_rows * c->n_experts_used;
    e->router_logits = allocate_floats(f->max_rows * c->n_experts);
    e->weights = allocate_floats(pairs);
    e->gate = allocate_floats(2 * pairs * c->n_ff);
    e->result = allocate_floats(pairs * c->n_embd);
    e->chosen = malloc(pairs * sizeof *e->chosen);
    e->order = malloc(pairs * sizeof *e->order);
    e->starts = malloc((c->n_experts + 1) * sizeof *e->starts);
    if (e->router_logits == NULL || e->weights == NULL || e->gate == NULL || e->result == NULL ||
        e->chosen == NULL || e->order == NULL || e->starts == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the experts of %zu rows", f->max_rows);
    e->up = e->gate + pairs * c->n_ff;
    return activation_create(&e->inputs, c->n_embd > c->n_ff ? c->n_embd : c->n_ff, pairs, fail);
}

void forward_experts_destroy(forward *f)
{
    expert_scratch *e = &f->experts;
    free(e->router_logits);
    free(e->weights);
    free(e->gate);
    free(e->result);
    free(e->chosen);
    free(e->order);
    free(e->starts);
    activation_destroy(e->inputs);
}

/* The best experts of one row, best first, the lower index first among equals. */
static void choose_experts(const model_config *c, float *logits, uint32_t *chosen, float *weights)
{
    double total = 0;
    float best = logits[vector_argmax(logits, c->n_experts)];
    for (size_t k = 0; k < c->n_experts_used; k++) {
        size_t expert = vector_argmax(logits, c->n_experts);
        chosen[k] = (uint32_t)expert;
        weights[k] = (float)exp((double)(logits[expert] - best));
        total += (double)weights[k];
        logits[expert] = -INFINITY;
    }
    /* Renormalised over the chosen ones: the softmax's own sum cancels out. */
    for (size_t k = 0; k < c->n_experts_used; k++)
        weights[k] = (float)((double)weights[k] / total);
}

/* Counting sort of the pairs by expert. */
static void order_pairs(expert_scratch *e, size_t n_experts, size_t n_pairs)
{
    memset(e->starts, 0, (n_experts + 1) * sizeof *e->starts);
    for (size_t p = 0; p < n_pairs; p++)
        e->starts[e->chosen[p] + 1]++;
    for (size_t i = 0; i < n_experts; i++)
        e->starts[i + 1] += e->starts[i];
    for (size_t p = 0; p < n_pairs; p++)
        e->order[p] = e->starts[e->chosen[p]]++;
    for (size_t i = n_experts; i > 0; i--) /* the starts moved to the ends: move them back */
        e->starts[i] = e->starts[i - 1];
    e->starts[0] = 0;
}

static void route(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    const model_config *c = w->c;
    expert_scratch *e = &f->experts;
    size_t begin, end, used = c->n_experts_used;
    const activation *a = forward_prepare(w, f->x, c->n_embd, l->ffn_norm, l->router);
    matrix_share(0, c->n_experts, w->thread, w->n_threads, &begin, &end);
    matrix_multiply(l->router, a, f->n_rows, begin, end, e->router_logits, c->n_experts);
    team_barrier(f->threads);
    for (size_t i = (size_t)w->thread; i < f->n_rows; i += (size_t)w->n_threads)
        choose_experts(c, e->router_logits + i * c->n_experts, e->chosen + i * used,
                       e->weights + i * used);
    team_barrier(f->threads);
    if (w->thread == 0)
        order_pairs(e, c->n_experts, f->n_rows * used);
    team_barrier(f->threads);
}

/* Sets the inputs of all pairs, in execution order; every thread takes some rows. */
static void set_inputs(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    expert_scratch *e = &f->experts;
    size_t used = w->c->n_experts_used, n = w->c->n_embd;
    for (size_t i = (size_t)w->thread; i < f->n_rows; i += (size_t)w->n_threads) {
        vector_rms_norm(w->scratch->normed, f->x + i * n, l->ffn_norm, n, w->c->rms_epsilon);
        for (size_t k = 0; k < used; k++) {
            size_t p = i * used + k;
            activation_set(e->inputs, e->order[p], w->scratch->normed, n, l->gate_up[e->chosen[p]]);
        }
    }
    team_barrier(f->threads);
}

static void run_gate_up(const worker *w, const layer_weights *l)
{
    const expert_scratch *e = &w->f->experts;
    size_t n = w->c->n_ff, begin, end;
    matrix_share(0, n, w->thread, w->n_threads, &begin, &end);
    for (size_t i = 0; i < w->c->n_experts; i++) {
        size_t first = e->starts[i], pairs = e->starts[i + 1] - first;
        if (pairs == 0)
            continue;
        float *gate = e->gate + first * n, *up = e->up + first * n;
        matrix_multiply_columns(l->gate_up[i], e->inputs, first, pairs, begin, end, gate, n);
        matrix_multiply_columns(l->gate_up[i], e->inputs, first, pairs, n + begin, n + end, up - n,
                                n);
        for (size_t p = 0; p < pairs; p++)
            vector_silu_multiply(gate + p * n + begin, up + p * n + begin, end - begin);
    }
    team_barrier(w->f->threads);
}

static void set_hidden(const worker *w, const layer_weights *l)
{
    expert_scratch *e = &w->f->experts;
    size_t n_pairs = w->f->n_rows * w->c->n_experts_used, n = w->c->n_ff;
    for (size_t p = (size_t)w->thread; p < n_pairs; p += (size_t)w->n_threads) {
        size_t at = e->order[p];
        activation_set(e->inputs, at, e->gate + at * n, n, l->down[e->chosen[p]]);
    }
    team_barrier(w->f->threads);
}

static void run_down(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    const expert_scratch *e = &f->experts;
    size_t n = w->c->n_embd, used = w->c->n_experts_used, begin, end;
    matrix_share(0, n, w->thread, w->n_threads, &begin, &end);
    for (size_t i = 0; i < w->c->n_experts; i++) {
        size_t first = e->starts[i], pairs = e->starts[i + 1] - first;
        if (pairs > 0)
            matrix_multiply_columns(l->down[i], e->inputs, first, pairs, begin, end,
                                    e->result + first * n, n);
    }
    /* The rows of the product that this thread has computed are the ones it adds up. */
    for (size_t p = 0; p < f->n_rows * used; p++) {
        float *x = f->x + p / used * n;
        const float *result = e->result + e->order[p] * n;
        for (size_t r = begin; r < end; r++)
            x[r] += e->weights[p] * result[r];
    }
}

void forward_experts_run(const worker *w, const layer_weights *l)
{
    route(w, l);
    set_inputs(w, l);
    run_gate_up(w, l);
    set_hidden(w, l);
    run_down(w, l);
}
