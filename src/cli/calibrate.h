/* calibrate.h: what the files of `a-io calibrate` share. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "cli/common.h"
#include "cli/labelled.h"
#include "orchestra/calibration_file.h"

#define CALIBRATE_MAX_TESTS 8

/* ---- labelled requests -----------------------------------------------------------------------
 */

/* Reads a file whose labels are the configuration's, and counts tokens. ERR_INVALID names a bad
 * line.
 */
error_code calibrate_requests_read(labelled_requests *set, stage *s, const char *path,
                                   failure *fail);

/* What the probe said of the requests of one file. Request i has sample i. */
typedef struct labelled_set {
    const char *path;
    calibration_sample *samples; /* of those that were probed */
    bool *answerable;            /* by the small model: within prompt_limit and its context */
    size_t n;                    /* probed */
    size_t n_long;               /* the small model's context does not hold them: not probed */
} labelled_set;

/* Probes every request, several at once. */
error_code labelled_set_probe(labelled_set *out, stage *s, const labelled_requests *requests,
                              failure *fail);
void labelled_set_free(labelled_set *set); /* a zeroed one too */

/* What the probe says of requests without content, the mean of three: n_labels probabilities. */
error_code probe_content_free(stage *s, double *out, failure *fail);

/* The form that held-out samples are likeliest under (`held_out`: their negative log-likelihoods by
 * form), fitted on all of them. out->content_free is there. */
error_code calibrate_choose_form(probe_record *out, double held_out[CALIBRATION_FORMS],
                                 const calibration_sample *samples, size_t n, size_t n_labels,
                                 failure *fail);

/* What the configuration's probe asks. */
question configured_question(const config_probe *p);

/* The index of the model that the probe is asked of. */
size_t small_index(const stage *s);

/* ---- options --------------------------------------------------------------------------------- */

typedef struct calibrate_options {
    stage_options stage;
    const char *labelled; /* NULL: the machine alone */
    const char *output;   /* NULL: nothing is written */
    const char *tests[CALIBRATE_MAX_TESTS];
    size_t n_tests;
    limit_goal goal;
    double target;
    const char *small; /* labels the small model answers, between commas; NULL: code */
    bool no_machine, json, help;
} calibrate_options;

/* ---- results -------------------------------------------------------------------------------- */

/* One set of requests before and after. */
typedef struct calibrate_result {
    const char *name;
    size_t n_long;
    calibration_score before, after;
    calibration_gain gain;
    limit_effect effect; /* when a limit was chosen; of all requests, n_long among them */
} calibrate_result;

typedef struct calibrate_report {
    const calibrate_options *options;
    const config *config;
    const model *small;
    bool has_probe, has_machine;
    probe_record probe;
    double held_out[CALIBRATION_FORMS];                /* nats; INFINITY: cannot be fitted */
    calibrate_result results[1 + CALIBRATE_MAX_TESTS]; /* the first: the half not fitted on */
    size_t n_results;
    machine_record machine;
} calibrate_report;

void calibrate_print(const calibrate_report *r);
error_code calibrate_print_json(const calibrate_report *r, failure *fail);

/* ---- the machine ----------------------------------------------------------------------------- */

/* T(n) of every model, prefill, probes and the read peak, on the threads of the configuration. */
error_code measure_machine(machine_record *out, const stage *s, failure *fail);

#endif
