/*
 * probe_check.h: whether a probe and a policy fit their models at all: what they make of the
 * built-in requests. Nothing of it counts as a decision.
 */
#ifndef CLI_PROBE_CHECK_H
#define CLI_PROBE_CHECK_H

#include <stdatomic.h>

#include "cli/common.h"

typedef struct probe_check {
    size_t n;          /* requests asked; 0: there is nothing to check, no rule reads the intent */
    bool knows_labels; /* code, qa and math are labels of the probe: n_right means something */
    size_t n_right, n_small;
    double mass;    /* of the probability that the labels hold, mean */
    double entropy; /* nats, mean */
} probe_check;

/* Asks all at once, with a bar. */
error_code probe_check_run(probe_check *out, const stage *s, failure *fail);
/* One at a time, whenever no model has anything else to do, until all were asked or *stop is set
 * (out->n is then 0). For a thread beside a server. */
error_code probe_check_run_idly(probe_check *out, const stage *s, atomic_bool *stop, failure *fail);

/* One line, without a newline at its end. */
#define PROBE_CHECK_SIZE 256
void probe_check_text(const probe_check *c, char out[PROBE_CHECK_SIZE]);
/* Logs what does not fit, with figures and what to do. */
void probe_check_warn(const probe_check *c, const stage *s);

#endif
