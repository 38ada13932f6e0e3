/* head_solve.c: multinomial logistic regression with ridge, by L-BFGS (Nocedal 1980). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestra/head_internal.h"

#define MEMORY 10
#define MAX_ITERATIONS 500
#define SHORTEST_STEP 1e-10
#define BIAS_STRENGTH 1e-2 /* keeps the bias of a label that no sample has finite */
#define FLUSH 32           /* samples whose gradients are summed in single precision */

typedef struct solver {
    const head_problem *problem;
    size_t n;                /* parameters */
    float *single, *pending; /* n: parameters, and gradient not yet added */
    double *gradient, *trial, *trial_gradient, *direction;
    double *steps, *changes;  /* MEMORY × n: of parameters and of gradients */
    double curvature[MEMORY]; /* their scalar products */
    size_t n_kept, next;
} solver;

size_t head_parameter_count(const head_features *f, size_t n_labels)
{
    return n_labels * (f->depth + 1);
}

/* ---- value and gradient ---------------------------------------------------------------------- */

static double log_sum_exp(const double *z, size_t n)
{
    double highest = z[0], sum = 0;
    for (size_t k = 1; k < n; k++)
        highest = fmax(highest, z[k]);
    for (size_t k = 0; k < n; k++)
        sum += exp(z[k] - highest);
    return highest + log(sum);
}

/* `single` has the bias last, as all parameters have. */
static void logits_of(const head_features *f, size_t n_labels, const float *single, size_t sample,
                      double *z)
{
    const float *row = f->rows + sample * f->depth;
    for (size_t k = 0; k < n_labels; k++) {
        const float *w = single + k * (f->depth + 1);
        z[k] = head_dot(row, w, f->depth) + (double)w[f->depth];
    }
}

static void add_scaled(float *to, const float *row, float by, size_t n)
{
    for (size_t j = 0; j < n; j++)
        to[j] += by * row[j];
}

static void flush(solver *s, double *gradient)
{
    for (size_t j = 0; j < s->n; j++)
        gradient[j] += (double)s->pending[j];
    memset(s->pending, 0, s->n * sizeof *s->pending);
}

/* One sample's loss; its gradient goes to `pending`. */
static double add_sample(solver *s, size_t sample)
{
    const head_problem *p = s->problem;
    const head_features *f = p->features;
    double z[PROBE_MAX_LABELS] = {0};
    logits_of(f, p->n_labels, s->single, sample, z);
    double all = log_sum_exp(z, p->n_labels);
    for (size_t k = 0; k < p->n_labels; k++) {
        float residual = (float)(exp(z[k] - all) - (k == p->labels[sample] ? 1 : 0));
        float *to = s->pending + k * (f->depth + 1);
        add_scaled(to, f->rows + sample * f->depth, residual, f->depth);
        to[f->depth] += residual;
    }
    return all - z[p->labels[sample]];
}

static double evaluate(solver *s, const double *parameters, double *gradient)
{
    const head_problem *p = s->problem;
    size_t depth = p->features->depth;
    double value = 0;
    for (size_t j = 0; j < s->n; j++) {
        double strength = j % (depth + 1) == depth ? BIAS_STRENGTH : p->strength;
        s->single[j] = (float)parameters[j];
        gradient[j] = strength * parameters[j];
        value += strength / 2 * parameters[j] * parameters[j];
    }
    for (size_t i = 0; i < p->n_chosen; i++) {
        value += add_sample(s, p->chosen[i]);
        if (i % FLUSH == FLUSH - 1)
            flush(s, gradient);
    }
    flush(s, gradient);
    return value;
}

/* ---- L-BFGS ---------------------------------------------------------------------------------- */

static double product(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t j = 0; j < n; j++)
        sum += a[j] * b[j];
    return sum;
}

static void add(double *to, const double *from, double by, size_t n)
{
    for (size_t j = 0; j < n; j++)
        to[j] += by * from[j];
}

/* s->direction: -(inverse curvature) · gradient, as far as the last steps tell. */
static void find_direction(solver *s)
{
    double share[MEMORY], *d = s->direction;
    for (size_t j = 0; j < s->n; j++)
        d[j] = -s->gradient[j];
    for (size_t i = 0; i < s->n_kept; i++) { /* the latest first */
        size_t at = (s->next + MEMORY - 1 - i) % MEMORY;
        share[at] = product(s->steps + at * s->n, d, s->n) / s->curvature[at];
        add(d, s->changes + at * s->n, -share[at], s->n);
    }
    double first = 1 / fmax(sqrt(product(s->gradient, s->gradient, s->n)), 1);
    if (s->n_kept > 0) {
        size_t at = (s->next + MEMORY - 1) % MEMORY;
        const double *y = s->changes + at * s->n;
        first = s->curvature[at] / product(y, y, s->n);
    }
    for (size_t j = 0; j < s->n; j++)
        d[j] *= first;
    for (size_t i = s->n_kept; i-- > 0;) {
        size_t at = (s->next + MEMORY - 1 - i) % MEMORY;
        double back = product(s->changes + at * s->n, d, s->n) / s->curvature[at];
        add(d, s->steps + at * s->n, share[at] - back, s->n);
    }
}

/* Along the direction to a lower value; false: there is none within the arithmetic. */
static bool descend(solver *s, double *parameters, double *value, double slope)
{
    for (double part = 1; part > SHORTEST_STEP; part /= 2) {
        memcpy(s->trial, parameters, s->n * sizeof *parameters);
        add(s->trial, s->direction, part, s->n);
        double there = evaluate(s, s->trial, s->trial_gradient);
        if (there > *value + 1e-4 * part * slope)
            continue;
        double *step = s->steps + s->next * s->n, *change = s->changes + s->next * s->n;
        for (size_t j = 0; j < s->n; j++) {
            step[j] = s->trial[j] - parameters[j];
            change[j] = s->trial_gradient[j] - s->gradient[j];
        }
        s->curvature[s->next] = product(step, change, s->n);
        if (s->curvature[s->next] > 0) { /* else it is rounding: nothing to learn */
            s->next = (s->next + 1) % MEMORY;
            s->n_kept += s->n_kept < MEMORY;
        }
        memcpy(parameters, s->trial, s->n * sizeof *parameters);
        memcpy(s->gradient, s->trial_gradient, s->n * sizeof *parameters);
        *value = there;
        return true;
    }
    return false;
}

static void iterate(solver *s, double *parameters)
{
    double enough = s->problem->tolerance * (double)s->problem->n_chosen;
    double value = evaluate(s, parameters, s->gradient);
    for (int i = 0; i < MAX_ITERATIONS; i++) {
        find_direction(s);
        double slope = product(s->direction, s->gradient, s->n);
        /* Half the slope is what the step would gain, were the curvature known. The first
         * direction is none to judge by. */
        if ((s->n_kept > 0 && -slope / 2 < enough) || !(slope < 0) ||
            !descend(s, parameters, &value, slope))
            return;
    }
}

error_code head_solve(const head_problem *p, double *parameters, failure *fail)
{
    size_t n = head_parameter_count(p->features, p->n_labels);
    solver s = {.problem = p, .n = n};
    double *memory = calloc(n, (4 + 2 * MEMORY) * sizeof *memory);
    s.single = calloc(n, 2 * sizeof *s.single);
    if (memory == NULL || s.single == NULL) {
        free(memory);
        free(s.single);
        return failure_set(fail, ERR_MEMORY, "no memory to fit %zu parameters", n);
    }
    s.pending = s.single + n;
    s.gradient = memory;
    s.trial = memory + n;
    s.trial_gradient = memory + 2 * n;
    s.direction = memory + 3 * n;
    s.steps = memory + 4 * n;
    s.changes = s.steps + MEMORY * n;
    iterate(&s, parameters);
    free(memory);
    free(s.single);
    return OK;
}

void head_problem_logits(const head_problem *p, const double *parameters, size_t sample,
                         double *logits)
{
    const head_features *f = p->features;
    const float *row = f->rows + sample * f->depth;
    for (size_t k = 0; k < p->n_labels; k++) {
        const double *w = parameters + k * (f->depth + 1);
        logits[k] = w[f->depth];
        for (size_t j = 0; j < f->depth; j++)
            logits[k] += (double)row[j] * w[j];
    }
}
