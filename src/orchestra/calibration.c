/* calibration.c: scales and biases on log-probabilities, normalised again. */
#include "orchestra/calibration.h"

#include <math.h>

calibration calibration_identity(size_t n_labels)
{
    calibration c = {.n_labels = n_labels};
    for (size_t k = 0; k < n_labels; k++)
        c.scale[k] = 1;
    return c;
}

/* z → ln softmax z */
static void normalise(double *z, size_t n)
{
    double highest = z[0], sum = 0;
    for (size_t k = 1; k < n; k++)
        highest = fmax(highest, z[k]);
    for (size_t k = 0; k < n; k++)
        sum += exp(z[k] - highest);
    for (size_t k = 0; k < n; k++)
        z[k] -= highest + log(sum);
}

void calibration_log_apply(const calibration *c, const double *logits, double *log_probabilities)
{
    double *z = log_probabilities;
    for (size_t k = 0; k < c->n_labels; k++)
        z[k] = logits[k];
    normalise(z, c->n_labels);
    for (size_t k = 0; k < c->n_labels; k++)
        z[k] = c->scale[k] * z[k] + c->bias[k];
    normalise(z, c->n_labels);
}

void calibration_apply(const calibration *c, const double *logits, double *probabilities)
{
    calibration_log_apply(c, logits, probabilities);
    for (size_t k = 0; k < c->n_labels; k++)
        probabilities[k] = exp(probabilities[k]);
}

double calibration_nll(const calibration *c, const calibration_sample *samples, size_t n)
{
    double z[PROBE_MAX_LABELS] = {0}, sum = 0;
    for (size_t i = 0; i < n; i++) {
        calibration_log_apply(c, samples[i].logits, z);
        sum -= z[samples[i].label];
    }
    return n > 0 ? sum / (double)n : 0;
}
