#include "engine/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    double weight; /* exp((logit - best) / temperature) */
    int32_t token;
} candidate;

struct sampler {
    sampling_params params;
    logit_bias *biases;
    size_t n_vocab;
    uint32_t *reply_counts; /* n_vocab, or NULL when no penalty needs them */
    uint8_t *seen;          /* n_vocab: in prompt or reply; or NULL */
    candidate *candidates;  /* n_vocab, or NULL when greedy */
};

sampling_params sampling_defaults(void)
{
    return (sampling_params){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

static error_code check_range(const char *name, double value, double low, double high,
                              failure *fail)
{
    if (value >= low && value <= high)
        return OK;
    return failure_set(fail, ERR_INVALID, "%s is %g, must be from %g to %g", name, value, low,
                       high);
}

error_code sampling_check(const sampling_params *p, size_t n_vocab, failure *fail)
{
    error_code code = check_range("temperature", (double)p->temperature, 0, 100, fail);
    if (code == OK)
        code = check_range("top_p", (double)p->top_p, 1e-6, 1, fail);
    if (code == OK)
        code = check_range("min_p", (double)p->min_p, 0, 1, fail);
    if (code == OK)
        code = check_range("repetition_penalty", (double)p->repetition_penalty, 0.01, 100, fail);
    if (code == OK)
        code = check_range("presence_penalty", (double)p->presence_penalty, -2, 2, fail);
    if (code == OK)
        code = check_range("frequency_penalty", (double)p->frequency_penalty, -2, 2, fail);
    if (code == OK)
        code = check_range("logit_bias entries", (double)p->n_biases, 0, SAMPLING_MAX_BIASES, fail);
    for (size_t i = 0; code == OK && i < p->n_biases; i++) {
        if (p->biases[i].token < 0 || (size_t)p->biases[i].token >= n_vocab)
            return failure_set(fail, ERR_INVALID,
                               "logit_bias token %d is not in the vocabulary of %zu",
                               p->biases[i].token, n_vocab);
        code = check_range("logit_bias", (double)p->biases[i].bias, -100, 100, fail);
    }
    return code;
}

static bool wants_counts(const sampling_params *p)
{
    return p->presence_penalty != 0.0f || p->frequency_penalty != 0.0f;
}

error_code sampler_create(sampler **out, const sampling_params *p, size_t n_vocab, failure *fail)
{
    sampler *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a sampler");
    s->params = *p;
    s->n_vocab = n_vocab;
    s->biases = malloc((p->n_biases + 1) * sizeof *s->biases);
    if (wants_counts(p))
        s->reply_counts = calloc(n_vocab, sizeof *s->reply_counts);
    if (p->repetition_penalty != 1.0f)
        s->seen = calloc(n_vocab, sizeof *s->seen);
    if (p->temperature > 0.0f)
        s->candidates = malloc(n_vocab * sizeof *s->candidates);
    if (s->biases == NULL || (wants_counts(p) && s->reply_counts == NULL) ||
        (p->repetition_penalty != 1.0f && s->seen == NULL) ||
        (p->temperature > 0.0f && s->candidates == NULL)) {
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

static int32_t argmax(const float *logits, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (logits[i] > logits[best])
            best = i;
    }
    return (int32_t)best;
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
    size_t limit = p->top_k > 0 && p->top_k < n ? p->top_k : n;
    size_t kept = 0;
    double mass = 0;
    if (p->top_k > 0) {
        total = 0;
        while (kept < limit)
            total += take_best(c, n, kept++)->weight;
        for (size_t i = 0; i < limit; i++) {
            mass += c[n - 1 - i].weight;
            if (mass >= (double)p->top_p * total)
                return i + 1;
        }
        return limit;
    }
    while (kept < limit && mass < (double)p->top_p * total)
        mass += take_best(c, n, kept++)->weight;
    return kept;
}

static int32_t draw(const candidate *c, size_t n, ptrdiff_t step, double total, double uniform)
{
    double target = uniform * total, mass = 0;
    const candidate *last = c;
    for (size_t i = 0; i < n; i++, c += step) {
        if (c->weight <= 0)
            continue;
        last = c;
        mass += c->weight;
        if (mass > target)
            break;
    }
    return last->token;
}

static double fill_candidates(const sampler *s, const float *logits, double best)
{
    double total = 0;
    for (size_t i = 0; i < s->n_vocab; i++) {
        double weight = exp(((double)logits[i] - best) / (double)s->params.temperature);
        s->candidates[i] = (candidate){weight, (int32_t)i};
        total += weight;
    }
    return total;
}

int32_t sampler_sample(sampler *s, float *logits, uint64_t position)
{
    const sampling_params *p = &s->params;
    apply_biases_and_penalties(s, logits);
    int32_t best = argmax(logits, s->n_vocab);
    if (p->temperature <= 0.0f)
        return best;
    candidate *c = s->candidates;
    size_t n = s->n_vocab;
    double uniform = random_uniform(p->seed, p->choice, position);
    double total = fill_candidates(s, logits, (double)logits[best]);
    if (p->top_k == 0 && p->top_p >= 1.0f && p->min_p <= 0.0f)
        return draw(c, n, 1, total, uniform);
    size_t kept = keep_top(p, c, n, total);
    double mass = 0;
    size_t i = 0;
    /* min-p is relative to the best, whose weight is 1; the best itself always stays. */
    while (i < kept && (i == 0 || c[n - 1 - i].weight >= (double)p->min_p))
        mass += c[n - 1 - i++].weight;
    return draw(c + n - 1, i, -1, mass, uniform);
}

/* The finaliser of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators).
 */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

double random_uniform(uint64_t seed, uint64_t choice, uint64_t position)
{
    const uint64_t golden = 0x9e3779b97f4a7c15u;
    uint64_t z = mix(seed + golden);
    z = mix(z ^ (choice + golden));
    z = mix(z ^ (position + golden));
    return (double)(z >> 11) * 0x1p-53;
}
