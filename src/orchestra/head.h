/*
 * head.h: a linear head: from a hidden state of the small model to probabilities of labels.
 *
 * logit of label k = weights[k] · hidden + bias[k]; the probabilities are their softmax. The
 * standardisation that it was fitted with stands in weights and bias already. Pure arithmetic in
 * one fixed order, on the caller's thread: the same hidden state gives the same bits.
 */
#ifndef ORCHESTRA_HEAD_H
#define ORCHESTRA_HEAD_H

#include <stddef.h>

#include "backend/backend.h"
#include "base/failure.h"
#include "orchestra/calibration.h"

#define HEAD_MAX_WIDTH ((size_t)1 << 17)

typedef struct linear_head {
    size_t n_labels; /* 2 … PROBE_MAX_LABELS */
    size_t width;    /* of the hidden state, ≤ HEAD_MAX_WIDTH */
    size_t layer;    /* whose output it reads; 1: the first layer's */
    float *weights;  /* n_labels × width; owned */
    double bias[PROBE_MAX_LABELS];
} linear_head;

/* Weights and bias are 0. ERR_INVALID for a shape beyond the bounds. */
error_code head_create(linear_head *out, size_t n_labels, size_t width, failure *fail);
void head_free(linear_head *h); /* a zeroed one too */

/* hidden: width floats; n_labels logits out. ERR_INTERNAL when one of them is not finite, because
 * the state is not. */
error_code head_apply(const linear_head *h, const float *hidden, double *logits, failure *fail);

/* Makes of the logits z: scale · z_k + bias_k. The calibration must have one scale for all labels.
 */
void head_calibrate(linear_head *h, const calibration *c);

#endif
