/* probe_template.h: inside the backend room only: what stands around the placeholder of a probe's
 * template. */
#ifndef BACKEND_PROBE_TEMPLATE_H
#define BACKEND_PROBE_TEMPLATE_H

#include "backend/backend.h"

typedef struct probe_parts {
    const char *before, *after;
    size_t before_length, after_length;
    bool conversation; /* the placeholder is {conversation}, else {query} */
} probe_parts;

/* ERR_CONFIG: not exactly one placeholder. The parts point into the text. */
error_code probe_template_split(const char *text, probe_parts *parts, failure *fail);

#endif
