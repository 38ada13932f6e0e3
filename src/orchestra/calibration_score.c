/* calibration_score.c: error by bins, Brier score, likelihood, and bootstrap intervals of them. */
#include "orchestra/calibration_score.h"

#include <math.h>
#include <stdlib.h>

#include "base/random.h"

#define RESAMPLES 2000
#define RESAMPLE_SEED 1

static size_t best_of(const double *p, size_t n)
{
    size_t best = 0;
    for (size_t k = 1; k < n; k++)
        if (p[k] > p[best])
            best = k;
    return best;
}

double probabilities_entropy(const double *p, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum -= p[k] > 0 ? p[k] * log(p[k]) : 0;
    return sum;
}

static double brier_of(const double *p, size_t n, size_t right)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += (p[k] - (k == right)) * (p[k] - (k == right));
    return sum;
}

/* ---- expected calibration error -------------------------------------------------------------- */

typedef struct confidence {
    double p; /* of the label said */
    bool right;
} confidence;

static int by_confidence(const void *a, const void *b)
{
    double x = ((const confidence *)a)->p, y = ((const confidence *)b)->p;
    return (x > y) - (x < y);
}

/* |Σ p - number right| of cases [from, to): a bin's part of the error, times n. */
static double bin_error(const confidence *cases, size_t from, size_t to)
{
    double sum = 0;
    for (size_t i = from; i < to; i++)
        sum += cases[i].p - (cases[i].right ? 1 : 0);
    return fabs(sum);
}

/* Of cases in order of confidence. */
static double error_by_width(const confidence *cases, size_t n)
{
    double sum = 0;
    for (size_t from = 0, to = 0, bin = 1; bin <= CALIBRATION_BINS; bin++, from = to) {
        double end = (double)bin / CALIBRATION_BINS;
        while (to < n && (cases[to].p < end || bin == CALIBRATION_BINS))
            to++;
        sum += bin_error(cases, from, to);
    }
    return sum / (double)n;
}

static double error_by_mass(const confidence *cases, size_t n)
{
    double sum = 0;
    for (size_t bin = 0; bin < CALIBRATION_BINS; bin++)
        sum += bin_error(cases, bin * n / CALIBRATION_BINS, (bin + 1) * n / CALIBRATION_BINS);
    return sum / (double)n;
}

error_code calibration_judge(calibration_score *out, const calibration *c,
                             const calibration_sample *samples, size_t n, failure *fail)
{
    *out = (calibration_score){.n = n};
    if (n == 0)
        return OK;
    confidence *cases = calloc(n, sizeof *cases);
    if (cases == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", n);
    double p[PROBE_MAX_LABELS];
    size_t right = 0;
    for (size_t i = 0; i < n; i++) {
        calibration_apply(c, samples[i].logits, p);
        size_t said = best_of(p, c->n_labels);
        cases[i] = (confidence){p[said], said == samples[i].label};
        right += cases[i].right;
        out->confusion[samples[i].label][said]++;
        out->brier += brier_of(p, c->n_labels, samples[i].label) / (double)n;
        out->mean_entropy += probabilities_entropy(p, c->n_labels) / (double)n;
    }
    out->accuracy = (double)right / (double)n;
    out->nll = calibration_nll(c, samples, n);
    qsort(cases, n, sizeof *cases, by_confidence);
    out->ece_width = error_by_width(cases, n);
    out->ece_mass = error_by_mass(cases, n);
    free(cases);
    return OK;
}

/* ---- intervals ------------------------------------------------------------------------------ */

enum { NLL_BEFORE, NLL_AFTER, NLL_GAIN, BRIER_BEFORE, BRIER_AFTER, BRIER_GAIN, MEANS };

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static interval percentiles(double *values)
{
    qsort(values, RESAMPLES, sizeof *values, by_value);
    size_t tail = (size_t)(RESAMPLES * (1 - CONFIDENCE) / 2);
    return (interval){values[tail], values[RESAMPLES - 1 - tail]};
}

static void losses(double *row, const calibration *c, const calibration_sample *s, size_t nll,
                   size_t brier)
{
    double p[PROBE_MAX_LABELS];
    calibration_apply(c, s->logits, p);
    row[nll] = calibration_nll(c, s, 1);
    row[brier] = brier_of(p, c->n_labels, s->label);
}

/* `rows`: n × MEANS losses; `means`: MEANS × RESAMPLES. */
static void resample(const double *rows, size_t n, double *means)
{
    for (size_t r = 0; r < RESAMPLES; r++) {
        double sums[MEANS] = {0};
        for (size_t i = 0; i < n; i++) {
            size_t drawn = random_below(RESAMPLE_SEED, r, i, n);
            for (size_t m = 0; m < MEANS; m++)
                sums[m] += rows[drawn * MEANS + m];
        }
        for (size_t m = 0; m < MEANS; m++)
            means[m * RESAMPLES + r] = sums[m] / (double)n;
    }
}

error_code calibration_compare(calibration_gain *out, const calibration *before,
                               const calibration *after, const calibration_sample *samples,
                               size_t n, failure *fail)
{
    *out = (calibration_gain){.nll_before = {0}};
    double *rows = calloc(n + 1, MEANS * sizeof *rows);
    double *means = calloc(RESAMPLES, MEANS * sizeof *means);
    error_code code = rows != NULL && means != NULL
                          ? OK
                          : failure_set(fail, ERR_MEMORY, "no memory for %zu requests", n);
    for (size_t i = 0; code == OK && i < n; i++) {
        double *row = rows + i * MEANS;
        losses(row, before, &samples[i], NLL_BEFORE, BRIER_BEFORE);
        losses(row, after, &samples[i], NLL_AFTER, BRIER_AFTER);
        row[NLL_GAIN] = row[NLL_BEFORE] - row[NLL_AFTER];
        row[BRIER_GAIN] = row[BRIER_BEFORE] - row[BRIER_AFTER];
    }
    if (code == OK && n > 0) {
        interval *const intervals[MEANS] = {&out->nll_before,  &out->nll_after,
                                            &out->nll_gain,    &out->brier_before,
                                            &out->brier_after, &out->brier_gain};
        resample(rows, n, means);
        for (size_t m = 0; m < MEANS; m++)
            *intervals[m] = percentiles(means + m * RESAMPLES);
    }
    free(rows);
    free(means);
    return code;
}
