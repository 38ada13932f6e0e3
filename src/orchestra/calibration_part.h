/* calibration_part.h: what reading and writing the parts of a calibration file share. Inside the
 * room only. */
#ifndef ORCHESTRA_CALIBRATION_PART_H
#define ORCHESTRA_CALIBRATION_PART_H

#include "orchestra/calibration_file.h"

/* {"name", "bytes", "fingerprint"} of the model; NULL: no memory. */
json_t *part_model_json(const model *m);
/* "none" where it has no chat template. */
const char *part_template_name(const model *m);
/* ERR_CONFIG when the model or its chat template is another; `part` is its name in messages. */
error_code part_compare_model(json_t *m, const char *chat, const model *small, const char *part,
                              failure *fail);

/* Adds "limit", the first one or null, and "limits_above" where there are more to the part; NULL
 * where there is no memory, or no part. `quantity`: "entropy" or "success". */
json_t *part_add_limits(json_t *part, const chosen_limits *l, const char *quantity);
/* Both, `above` may be NULL. Leaves the goal LIMIT_NONE for null. Limits must be from 0 to `most`,
 * in the order of escalation, and no more than `n_models` - 1. */
error_code part_read_limits(chosen_limits *out, json_t *limit, json_t *above, const char *part,
                            const char *quantity, double most, size_t n_models, failure *fail);

/* A whole file, its version checked. *part is borrowed from *root, which is the caller's to give
 * back, on failure too. */
error_code part_open(const char *path, const char *name, json_t **root, json_t **part,
                     failure *fail);

#endif
