/*
 * calibration_score.h: how good probabilities are, and which entropy limit holds a target.
 *
 * Pure arithmetic. A judged case is one request: what the probabilities were and which label was
 * right. The limit is chosen for a population, not for the sample: what is held to the target is
 * the upper end of a 95 % interval (Clopper and Pearson, one-sided), so that on requests of the
 * same kind the target is missed by the choice of one sample in twenty at most.
 */
#ifndef ORCHESTRA_CALIBRATION_SCORE_H
#define ORCHESTRA_CALIBRATION_SCORE_H

#include <stdbool.h>

#include "orchestra/calibration.h"

#define CONFIDENCE 0.95
#define CALIBRATION_BINS 15

/* ---- probabilities --------------------------------------------------------------------------- */

/* H = -Σ p ln p, nats. */
double probabilities_entropy(const double *p, size_t n);

typedef struct calibration_score {
    size_t n;
    double accuracy;
    double nll;          /* nats a request */
    double brier;        /* Σ over labels of (p - is right)², 0 … 2 */
    double ece_width;    /* expected calibration error, bins of equal width in confidence */
    double ece_mass;     /* bins of equally many requests */
    double mean_entropy; /* nats */
    size_t confusion[PROBE_MAX_LABELS][PROBE_MAX_LABELS]; /* [right][said] */
} calibration_score;

/* ERR_MEMORY only. */
error_code calibration_judge(calibration_score *out, const calibration *c,
                             const calibration_sample *samples, size_t n, failure *fail);

typedef struct interval {
    double low, high;
} interval;

/* How much better `after` is than `before` on the same samples: 95 % intervals of the means, and of
 * the mean differences before - after, from 2,000 resamples (percentiles; the same samples for
 * both, a fixed seed). */
typedef struct calibration_gain {
    interval nll_before, nll_after, nll_gain;
    interval brier_before, brier_after, brier_gain;
} calibration_gain;

error_code calibration_compare(calibration_gain *out, const calibration *before,
                               const calibration *after, const calibration_sample *samples,
                               size_t n, failure *fail);

/* ---- ranking --------------------------------------------------------------------------------- */

typedef struct ranked_case {
    double score;
    bool positive;
} ranked_case;

/* The area under the ROC: how often, of a positive and a negative drawn at random, the positive has
 * the higher score; a tie counts half. */
typedef struct ranking {
    double area;          /* NAN: all are of one kind */
    interval interval_95; /* from 2,000 resamples (percentiles, a fixed seed) */
} ranking;

/* Orders the cases. ERR_MEMORY only. */
error_code ranking_judge(ranking *out, ranked_case *cases, size_t n, failure *fail);

/* ---- the entropy limit ----------------------------------------------------------------------- */

/* One request, as far as the limit is concerned. What is said of entropy holds for any doubt that
 * is 0 or more: for success it is 1 - its probability, and "the intent is wrong" is "the small
 * model's answer is". */
typedef struct limit_case {
    double entropy; /* nats */
    bool small;     /* the small model answers when the entropy is at most the limit; false: the
                     * large one, whatever the limit */
    bool wrong;     /* the intent is not the right one */
} limit_case;

/* What a limit does to cases. The bounds are one-sided, 95 %. */
typedef struct limit_effect {
    double limit;                   /* nats */
    size_t n, n_small, n_misrouted; /* misrouted: answered by the small model, intent wrong */
    double misroute_upper;          /* of the share of all requests that is misrouted */
    double large_upper;             /* of the share of all requests that the large model answers */
} limit_effect;

limit_effect limit_judge(double limit, const limit_case *cases, size_t n);

/* The largest limit ≤ highest whose misroute_upper is at most the target. ERR_INVALID when not even
 * a limit at which nothing is misrouted can promise that with so few cases; the message has the
 * number needed. Orders the cases. */
error_code limit_for_misroute(double target, double highest, limit_case *cases, size_t n,
                              limit_effect *out, failure *fail);
/* The smallest limit whose large_upper is at most the target: the most cautious one that keeps the
 * large model's share. ERR_INVALID names the least share that can be reached. Orders the cases. */
error_code limit_for_share(double target, double highest, limit_case *cases, size_t n,
                           limit_effect *out, failure *fail);

/* The p for which k or fewer of n are seen with probability 1 - CONFIDENCE; 1 for k = n. */
double binomial_upper(size_t k, size_t n);

#endif
