/* forward_experts.c: the feed-forward network of a mixture of experts: each row goes through the
 * few experts its router likes best (softmax over all, the best n_experts_used, most often
 * renormalised), and in some models through one more that all meet.
 *
 * What a row gets is added up in the order of its own ranking, whoever else visits an expert:
 * promise 1. */
#include "model/forward_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/aligned.h"

error_code forward_experts_create(forward *f, failure *fail)
{
    const model_config *c = &f->m->config;
    expert_scratch *e = &f->experts;
    size_t pairs = f->max_rows * c->n_experts_used;
    e->router_logits = aligned_array(f->max_rows * c->n_experts, sizeof(float));
    e->weights = aligned_array(pairs, sizeof(float));
    e->shares = aligned_array(f->max_rows, sizeof(float));
    e->gate = aligned_array(2 * pairs * c->n_expert_ff, sizeof(float));
    e->result = aligned_array(pairs * c->n_embd, sizeof(float));
    e->chosen = reallocarray(NULL, pairs, sizeof *e->chosen);
    e->order = reallocarray(NULL, pairs, sizeof *e->order);
    e->starts = reallocarray(NULL, c->n_experts + 1, sizeof *e->starts);
    if (e->router_logits == NULL || e->weights == NULL || e->shares == NULL || e->gate == NULL ||
        e->result == NULL || e->chosen == NULL || e->order == NULL || e->starts == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the experts of %zu rows", f->max_rows);
    e->up = e->gate + pairs * c->n_expert_ff;
    return activation_create(&e->inputs, c->n_embd > c->n_expert_ff ? c->n_embd : c->n_expert_ff,
                             pairs, fail);
}

void forward_experts_destroy(forward *f)
{
    expert_scratch *e = &f->experts;
    free(e->router_logits);
    free(e->weights);
    free(e->shares);
    free(e->gate);
    free(e->result);
    free(e->chosen);
    free(e->order);
    free(e->starts);
    activation_destroy(e->inputs);
}

static double sum_exponentials(const float *logits, size_t n, float best)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)(logits[i] - best));
    return sum;
}

/* The best experts of one row, best first, the lower index first among equals. */
static void choose_experts(const model_config *c, float *logits, uint32_t *chosen, float *weights)
{
    float best = logits[vector_argmax(logits, c->n_experts)];
    /* Renormalised over the chosen ones the softmax's own sum cancels out. */
    double total = c->experts_keep_softmax ? sum_exponentials(logits, c->n_experts, best) : 0;
    for (size_t k = 0; k < c->n_experts_used; k++) {
        size_t expert = vector_argmax(logits, c->n_experts);
        chosen[k] = (uint32_t)expert;
        weights[k] = (float)exp((double)(logits[expert] - best));
        if (!c->experts_keep_softmax)
            total += (double)weights[k];
        logits[expert] = -INFINITY;
    }
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
    for (size_t i = 0; l->router_bias != NULL && i < f->n_rows; i++)
        vector_add(e->router_logits + i * c->n_experts + begin, l->router_bias + begin,
                   end - begin);
    team_barrier(f->threads);
    for (size_t i = (size_t)w->thread; i < f->n_rows; i += (size_t)w->n_threads)
        choose_experts(c, e->router_logits + i * c->n_experts, e->chosen + i * used,
                       e->weights + i * used);
    team_barrier(f->threads);
    if (w->thread == 0)
        order_pairs(e, c->n_experts, f->n_rows * used);
    team_barrier(f->threads);
}

/* How much the expert counts that every token meets: the sigmoid of a product. */
static float shared_weight(const layer_weights *l, const float *normed, size_t n)
{
    double sum = 0;
    if (l->shared_gate == NULL)
        return 1.0f;
    for (size_t i = 0; i < n; i++)
        sum += (double)normed[i] * (double)l->shared_gate[i];
    return (float)(1 / (1 + exp(-sum)));
}

/* Sets the inputs of all pairs, in execution order; every thread takes some rows. */
static void set_inputs(const worker *w, const layer_weights *l)
{
    forward *f = w->f;
    expert_scratch *e = &f->experts;
    size_t used = w->c->n_experts_used, n = w->c->n_embd;
    for (size_t i = (size_t)w->thread; i < f->n_rows; i += (size_t)w->n_threads) {
        forward_normalise(w, w->scratch->normed, f->x + i * n, l->ffn_norm, n);
        e->shares[i] = shared_weight(l, w->scratch->normed, n);
        for (size_t k = 0; k < used; k++) {
            size_t p = i * used + k;
            activation_set(e->inputs, e->order[p], w->scratch->normed, n,
                           l->expert_gate_up[e->chosen[p]]);
        }
    }
    team_barrier(f->threads);
}

/* gate and up of one expert's pairs, and then what the activation makes of them. */
static void finish_gate_up(const worker *w, size_t layer, size_t expert, float *gate, float *up,
                           size_t begin, size_t end)
{
    const float *bias = w->f->m->layers[layer].expert_gate_up_bias;
    size_t n = w->c->n_expert_ff;
    if (bias != NULL) {
        vector_add(gate + begin, bias + 2 * expert * n + begin, end - begin);
        vector_add(up + begin, bias + (2 * expert + 1) * n + begin, end - begin);
    }
    forward_activate(config_layer(w->c, layer)->activation, gate + begin, up + begin, end - begin);
}

static void run_gate_up(const worker *w, size_t layer)
{
    const expert_scratch *e = &w->f->experts;
    const layer_weights *l = &w->f->m->layers[layer];
    size_t n = w->c->n_expert_ff, begin, end;
    matrix_share(0, n, w->thread, w->n_threads, &begin, &end);
    for (size_t i = 0; i < w->c->n_experts; i++) {
        size_t first = e->starts[i], pairs = e->starts[i + 1] - first;
        if (pairs == 0)
            continue;
        float *gate = e->gate + first * n, *up = e->up + first * n;
        matrix_multiply_columns(l->expert_gate_up[i], e->inputs, first, pairs, begin, end, gate, n);
        matrix_multiply_columns(l->expert_gate_up[i], e->inputs, first, pairs, n + begin, n + end,
                                up - n, n);
        for (size_t p = 0; p < pairs; p++)
            finish_gate_up(w, layer, i, gate + p * n, up + p * n, begin, end);
    }
    team_barrier(w->f->threads);
}

static void set_hidden(const worker *w, const layer_weights *l)
{
    expert_scratch *e = &w->f->experts;
    size_t n_pairs = w->f->n_rows * w->c->n_experts_used, n = w->c->n_expert_ff;
    for (size_t p = (size_t)w->thread; p < n_pairs; p += (size_t)w->n_threads) {
        size_t at = e->order[p];
        activation_set(e->inputs, at, e->gate + at * n, n, l->expert_down[e->chosen[p]]);
    }
    team_barrier(w->f->threads);
}

static void multiply_down(const worker *w, const layer_weights *l, size_t begin, size_t end)
{
    const expert_scratch *e = &w->f->experts;
    size_t n = w->c->n_embd;
    for (size_t i = 0; i < w->c->n_experts; i++) {
        size_t first = e->starts[i], pairs = e->starts[i + 1] - first;
        if (pairs == 0)
            continue;
        matrix_multiply_columns(l->expert_down[i], e->inputs, first, pairs, begin, end,
                                e->result + first * n, n);
        for (size_t p = first; l->expert_down_bias != NULL && p < first + pairs; p++)
            vector_add(e->result + p * n + begin, l->expert_down_bias + i * n + begin, end - begin);
    }
}

/* x += share · given for rows begin … end of one row's product. */
static void add_share(float *x, const float *given, float share, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++)
        x[r] += share * given[r];
}

static void run_down(const worker *w, size_t layer)
{
    forward *f = w->f;
    const expert_scratch *e = &f->experts;
    const layer_weights *l = &f->m->layers[layer];
    float scale = config_layer(w->c, layer)->residual_scale;
    size_t n = w->c->n_embd, used = w->c->n_experts_used, begin, end;
    matrix_share(0, n, w->thread, w->n_threads, &begin, &end);
    multiply_down(w, l, begin, end);
    /* The rows of the product that this thread has computed are the ones it adds up. */
    for (size_t i = 0; i < f->n_rows; i++) {
        float *x = f->x + i * n;
        for (size_t p = i * used; p < (i + 1) * used; p++)
            add_share(x, e->result + e->order[p] * n, scale * e->weights[p], begin, end);
        if (l->down != NULL)
            add_share(x, f->block + i * n, scale * e->shares[i], begin, end);
    }
}

void forward_experts_run(const worker *w, size_t layer)
{
    const layer_weights *l = &w->f->m->layers[layer];
    route(w, l);
    set_inputs(w, l);
    run_gate_up(w, layer);
    set_hidden(w, l);
    run_down(w, layer);
}
