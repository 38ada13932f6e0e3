/* head.c: products in one order of additions, so that a head says the same everywhere. */
#include "orchestra/head.h"

#include <math.h>
#include <stdlib.h>

error_code head_create(linear_head *out, size_t n_labels, size_t width, failure *fail)
{
    *out = (linear_head){.n_labels = n_labels, .width = width};
    if (n_labels < 2 || n_labels > PROBE_MAX_LABELS || width < 1 || width > HEAD_MAX_WIDTH)
        return failure_set(
            fail, ERR_INVALID,
            "a head of %zu labels and width %zu: 2 to %d labels and at most %zu wide "
            "are possible",
            n_labels, width, PROBE_MAX_LABELS, HEAD_MAX_WIDTH);
    out->weights = calloc(n_labels * width, sizeof *out->weights);
    return out->weights != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for a head");
}

void head_free(linear_head *h)
{
    free(h->weights);
    *h = (linear_head){.weights = NULL};
}

/* In double: states have a few numbers that are thousands of times larger than the rest. */
static double logit(const linear_head *h, size_t k, const float *hidden)
{
    const float *row = h->weights + k * h->width;
    double sum = h->bias[k];
    for (size_t i = 0; i < h->width; i++)
        sum += (double)row[i] * (double)hidden[i];
    return sum;
}

error_code head_apply(const linear_head *h, const float *hidden, double *logits, failure *fail)
{
    for (size_t k = 0; k < h->n_labels; k++) {
        logits[k] = logit(h, k, hidden);
        if (!isfinite(logits[k]))
            return failure_set(fail, ERR_INTERNAL,
                               "the hidden state has numbers that are not "
                               "finite");
    }
    return OK;
}

void head_calibrate(linear_head *h, const calibration *c)
{
    for (size_t k = 0; k < h->n_labels; k++) {
        h->bias[k] = c->scale[0] * h->bias[k] + c->bias[k];
        for (size_t i = 0; i < h->width; i++)
            h->weights[k * h->width + i] *= (float)c->scale[0];
    }
}
