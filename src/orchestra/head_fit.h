/*
 * head_fit.h: the head that labelled hidden states ask for.
 *
 * Multinomial logistic regression with ridge. Features are standardised; where there are more of
 * them than samples, the fit runs in the span of the samples, which has the same solution. Layer
 * and strength of the ridge are those of the least negative log-likelihood of held-out samples
 * (five folds). What the folds said of samples that they had not seen then gives a temperature, and
 * a bias where that helps, so that probabilities are right as often as they say. Deterministic, one
 * thread; with five layers 3 s for 700 samples of width 896 and three labels, 9 s for 2,000, 13 s
 * for 1,000 of width 3,584.
 */
#ifndef ORCHESTRA_HEAD_FIT_H
#define ORCHESTRA_HEAD_FIT_H

#include <stdint.h>

#include "orchestra/calibration_score.h"
#include "orchestra/head.h"

#define HEAD_MAX_LAYERS 8
#define HEAD_STRENGTHS 10
#define HEAD_FOLDS 5

typedef struct head_samples {
    size_t n, n_labels, width;
    size_t n_layers;
    size_t layers[HEAD_MAX_LAYERS]; /* their numbers */
    const float *const *states;     /* n, each n_layers × width, finite */
    const size_t *labels;           /* n, below n_labels */
    const uint64_t *groups;         /* n; equal ones share a fold (the same request twice, say) */
} head_samples;

typedef struct head_report {
    size_t n_layers;
    size_t layers[HEAD_MAX_LAYERS];
    /* Held-out, nats a sample; NAN: not tried, because two stronger ones were better already. */
    double nll[HEAD_MAX_LAYERS][HEAD_STRENGTHS];
    size_t layer, strength; /* the chosen indexes */
    calibration_form form;  /* of what was put on top */
    calibration calibration;
    /* n, the caller's to free with head_report_free: what the folds said, calibration applied. */
    calibration_sample *held_out;
} head_report;

/* Σ nll + strength / 2 · |weights|², for features of mean square length 1. */
double head_strength(size_t index);

/* ERR_INVALID: fewer samples than folds, or all of one label. */
error_code head_fit(linear_head *out, head_report *report, const head_samples *samples,
                    failure *fail);
void head_report_free(head_report *report); /* a zeroed one too */

#endif
