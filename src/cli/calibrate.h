/* calibrate.h: what the files of `a-io calibrate` share. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "cli/common.h"
#include "cli/compare.h"
#include "orchestra/calibration_file.h"
#include "orchestra/head_fit.h"

#define CALIBRATE_MAX_TESTS 8

/* ---- labelled requests ----------------------------------------------------------------------- */

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

/* The number of the line's "intent". */
error_code labelled_line_intent(const config_probe *p, const json_t *line, size_t *label,
                                failure *fail);

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
size_t asked_index(const stage *s);

/* ---- hidden states --------------------------------------------------------------------------- */

typedef enum grade { GRADE_NONE, GRADE_WRONG, GRADE_RIGHT } grade;

#define STATE_NO_LABEL SIZE_MAX

typedef struct state_request {
    size_t label;                    /* its intent, or STATE_NO_LABEL */
    grade grades[CONFIG_MAX_MODELS]; /* of the models' answers, by number */
    bool is_stand_in;                /* no grades: whether answers agree with the last model's */
    bool answerable;                 /* by the small model: within prompt_limit and its context */
    uint64_t group;                  /* equal for equal requests */
} state_request;

/* Of one file. Request i has states[i]: n_layers × width. */
typedef struct state_set {
    const char *path;
    size_t n_layers, width;
    uint32_t layers[HEAD_MAX_LAYERS];
    float **states;
    state_request *requests;
    size_t n;      /* read */
    size_t n_long; /* the small model's context does not hold them */
} state_set;

typedef struct state_wishes {
    bool intent; /* every line must have one */
} state_wishes;

/* ERR_INVALID names a bad line. */
error_code state_set_read(state_set *out, stage *s, const char *path, const state_wishes *wishes,
                          failure *fail);
void state_set_free(state_set *set); /* a zeroed one too */

/* ---- options --------------------------------------------------------------------------------- */

/* Where the intent comes from. */
typedef enum calibrate_kind { KIND_TOKENS, KIND_LEARNED, KIND_NONE } calibrate_kind;

/* What limits are to hold: a share of all requests for each step up in the order of escalation. */
typedef struct limit_targets {
    limit_goal goal;
    size_t n;
    double shares[CONFIG_MAX_MODELS];
} limit_targets;

typedef struct calibrate_options {
    stage_options stage;
    const char *labelled; /* NULL: the machine alone */
    const char *output;   /* NULL: nothing is written */
    const char *tests[CALIBRATE_MAX_TESTS];
    size_t n_tests;
    calibrate_kind kind;
    bool success;
    limit_targets entropy_targets, success_targets;
    const char *small;     /* labels the models below the last answer, between commas; NULL: code */
    const char *templates; /* NULL: the configuration's own alone */
    bool fit_all;          /* heads: no half is kept back to be judged */
    bool no_machine, json, help;
} calibrate_options;

/* ---- results -------------------------------------------------------------------------------- */

/* One set of requests before and after. */
typedef struct calibrate_result {
    const char *name;
    size_t n_long;
    calibration_score before, after;
    calibration_gain gain;
    chosen_limits limits; /* what they do here; of all requests, n_long among them */
} calibrate_result;

/* What a head says of one set of requests. */
typedef struct head_result {
    const char *name;
    size_t n_long;
    calibration_score score;
    interval nll_95, brier_95;
    ranking ranking;                     /* of success */
    ranking by_label[CONFIG_MAX_LABELS]; /* of success, within the requests of one intent */
    size_t n_of_label[CONFIG_MAX_LABELS];
    chosen_limits limits; /* what they do here; of all requests, n_long among them */
} head_result;

typedef struct head_findings {
    bool is_there;
    head_record record;
    head_report report;
    size_t n_stand_in; /* of those fitted on, success: no grade, but whether the models agree */
    head_result results[1 + CALIBRATE_MAX_TESTS]; /* as the probe's */
    size_t n_results;
} head_findings;

typedef struct calibrate_report {
    const calibrate_options *options;
    const config *config;
    const model *small;
    bool has_probe, has_machine;
    labelled_requests requests;
    probe_candidates candidates;
    comparison comparison; /* with --templates */
    probe_record probe;
    double held_out[CALIBRATION_FORMS];                /* nats; INFINITY: cannot be fitted */
    calibrate_result results[1 + CALIBRATE_MAX_TESTS]; /* the first: the half not fitted on */
    size_t n_results;
    head_findings kind, success;
    machine_record machine;
} calibrate_report;

/* Fits the heads that the options ask for and judges them. */
error_code calibrate_heads(calibrate_report *r, stage *s, failure *fail);
void head_findings_free(head_findings *f);
void head_findings_print(const calibrate_report *r);
/* Of "kind" or "success". */
json_t *head_findings_json(const calibrate_report *r, const char *part);

/* Whether models below the last one answer requests of label k, within their limits. */
typedef struct small_labels {
    bool is_small[PROBE_MAX_LABELS];
} small_labels;

error_code small_labels_find(small_labels *out, const calibrate_options *o, const config_probe *p,
                             failure *fail);

/* Shares between commas, "1%" or "1%,5%"; `option` is named in messages. They rise, or fall for the
 * goal LIMIT_SHARE: each step up leaves less to those above. */
error_code limit_targets_read(limit_targets *out, const char *option, const char *text,
                              limit_goal goal, failure *fail);
/* ERR_INVALID: more than there are steps between the models. */
error_code limit_targets_check(const limit_targets *t, const config *c, failure *fail);

/* One request, as far as limits are concerned. */
typedef struct step_case {
    double doubt;   /* entropy, nats; or 1 - success */
    bool is_theirs; /* models below the last answer it, within their limits */
    uint32_t wrong; /* bit i: what is counted is so when model i answers */
} step_case;

/* A limit of doubt for each target, the lowest first. `highest`: the most doubt there is. */
error_code calibrate_limits(chosen_limits *out, const limit_targets *t, const step_case *cases,
                            size_t n, double highest, failure *fail);
/* What limits of doubt do to other cases. */
error_code calibrate_judge_limits(chosen_limits *out, const chosen_limits *doubts,
                                  const step_case *cases, size_t n, failure *fail);

void calibrate_print(const calibrate_report *r);
error_code calibrate_print_json(const calibrate_report *r, failure *fail);

/* For both. `quantity`: what is limited. */
json_t *calibrate_confusion_json(const calibration_score *s, size_t n_labels);
/* An effect, or of several a list; null: there is no limit. */
json_t *calibrate_limits_json(const chosen_limits *l, const char *quantity);
/* A paragraph for each. `what` is counted; `unit` follows a limit. */
void calibrate_print_limits(const calibrate_report *r, const chosen_limits *l, const char *what,
                            const char *unit);

/* ---- the machine ----------------------------------------------------------------------------- */

/* T(n) of every model, prefill, probes and the read peak, on the threads of the configuration. */
error_code measure_machine(machine_record *out, const stage *s, failure *fail);

#endif
