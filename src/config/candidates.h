/*
 * candidates.h: templates and words that a probe might have, of which one is to be chosen.
 *
 * A YAML list, or one JSON object a line, of {template, labels}: the probe's template, and the
 * words that stand for the labels, in the labels' order. Files come from outside: ERR_CONFIG names
 * the file and what is wrong with it.
 */
#ifndef CONFIG_CANDIDATES_H
#define CONFIG_CANDIDATES_H

#include <stdint.h>

#include "base/failure.h"

typedef struct probe_candidate {
    char *template;
    char **words; /* each should be one token of the small model */
    uint32_t n_words;
} probe_candidate;

typedef struct probe_candidates {
    probe_candidate *items;
    uint32_t n;
} probe_candidates;

/* At least one candidate; templates have their placeholder. */
error_code probe_candidates_read(probe_candidates *out, const char *path, failure *fail);
void probe_candidates_free(probe_candidates *list); /* a zeroed one too */

#endif
