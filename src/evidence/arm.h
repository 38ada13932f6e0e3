/*
 * arm.h: what a replay compares: policies, baselines that are no policy, and A-IO with a part of it
 * taken out. An arm is data; block.c follows it.
 */
#ifndef EVIDENCE_ARM_H
#define EVIDENCE_ARM_H

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"

typedef enum arm_way {
    ARM_ROUTED, /* the orchestra decides */
    ARM_SMALL,  /* pinned: nothing is decided */
    ARM_LARGE,
    ARM_ORACLE,       /* the policy decides from the true label, at no cost */
    ARM_PROBED_LARGE, /* probe and decision as usual, then the large model whatever they say */
    ARM_SERVER,       /* a server answers; the arm's name is the model that it is asked for */
    ARM_DERIVED,      /* nothing runs: read off other arms (best-single) */
} arm_way;

typedef struct arm {
    const char *name;
    const char *what; /* for a person */
    arm_way way;
    const char *policy; /* of the configuration while it runs */
    const char *lookup; /* for every request: "off", "auto", a length; NULL: the plan's */
    bool without_entropy_limit;
    bool without_prefix_cache;
} arm;

#define ARM_MAX 32

/* A list such as "small,large,adaptive"; "all": every arm. ERR_NOT_FOUND lists the names. */
error_code arm_list(const char *text, const arm **out, size_t *n, failure *fail);
/* NULL: none of this name. */
const arm *arm_find(const char *name);

/* Makes the configuration what the arm wants. */
error_code arm_apply(const arm *a, config *c, failure *fail);

#endif
