/*
 * replay.h: scenarios through arms on local engines, and the results as one JSON object.
 *
 * Every block of requests gets an orchestra of its own, so that no arm finds in a cache what
 * another one left there. With several rounds the arms take turns, so that what changes on the
 * machine meanwhile touches all of them.
 */
#ifndef EVIDENCE_REPLAY_H
#define EVIDENCE_REPLAY_H

#include "evidence/arm.h"
#include "evidence/block.h"
#include "evidence/summary.h"

typedef struct replay_set {
    const char *name; /* the scenario's, or "trace" */
    task_list tasks;
} replay_set;

#define REPLAY_MAX_SETS 8

typedef struct replay_plan {
    replay_set sets[REPLAY_MAX_SETS];
    size_t n_sets;
    const arm *const *arms; /* ARM_SERVER all or none */
    size_t n_arms;
    const char *server; /* where ARM_SERVER's requests go (server_block.h) */
    size_t rounds;
    block_options load;
    summary_bounds bounds;
    const char *journal;    /* a file that keeps finished blocks until all are; NULL: none */
    const json_t *settings; /* what the journal must have been written with */
} replay_plan;

/* A configuration of the caller's making, as for orchestra_create; made anew for every block. */
typedef error_code (*replay_configure)(void *context, config **out, failure *fail);

typedef struct replay_progress {
    void (*call)(void *context, const char *set, const char *arm, double fraction);
    void *context;
} replay_progress;

/* *out: {"version": 1, "settings", "runs": […]} (summary.h), to be released. */
error_code replay_perform(const replay_plan *p, replay_configure configure, void *context,
                          replay_progress progress, json_t **out, failure *fail);

#endif
