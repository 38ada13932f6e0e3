/* sample.c: biases and penalties, filters over a heap of candidates, one draw. */
#include "engine/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/kernel.h"

typedef struct candidate {
    float weight; /* exp((logit - best) / temperature) */
    int32_t token;
} candidate;

struct sampler {
    sampling_params params;
    logit_bias *biases;
    size_t n_vocab;
    uint32_t *reply_counts; /* n_vocab, or NULL when no penalty needs them */
    uint8_t *seen;          /* n_vocab: in prompt or reply; or NULL */
    candidate *candidates;  /* n_vocab; NULL when no filter needs them */

    /* Of the last draw, for sampler_score. */
    bool is_greedy;        /* there was one token only */
    const candidate *best; /* those that could be drawn, downwards; NULL: all */
    size_t n_allowed;
    double mass; /* of their weights */
};

static bool wants_counts(const sampling_params *p)
{
    return p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f;
}

static bool filters(const sampling_params *p)
{
    return p->temperature > 0.0f && (p->top_k > 0 || p->top_p < 1.0f || p->min_p > 0.0f);
}

error_code sampler_create(sampler **out, const sampling_params *p, size_t n_vocab, failure *fail)
{
    sampler *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a sampler");
    s->params = *p;
    s->n_vocab = n_vocab;
    s->biases = reallocarray(NULL, p->n_biases + 1, sizeof *s->biases);
    if (wants_counts(p))
        s->reply_counts = calloc(n_vocab, sizeof *s->reply_counts);
    if (p->repetition_penalty != 1.0f)
        s->seen = calloc(n_vocab, sizeof *s->seen);
    if (filters(p))
        s->candidates = reallocarray(NULL, n_vocab, sizeof *s->candidates);
    if (s->biases == NULL || (wants_counts(p) && s->reply_counts == NULL) ||
        (p->repetition_penalty != 1.0f && s->seen == NULL) ||
        (filters(p) && s->candidates == NULL)) {
        sampler_destroy(s);
        return failure_set(fail, ERR_MEMORY, "no memory for a sampler");
    }
    if (p->n_biases > 0)
        memcpy(s->biases, p->biases, p->n_biases * sizeof *s->biases);
    *out = s;
    return OK;
}

void sampler_destroy(sampler *s)
{
    if (s == NULL)
        return;
    free(s->biases);
    free(s->reply_counts);
    free(s->seen);
    free(s->candidates);
    free(s);
}

void sampler_see_prompt(sampler *s, int32_t token)
{
    if (s->seen != NULL)
        s->seen[token] = 1;
}

void sampler_accept(sampler *s, int32_t token)
{
    if (s->seen != NULL)
        s->seen[token] = 1;
    if (s->reply_counts != NULL)
        s->reply_counts[token]++;
}

static void apply_biases_and_penalties(const sampler *s, float *logits)
{
    const sampling_params *p = &s->params;
    for (size_t i = 0; i < p->n_biases; i++)
        logits[s->biases[i].token] += s->biases[i].bias;
    for (size_t i = 0; s->seen != NULL && i < s->n_vocab; i++) {
        if (s->seen[i])
            logits[i] = logits[i] > 0 ? logits[i] / p->repetition_penalty
                                      : logits[i] * p->repetition_penalty;
    }
    for (size_t i = 0; s->reply_counts != NULL && i < s->n_vocab; i++) {
        if (s->reply_counts[i] > 0)
            logits[i] -= p->presence_penalty + p->frequency_penalty * (float)s->reply_counts[i];
    }
}

/* Fixed in every situation: more weight first, then the lower id. */
static bool comes_before(const candidate *a, const candidate *b)
{
    return a->weight > b->weight || (a->weight == b->weight && a->token < b->token);
}

static void sift_down(candidate *heap, size_t n, size_t i)
{
    for (;;) {
        size_t first = i, left = 2 * i + 1, right = left + 1;
        if (left < n && comes_before(&heap[left], &heap[first]))
            first = left;
        if (right < n && comes_before(&heap[right], &heap[first]))
            first = right;
        if (first == i)
            return;
        candidate swap = heap[i];
        heap[i] = heap[first];
        heap[first] = swap;
        i = first;
    }
}

/* Moves the best to the array's end, one more each call: kept candidates end up in c[n - taken ...
 * n). */
static const candidate *take_best(candidate *heap, size_t n, size_t taken)
{
    size_t left = n - taken;
    candidate best = heap[0];
    heap[0] = heap[left - 1];
    heap[left - 1] = best;
    sift_down(heap, left - 1, 0);
    return &heap[left - 1];
}

/* Orders what top-k and top-p keep (best at the array's end, downwards) and returns how many. */
static size_t keep_top(const sampling_params *p, candidate *c, size_t n, double total)
{
    for (size_t i = n / 2; i-- > 0;)
        sift_down(c, n, i);
    size_t kept = 0;
    double mass = 0;
    if (p->top_k > 0) {
        size_t limit = p->top_k < n ? p->top_k : n;
        total = 0;
        while (kept < limit)
            total += (double)take_best(c, n, kept++)->weight;
        for (kept = 0; kept < limit && mass < (double)p->top_p * total; kept++)
            mass += (double)c[n - 1 - kept].weight;
        return kept;
    }
    while (kept < n && mass < (double)p->top_p * total)
        mass += (double)take_best(c, n, kept++)->weight;
    return kept;
}

/* Leaves out what top-p and min-p cannot keep: the tokens below (1 - top_p) / n of the mass make up
 * less than 1 - top_p together, so the others are enough. (Top-k counts before both.) */
static size_t gather_candidates(const sampler *s, const float *weights, double total)
{
    const sampling_params *p = &s->params;
    double least = 0;
    if (p->top_k == 0) {
        least = (1.0 - (double)p->top_p) * total / (double)s->n_vocab;
        least = least > (double)p->min_p ? least : (double)p->min_p;
    }
    size_t n = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        if ((double)weights[i] >= least)
            s->candidates[n++] = (candidate){weights[i], (int32_t)i};
    }
    return n;
}

static int32_t draw_filtered(sampler *s, const float *weights, double total, double uniform)
{
    const sampling_params *p = &s->params;
    size_t n = gather_candidates(s, weights, total);
    size_t kept = keep_top(p, s->candidates, n, total);
    const candidate *best = &s->candidates[n - 1];
    double mass = 0;
    size_t allowed = 0;
    /* min-p is relative to the best, whose weight is 1; the best itself always stays. */
    while (allowed < kept && (allowed == 0 || best[-(ptrdiff_t)allowed].weight >= p->min_p))
        mass += (double)best[-(ptrdiff_t)allowed++].weight;
    s->best = best;
    s->n_allowed = allowed;
    s->mass = mass;
    double target = uniform * mass;
    size_t i = 0;
    for (double sum = (double)best->weight; sum <= target && i + 1 < allowed;)
        sum += (double)best[-(ptrdiff_t)++i].weight;
    return best[-(ptrdiff_t)i].token;
}

/* The first token at which the weights, added up in order of ids, pass the target. */
static int32_t draw_any(const float *weights, size_t n, double total, double uniform)
{
    double target = uniform * total, sum = 0;
    size_t last = 0;
    for (size_t i = 0; i < n; i++) {
        if (weights[i] <= 0)
            continue;
        last = i;
        sum += (double)weights[i];
        if (sum > target)
            break;
    }
    return (int32_t)last;
}

int32_t sampler_sample(sampler *s, float *logits, uint64_t position)
{
    const sampling_params *p = &s->params;
    apply_biases_and_penalties(s, logits);
    size_t best = vector_argmax(logits, s->n_vocab);
    float inverse = 1.0f / p->temperature;
    /* Greedy at 0, and where a temperature is so low, or a logit so large, that a float holds no
     * quotient: in the limit the largest logit has all of the mass. */
    s->is_greedy = !isfinite(logits[best] * inverse);
    s->best = NULL;
    if (s->is_greedy)
        return (int32_t)best;
    for (size_t i = 0; i < s->n_vocab; i++)
        logits[i] *= inverse;
    double total = vector_exponentials(logits, s->n_vocab, logits[best]);
    s->mass = total;
    double uniform = random_uniform(p->seed, p->choice, position);
    return filters(p) ? draw_filtered(s, logits, total, uniform)
                      : draw_any(logits, s->n_vocab, total, uniform);
}

/* ---- what was drawn from --------------------------------------------------------------------- */

static float log_share(double weight, double mass)
{
    return weight > 0 ? (float)log(weight / mass) : -INFINITY;
}

/* Of those that are ordered already. */
static void score_ordered(const sampler *s, int32_t token, scored_token *out, size_t n_top)
{
    for (size_t i = 0; i < s->n_allowed; i++) {
        const candidate *c = &s->best[-(ptrdiff_t)i];
        float share = log_share((double)c->weight, s->mass);
        if (i < n_top)
            out->top[i] = (token_logprob){c->token, share};
        if (c->token == token)
            out->score = (token_score){token, share, (uint32_t)i};
    }
}

void sampler_score(const sampler *s, const float *logits, int32_t token, scored_token *out,
                   size_t n_top)
{
    for (size_t i = 0; i < n_top; i++)
        out->top[i] = (token_logprob){token, -INFINITY};
    out->score = (token_score){token, 0, 0};
    if (s->is_greedy && n_top > 0)
        out->top[0].logprob = 0;
    if (s->is_greedy)
        return;
    if (s->best != NULL) {
        score_ordered(s, token, out, n_top);
        return;
    }
    score_find(out, logits, s->n_vocab, token, n_top);
    out->score.logprob = log_share((double)out->score.logprob, s->mass);
    for (size_t i = 0; i < n_top; i++)
        out->top[i].logprob = log_share((double)out->top[i].logprob, s->mass);
}
