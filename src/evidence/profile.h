/*
 * profile.h: measurements of somebody's models, as a YAML file: accuracy and speed by model and
 * task, a probe's confusion matrix, what deciding costs, mixes of tasks, and published results to
 * compare with. docs/paper.md describes the keys. A profile owns all its strings.
 */
#ifndef EVIDENCE_PROFILE_H
#define EVIDENCE_PROFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct profile_overhead {
    double template, prefill, decide, switch_; /* ms */
} profile_overhead;

typedef struct profile_row {
    char *intent;
    uint32_t *counts; /* by label */
    uint32_t n_counts;
} profile_row;

typedef struct profile_task {
    char *name, *intent;
    uint32_t prompt_tokens;
} profile_task;

typedef struct profile_figure {
    char *model; /* small or large */
    char *task;
    bool lookup;
    double *accuracy; /* per cent; NULL: not given */
    double *tokens_per_s;
} profile_figure;

typedef struct profile_part {
    char *task;
    double percent;
} profile_part;

typedef struct profile_mix {
    char *name;
    profile_part *parts;
    uint32_t n_parts;
} profile_mix;

typedef struct profile_published {
    char *table, *row, *policy, *scenario, *note; /* note: or NULL */
    double *accuracy, *tokens_per_s;
} profile_published;

typedef struct profile {
    uint32_t version, small_context;
    char **labels;
    uint32_t n_labels;
    profile_overhead *overhead_ms; /* NULL: none given */
    double *request_ms;
    profile_row *confusion;
    uint32_t n_confusion;
    profile_task *tasks;
    uint32_t n_tasks;
    profile_figure *figures;
    uint32_t n_figures;
    profile_mix *scenarios;
    uint32_t n_scenarios;
    profile_published *published;
    uint32_t n_published;
} profile;

/* ERR_CONFIG says what is wrong with the file; references between its parts are checked. */
error_code profile_load(profile **out, const char *path, failure *fail);
void profile_free(profile *p); /* NULL too */

/* NULL: the profile has none. */
const profile_task *profile_find_task(const profile *p, const char *name);
const profile_figure *profile_find_figure(const profile *p, bool small, bool lookup,
                                          const char *task);
const profile_row *profile_find_confusion(const profile *p, const char *intent);

#endif
