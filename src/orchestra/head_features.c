/* head_features.c: from hidden states to features, and from a solution back to a head. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestra/head_internal.h"

#define CONSTANT 1e-6  /* a deviation below so much of the largest number is rounding */
#define LEFT_OVER 1e-6 /* squared length, of 1, that a sample may have outside the span */
#define DOT_BLOCK 256  /* products that are summed in single precision */

/* Lanes that the compiler makes vectors of. */
typedef float lanes __attribute__((vector_size(32)));
#define N_LANES (sizeof(lanes) / sizeof(float))

static double dot_block(const float *a, const float *b, size_t n)
{
    lanes sum = {0};
    size_t i = 0;
    for (; i + N_LANES <= n; i += N_LANES) {
        lanes x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        sum += x * y;
    }
    float rest = 0;
    for (; i < n; i++)
        rest += a[i] * b[i];
    for (size_t k = 0; k < N_LANES; k++)
        rest += sum[k];
    return (double)rest;
}

double head_dot(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += DOT_BLOCK)
        sum += dot_block(a + i, b + i, n - i < DOT_BLOCK ? n - i : DOT_BLOCK);
    return sum;
}

/* ---- standardising --------------------------------------------------------------------------- */

static const float *state_of(const head_samples *s, size_t layer, size_t i)
{
    return s->states[i] + layer * s->width;
}

/* The mean of feature j, and 1 / (deviation · √width). */
static void measure(head_features *f, const head_samples *s, size_t layer)
{
    double *mean = f->mean, *square = f->scale;
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->width; j++)
            mean[j] += (double)state_of(s, layer, i)[j] / (double)s->n;
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->width; j++) {
            double away = (double)state_of(s, layer, i)[j] - mean[j];
            square[j] += away * away / (double)s->n;
        }
    for (size_t j = 0; j < s->width; j++) {
        double deviation = sqrt(square[j]);
        bool is_constant = deviation <= CONSTANT * fabs(mean[j]) || deviation < 1e-30;
        f->scale[j] = is_constant ? 0 : 1 / (deviation * sqrt((double)s->width));
    }
}

static void standardise(head_features *f, const head_samples *s, size_t layer)
{
    measure(f, s, layer);
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j < s->width; j++)
            f->standard[i * s->width + j] =
                (float)(((double)state_of(s, layer, i)[j] - f->mean[j]) * f->scale[j]);
}

/* ---- the span of the samples ----------------------------------------------------------------- */

/* Column `depth` of the factor: what is left of the pivot's scalar products. Rows are n long. */
static void add_column(head_features *f, double *left, size_t pivot)
{
    size_t n = f->n, at = f->depth;
    const float *x = f->standard + pivot * f->width, *row = f->rows + pivot * n;
    double root = sqrt(left[pivot]);
    for (size_t i = 0; i < n; i++) {
        if (!(left[i] > 0)) /* in the span already */
            continue;
        double value = root;
        if (i != pivot)
            value = (head_dot(f->standard + i * f->width, x, f->width) -
                     head_dot(f->rows + i * n, row, at)) /
                    root;
        f->rows[i * n + at] = (float)value;
        left[i] = i == pivot ? 0 : fmax(left[i] - value * value, 0);
    }
    f->pivots[f->depth++] = pivot;
}

/* Rows of n places are put together to rows of `depth`. */
static void close_ranks(head_features *f)
{
    for (size_t i = 0; i < f->n; i++)
        memmove(f->rows + i * f->depth, f->rows + i * f->n, f->depth * sizeof *f->rows);
}

/* The Cholesky factorisation with pivots: the sample of which most is left comes next. */
static void factorise(head_features *f, double *left)
{
    for (size_t i = 0; i < f->n; i++)
        left[i] = head_dot(f->standard + i * f->width, f->standard + i * f->width, f->width);
    while (f->depth < f->n) {
        size_t pivot = 0;
        for (size_t i = 1; i < f->n; i++)
            if (left[i] > left[pivot])
                pivot = i;
        if (left[pivot] <= LEFT_OVER)
            break;
        add_column(f, left, pivot);
    }
    close_ranks(f);
}

error_code head_features_create(head_features *out, const head_samples *s, size_t layer,
                                failure *fail)
{
    *out = (head_features){.n = s->n, .width = s->width};
    bool is_wide = s->width > s->n;
    out->mean = calloc(s->width, sizeof *out->mean);
    out->scale = calloc(s->width, sizeof *out->scale);
    out->standard = calloc(s->n, s->width * sizeof *out->standard);
    out->rows = is_wide ? calloc(s->n, s->n * sizeof *out->rows) : out->standard;
    out->pivots = is_wide ? calloc(s->n, sizeof *out->pivots) : NULL;
    double *left = calloc(s->n, sizeof *left);
    if (out->mean == NULL || out->scale == NULL || out->standard == NULL || out->rows == NULL ||
        (is_wide && out->pivots == NULL) || left == NULL) {
        free(left);
        head_features_free(out);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu samples of width %zu", s->n,
                           s->width);
    }
    standardise(out, s, layer);
    if (is_wide)
        factorise(out, left);
    else
        out->depth = s->width;
    free(left);
    return OK;
}

void head_features_free(head_features *f)
{
    if (f->rows != f->standard)
        free(f->rows);
    free(f->standard);
    free(f->mean);
    free(f->scale);
    free(f->pivots);
    *f = (head_features){.n = 0};
}

/* ---- back ------------------------------------------------------------------------------------ */

/* u · rows of the pivots = parameters, in place: by so much each pivot's sample counts. */
static void solve_pivots(const head_features *f, double *u)
{
    for (size_t j = f->depth; j-- > 0;) {
        double sum = u[j];
        for (size_t i = j + 1; i < f->depth; i++)
            sum -= u[i] * (double)f->rows[f->pivots[i] * f->depth + j];
        u[j] = sum / (double)f->rows[f->pivots[j] * f->depth + j];
    }
}

/* Weights on standardised features. */
static void spread(const head_features *f, const double *u, double *weights)
{
    if (f->pivots == NULL) {
        memcpy(weights, u, f->width * sizeof *weights);
        return;
    }
    memset(weights, 0, f->width * sizeof *weights);
    for (size_t i = 0; i < f->depth; i++)
        for (size_t j = 0; j < f->width; j++)
            weights[j] += u[i] * (double)f->standard[f->pivots[i] * f->width + j];
}

error_code head_features_unfold(const head_features *f, const double *parameters, linear_head *out,
                                failure *fail)
{
    double *u = calloc(f->depth + 1, sizeof *u), *weights = calloc(f->width, sizeof *weights);
    bool has_memory = u != NULL && weights != NULL;
    for (size_t k = 0; has_memory && k < out->n_labels; k++) {
        memcpy(u, parameters + k * (f->depth + 1), (f->depth + 1) * sizeof *u);
        out->bias[k] = u[f->depth];
        if (f->pivots != NULL)
            solve_pivots(f, u);
        spread(f, u, weights);
        for (size_t j = 0; j < f->width; j++) {
            out->weights[k * f->width + j] = (float)(weights[j] * f->scale[j]);
            /* With the weight as it is stored, so that rounding does not move the mean. */
            out->bias[k] -= (double)out->weights[k * f->width + j] * f->mean[j];
        }
    }
    free(u);
    free(weights);
    return has_memory ? OK : failure_set(fail, ERR_MEMORY, "no memory for a head");
}
