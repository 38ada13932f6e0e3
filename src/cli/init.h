/* init.h: what the files of `a-io init` share. */
#ifndef CLI_INIT_H
#define CLI_INIT_H

#include "cli/calibrate.h"
#include "cli/compare.h"

#define INIT_NAME_SIZE 65
#define INIT_CONTEXT 8192 /* tokens, at most: what a configuration begins with */
#define INIT_SLOTS 4
#define INIT_ENTROPY_LIMIT 0.45 /* nats, of calibrated probabilities; the default of policy, too */
#define INIT_PROMPT_LIMIT 2048  /* tokens */

typedef struct init_options {
    const char *given[CONFIG_MAX_MODELS]; /* in the order of escalation */
    size_t n_given;
    const char *output;
    const char *labelled;  /* NULL: the built-in requests */
    const char *templates; /* NULL: the built-in candidates */
    const char *small;     /* labels that the small model answers, between commas; NULL: code */
    const char *kv;
    uint64_t threads;
    bool force, no_machine, json, help;
} init_options;

typedef struct init_model {
    char *path; /* as the configuration names it: absolute, or a name at the hub … */
    char *url;  /* … or where it is served; NULL, the other one is not */
    char name[INIT_NAME_SIZE];
    const model *model; /* NULL: not loaded yet, or at another server */
} init_model;

/* Candidates of our own: words by label, each list ending with NULL. */
typedef struct init_words {
    const char *lists[PROBE_MAX_LABELS][32];
    const char *const *by_label[PROBE_MAX_LABELS];
    char *made[PROBE_MAX_LABELS][4]; /* of the labels' names */
} init_words;

typedef struct init_report {
    const init_options *options;
    init_model models[CONFIG_MAX_MODELS]; /* in the order of escalation */
    size_t n_models;
    bool is_swapped;    /* a pair was given the other way round */
    failure vocabulary; /* code OK: the first and the last one have one */
    labelled_requests requests;
    init_words *words;           /* texts of the comparison: these, or … */
    probe_candidates candidates; /* … those of --templates */
    comparison comparison;
    choice_score choice;
    uint64_t small_labels; /* bit i: label i is the small model's */
    probe_record probe;
    double held_out[CALIBRATION_FORMS];
    /* With what held-out requests were said to be, under the limit: by right label. */
    size_t n_requests[PROBE_MAX_LABELS], n_small[PROBE_MAX_LABELS];
    size_t n_all_small;
    size_t n_misrouted, n_right;
    double entropy; /* nats, mean */
    bool has_machine;
    machine_record machine;
    char *calibration_path;
} init_report;

/* ---- init_models.c: what is named, and what it is -------------------------------------------- */

/* Files, names at the hub, NAME=URL: what the configuration calls them, and where they are. */
error_code init_find_models(init_report *r, failure *fail);
/* Once they are loaded: whether they are models of one line; a pair in its order. */
error_code init_check_models(init_report *r, const orchestra *o, failure *fail);
/* The first and last of a pair are small and large; of more, each is called by its name. */
const char *init_role(const init_report *r, size_t i);

/* ---- init_find.c: the probe ------------------------------------------------------------------ */

/* Compares, calibrates, and counts what the limit does. */
error_code init_find_probe(init_report *r, backend *small, failure *fail);
void init_words_free(init_words *w); /* NULL too */

/* ---- init_write.c: the configuration --------------------------------------------------------- */

/* `complete`: with the probe that was found; else as much as it takes to load the models. */
error_code init_configuration(buffer *out, const init_report *r, bool complete, failure *fail);

/* ---- init_print.c ---------------------------------------------------------------------------- */

void init_print(const init_report *r);
error_code init_print_json(const init_report *r, failure *fail);

#endif
