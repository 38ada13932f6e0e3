/*
 * calibration_file.h: what `a-io calibrate` found, in a file that the configuration names.
 *
 * One JSON object, version 1, with parts for the probe by label tokens, the learned probe ("kind";
 * both: probe: calibration: FILE), the estimate of success (success: calibration: FILE) and the
 * machine (engine: machine: FILE); any may be missing. What a part was measured on stands in it: a
 * calibration for another model, template or labels is refused.
 */
#ifndef ORCHESTRA_CALIBRATION_FILE_H
#define ORCHESTRA_CALIBRATION_FILE_H

#include <jansson.h>
#include <stdbool.h>

#include "backend/machine.h"
#include "config/config.h"
#include "orchestra/calibration_score.h"
#include "orchestra/head.h"

#define CALIBRATION_VERSION 1

/* ---- the probe's part ------------------------------------------------------------------------ */

typedef enum limit_goal {
    LIMIT_NONE,
    LIMIT_MISROUTE, /* of an entropy limit: answers by the small model with a wrong intent */
    LIMIT_SHARE,    /* of either: requests that the large model answers */
    LIMIT_WRONG,    /* of a success limit: wrong answers by the small model */
    LIMIT_LOSS      /* … those of them that the large model has right */
} limit_goal;

/* One for each step up in the order of escalation, the lowest first: within limit i the models 0 …
 * i answer, and of them its target is: what they do wrong, or what the others have left to answer.
 */
struct chosen_limits {
    limit_goal goal; /* LIMIT_NONE: there are none */
    size_t n;
    double targets[CONFIG_MAX_MODELS];       /* shares of all requests */
    limit_effect effects[CONFIG_MAX_MODELS]; /* on the requests they were chosen on */
};
typedef struct chosen_limits chosen_limits;

struct probe_record {
    calibration calibration;
    calibration_form form;
    double content_free[PROBE_MAX_LABELS]; /* what the probe says of no content */
    size_t n_fitted;                       /* requests */
    chosen_limits limits;                  /* of entropy */
};
typedef struct probe_record probe_record;

/* ---- the parts that are heads ---------------------------------------------------------------- */

/* "kind" (labels are the probe's) or "success" (labels are wrong and right). */
struct head_record {
    linear_head head; /* owned: head_record_free */
    double strength;
    size_t n_fitted;
    chosen_limits limits; /* of entropy, or of success */
};
typedef struct head_record head_record;

#define SUCCESS_LABELS 2
#define SUCCESS_RIGHT 1 /* the label's number */

void head_record_free(head_record *r); /* a zeroed one too */

/* ---- the file -------------------------------------------------------------------------------- */

/* NULL: not in the file. */
typedef struct calibration_parts {
    const probe_record *probe;
    const head_record *kind, *success;
    const machine_record *machine;
} calibration_parts;

/* Writes the parts to `path`; the file appears when it is whole. `small` is the model that the
 * probe is asked of. */
error_code calibration_file_write(const char *path, const calibration_parts *parts, const config *c,
                                  const model *small, failure *fail);

/* Reads the probe's part. ERR_CONFIG names what does not fit: the version, a key, the model, the
 * template, the window, a label. */
error_code calibration_file_read_probe(probe_record *out, const char *path, const config *c,
                                       const model *small, failure *fail);
/* Reads the part "kind" or "success". ERR_CONFIG names what does not fit: a key, the model, its
 * width or layers, a label, a number that is not finite. */
error_code calibration_file_read_head(head_record *out, const char *part, const char *path,
                                      const config *c, const model *small, failure *fail);
/* Reads the machine's part. Whether it is about this machine, the caller compares. */
error_code calibration_file_read_machine(machine_record *out, const char *path, failure *fail);

/* The parts in JSON, new objects; NULL: no memory. */
json_t *probe_record_json(const probe_record *r, const config *c, const model *small);
json_t *head_record_json(const head_record *r, const char *part, const config *c,
                         const model *small);
json_t *machine_record_json(const machine_record *r);

#endif
