/* probe.h: from the label tokens' logits to an intent. Inside the room only; pure arithmetic. */
#ifndef ORCHESTRA_PROBE_H
#define ORCHESTRA_PROBE_H

#include "orchestra/calibration.h"
#include "orchestra/head.h"
#include "orchestra/orchestra.h"

/* Probabilities by softmax over the labels, or by the calibration (NULL: none), H = -Σ p ln p in
 * nats, the margin between the best two, and the mass outside the labels. The texts of `labels` are
 * kept by reference. ERR_INTERNAL when a logit is not a number (out->known is then false). */
error_code probe_read(const classification_result *c, const char *const *labels,
                      const calibration *calibrated, intent *out, failure *fail);

/* The same from the learned probe's head: its probabilities are calibrated, and nothing is outside
 * the labels. */
error_code probe_read_head(const linear_head *h, const float *state, const char *const *labels,
                           intent *out, failure *fail);

#endif
