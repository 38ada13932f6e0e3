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

/* `quantity`: "entropy" or "success". JSON null: no limit. */
json_t *part_limit_json(limit_goal goal, double target, const limit_effect *e,
                        const char *quantity);
/* Leaves *goal LIMIT_NONE for null. The limit must be from `least` to `most`. */
error_code part_read_limit(json_t *limit, limit_goal *goal, double *target, limit_effect *e,
                           const char *part, const char *quantity, double most, failure *fail);

/* A whole file, its version checked. *part is borrowed from *root, which is the caller's to give
 * back, on failure too. */
error_code part_open(const char *path, const char *name, json_t **root, json_t **part,
                     failure *fail);

#endif
