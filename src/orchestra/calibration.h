/*
 * calibration.h: from what the probe says to probabilities that mean what they say.
 *
 * A calibration is a scale and a bias a label, on the logarithms of the probe's probabilities:
 * p = softmax(scale_k · ln p_k + bias_k). Temperature T is the scale 1/T for every label.
 * Contextual calibration (Zhao et al. 2021) is the bias -ln q_k, q being what the probe says of a
 * query without content. Pure arithmetic; any thread may call.
 */
#ifndef ORCHESTRA_CALIBRATION_H
#define ORCHESTRA_CALIBRATION_H

#include <stddef.h>

#include "backend/backend.h"
#include "base/failure.h"

typedef struct calibration {
    size_t n_labels;
    double scale[PROBE_MAX_LABELS];
    double bias[PROBE_MAX_LABELS];
} calibration;

/* Changes nothing. */
calibration calibration_identity(size_t n_labels);
/* Logits of any offset in; n_labels probabilities out. In place is allowed. */
void calibration_apply(const calibration *c, const double *logits, double *probabilities);
/* Their logarithms. */
void calibration_log_apply(const calibration *c, const double *logits, double *log_probabilities);

/* ---- fitting -------------------------------------------------------------------------------- */

typedef struct calibration_sample {
    double logits[PROBE_MAX_LABELS];
    size_t label; /* the right one */
} calibration_sample;

/* How much is fitted, from nothing to everything. One scale serves all labels. */
typedef enum calibration_form {
    CALIBRATION_RAW,
    CALIBRATION_TEMPERATURE,
    CALIBRATION_BIAS, /* and a bias a label: the content-free one, refined by maximum likelihood */
    CALIBRATION_FORMS
} calibration_form;

const char *calibration_form_name(calibration_form form);

/* Maximum likelihood under a weak prior (the scale about 1, every refinement of a bias about 0,
 * each with the weight of one observation), so that it is convex and has one answer even where the
 * labels can be told apart without an error. `content_free`: n_labels probabilities, all > 0.
 * ERR_INVALID when the scale comes out at 0 or below: the probe says less than nothing about these
 * samples. */
error_code calibration_fit(calibration *out, calibration_form form,
                           const calibration_sample *samples, size_t n, size_t n_labels,
                           const double *content_free, failure *fail);

#define CALIBRATION_FOLDS 5

/* The mean negative log-likelihood of held-out samples, nats, by five folds: sample i is in fold
 * i mod 5. INFINITY where a fold cannot be fitted. */
double calibration_held_out(calibration_form form, const calibration_sample *samples, size_t n,
                            size_t n_labels, const double *content_free);

/* The same; what each held-out sample was said to be goes to `log_probabilities`, n × n_labels. Of
 * no meaning after INFINITY. */
double calibration_hold_out(calibration_form form, const calibration_sample *samples, size_t n,
                            size_t n_labels, const double *content_free, double *log_probabilities);

/* The mean negative log-likelihood of samples under a calibration. */
double calibration_nll(const calibration *c, const calibration_sample *samples, size_t n);

#endif
