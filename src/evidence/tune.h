/*
 * tune.h: rules from evidence. For every label that the probe gave, and for prompts that are too
 * long for the first model: the fastest model and lookup whose measured accuracy is within a
 * tolerance of the best.
 *
 * The evidence is a replay in which every model answered the same requests (arms that are one model
 * alone, with lookup or without) and some arm probed them. Runs need their items.
 */
#ifndef EVIDENCE_TUNE_H
#define EVIDENCE_TUNE_H

#include <jansson.h>

#include "base/buffer.h"
#include "config/config.h"

typedef struct tune_options {
    double tolerance; /* points of accuracy below the best */
    size_t least;     /* requests: a group with fewer gets no rule */
} tune_options;

/* Appends a `policy:` section in YAML; each rule has its evidence above it as comments. ERR_INVALID
 * says what the results lack. */
error_code tune_rules(buffer *out, const json_t *runs, const config *c, const tune_options *options,
                      failure *fail);

#endif
