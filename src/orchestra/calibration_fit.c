/* calibration_fit.c: the calibration that makes labelled samples most likely, by Newton's method.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestra/calibration.h"

#define MAX_PARAMETERS (1 + PROBE_MAX_LABELS)
#define MAX_ITERATIONS 100
#define PRIOR_WEIGHT 1.0 /* a parameter one away from its prior costs half a nat */

const char *calibration_form_name(calibration_form form)
{
    static const char *const names[CALIBRATION_FORMS] = {"raw", "temperature",
                                                         "contextual, temperature, bias"};
    return names[form];
}

/* The logits of sample i under parameters θ: θ[0] · x_k + θ[1 + k], where x is the logarithm of the
 * probe's probabilities and the fixed offset. */
typedef struct problem {
    const calibration_sample *samples;
    size_t n, n_labels;
    size_t skipped_fold; /* CALIBRATION_FOLDS: none */
    size_t n_biases;     /* 0 or n_labels */
    double offset[PROBE_MAX_LABELS];
} problem;

static size_t parameter_count(const problem *p)
{
    return 1 + p->n_biases;
}

static calibration calibration_of(const problem *p, const double *theta)
{
    calibration c = {.n_labels = p->n_labels};
    for (size_t k = 0; k < p->n_labels; k++) {
        c.scale[k] = theta[0];
        c.bias[k] = c.scale[k] * p->offset[k] + (p->n_biases > 0 ? theta[1 + k] : 0);
    }
    return c;
}

/* ---- value, gradient, curvature -------------------------------------------------------------- */

static double prior_of(size_t j)
{
    return j == 0 ? 1 : 0;
}

static double objective(const problem *p, const double *theta)
{
    calibration c = calibration_of(p, theta);
    double sum = 0;
    for (size_t j = 0; j < parameter_count(p); j++)
        sum += PRIOR_WEIGHT / 2 * (theta[j] - prior_of(j)) * (theta[j] - prior_of(j));
    for (size_t i = 0; i < p->n; i++)
        if (i % CALIBRATION_FOLDS != p->skipped_fold)
            sum += calibration_nll(&c, &p->samples[i], 1);
    return sum;
}

/* One sample's part. Label k's logit depends on two parameters: the scale, by x_k, and its bias. */
static void add_sample(const problem *p, const calibration_sample *s, const calibration *c,
                       double *gradient, double *hessian)
{
    const calibration identity = calibration_identity(p->n_labels);
    size_t d = parameter_count(p);
    double x[PROBE_MAX_LABELS], q[PROBE_MAX_LABELS], mean[MAX_PARAMETERS] = {0};
    calibration_log_apply(&identity, s->logits, x);
    calibration_apply(c, s->logits, q);
    for (size_t k = 0; k < p->n_labels; k++) {
        x[k] += p->offset[k];
        double residual = q[k] - (k == s->label ? 1 : 0);
        gradient[0] += residual * x[k];
        hessian[0] += q[k] * x[k] * x[k];
        mean[0] += q[k] * x[k];
        if (p->n_biases == 0)
            continue;
        size_t b = 1 + k;
        gradient[b] += residual;
        hessian[b * d + b] += q[k];
        hessian[b] += q[k] * x[k];
        hessian[b * d] += q[k] * x[k];
        mean[b] += q[k];
    }
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++)
            hessian[i * d + j] -= mean[i] * mean[j];
}

static void differentiate(const problem *p, const double *theta, double *gradient, double *hessian)
{
    size_t d = parameter_count(p);
    calibration c = calibration_of(p, theta);
    memset(hessian, 0, d * d * sizeof *hessian);
    for (size_t j = 0; j < d; j++) {
        gradient[j] = PRIOR_WEIGHT * (theta[j] - prior_of(j));
        hessian[j * d + j] = PRIOR_WEIGHT;
    }
    for (size_t i = 0; i < p->n; i++)
        if (i % CALIBRATION_FOLDS != p->skipped_fold)
            add_sample(p, &p->samples[i], &c, gradient, hessian);
}

/* ---- Newton -------------------------------------------------------------------------------- */

/* Solves A x = b in place of b, for a symmetric A whose least eigenvalue is PRIOR_WEIGHT or more.
 */
static void solve(double *a, size_t d, double *b)
{
    for (size_t i = 0; i < d; i++) { /* A = L Lᵀ, L in A's lower half */
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i * d + j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i * d + k] * a[j * d + k];
            a[i * d + j] = i == j ? sqrt(fmax(sum, 1e-12)) : sum / a[j * d + j];
        }
    }
    for (size_t i = 0; i < d; i++) {
        for (size_t k = 0; k < i; k++)
            b[i] -= a[i * d + k] * b[k];
        b[i] /= a[i * d + i];
    }
    for (size_t i = d; i-- > 0;) {
        for (size_t k = i + 1; k < d; k++)
            b[i] -= a[k * d + i] * b[k];
        b[i] /= a[i * d + i];
    }
}

/* Halves the step until it leads down; false: it does not any more. */
static bool descend(const problem *p, double *theta, const double *step)
{
    size_t d = parameter_count(p);
    double at[MAX_PARAMETERS], from = objective(p, theta);
    for (double part = 1; part > 1e-6; part /= 2) {
        for (size_t j = 0; j < d; j++)
            at[j] = theta[j] - part * step[j];
        if (objective(p, at) < from) {
            memcpy(theta, at, d * sizeof *theta);
            return true;
        }
    }
    return false;
}

static void minimise(const problem *p, double *theta, double *hessian)
{
    size_t d = parameter_count(p);
    double gradient[MAX_PARAMETERS];
    for (int i = 0; i < MAX_ITERATIONS; i++) {
        differentiate(p, theta, gradient, hessian);
        solve(hessian, d, gradient);
        double largest = 0;
        for (size_t j = 0; j < d; j++)
            largest = fmax(largest, fabs(gradient[j]));
        if (largest < 1e-9 || !descend(p, theta, gradient))
            return;
    }
}

/* ---- forms ---------------------------------------------------------------------------------- */

static void set_up(problem *p, calibration_form form, const double *content_free)
{
    p->n_biases = form == CALIBRATION_BIAS ? p->n_labels : 0;
    for (size_t k = 0; k < p->n_biases; k++)
        p->offset[k] = -log(content_free[k]);
}

static error_code fit(calibration *out, problem *p, calibration_form form,
                      const double *content_free, failure *fail)
{
    double theta[MAX_PARAMETERS] = {1};
    set_up(p, form, content_free);
    size_t d = parameter_count(p);
    if (form != CALIBRATION_RAW) {
        double *hessian = reallocarray(NULL, d * d, sizeof *hessian);
        if (hessian == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory to fit a calibration");
        minimise(p, theta, hessian);
        free(hessian);
    }
    if (!(theta[0] > 0))
        return failure_set(fail, ERR_INVALID,
                           "the more the probe favours a label, the less often it is right: no "
                           "temperature mends that; are the labels of the requests in order?");
    *out = calibration_of(p, theta);
    return OK;
}

error_code calibration_fit(calibration *out, calibration_form form,
                           const calibration_sample *samples, size_t n, size_t n_labels,
                           const double *content_free, failure *fail)
{
    problem p = {
        .samples = samples, .n = n, .n_labels = n_labels, .skipped_fold = CALIBRATION_FOLDS};
    return fit(out, &p, form, content_free, fail);
}

double calibration_hold_out(calibration_form form, const calibration_sample *samples, size_t n,
                            size_t n_labels, const double *content_free, double *log_probabilities)
{
    double sum = 0, said[PROBE_MAX_LABELS];
    for (size_t fold = 0; fold < CALIBRATION_FOLDS; fold++) {
        problem p = {.samples = samples, .n = n, .n_labels = n_labels, .skipped_fold = fold};
        calibration c;
        if (fit(&c, &p, form, content_free, NULL) != OK)
            return INFINITY;
        for (size_t i = fold; i < n; i += CALIBRATION_FOLDS) {
            double *z = log_probabilities != NULL ? log_probabilities + i * n_labels : said;
            calibration_log_apply(&c, samples[i].logits, z);
            sum -= z[samples[i].label];
        }
    }
    return n > 0 ? sum / (double)n : 0;
}

double calibration_held_out(calibration_form form, const calibration_sample *samples, size_t n,
                            size_t n_labels, const double *content_free)
{
    return calibration_hold_out(form, samples, n, n_labels, content_free, NULL);
}
