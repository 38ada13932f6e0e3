/*
 * simulate.h: what policies would give with measured models instead of running ones. The decisions
 * are policy_decide's, one for each task, probed label and side of the coin; figures are exact
 * weighted means, nothing is drawn.
 */
#ifndef EVIDENCE_SIMULATE_H
#define EVIDENCE_SIMULATE_H

#include "evidence/arm.h"
#include "evidence/profile.h"

/* NAN: the profile lacks a figure that is needed. */
typedef struct simulated {
    double accuracy;     /* per cent */
    double mean_rate;    /* tokens/s, the mean of the rates: the published way */
    double tokens_per_s; /* tokens over time, answers of equal length */
} simulated;

typedef struct simulation {
    simulated told;   /* the probe is always right */
    simulated probed; /* it errs as the confusion matrix says; NAN without one */
    double
        paid_rate; /* probed.mean_rate less the time that deciding takes; NAN: no overhead given */
} simulation;

/* Ablations are of the published rule (paper). An arm may be any but best-single and rules. */
error_code simulate_run(const profile *p, const profile_mix *mix, const arm *a, simulation *out,
                        failure *fail);

#endif
