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
    ARM_ROUTED,       /* the orchestra decides */
    ARM_PINNED,       /* one model answers: nothing is decided */
    ARM_ORACLE,       /* the policy decides from the true label, at no cost */
    ARM_PROBED_LARGE, /* probe and decision as usual, then the large model whatever they say */
    ARM_SERVER,       /* a server answers; the arm's name is the model that it is asked for */
    ARM_DERIVED,      /* nothing runs: read off other arms (best-single) */
} arm_way;

typedef struct arm {
    const char *name;
    const char *what; /* for a person */
    arm_way way;
    const char *model;  /* ARM_PINNED: small (the first), large (the last), or a model's name */
    const char *policy; /* of the configuration while it runs */
    const char *lookup; /* for every request: "off", "auto", a length; NULL: the plan's */
    bool without_entropy_limit;
    bool without_prefix_cache;
} arm;

#define ARM_MAX 64
#define ARM_NAME_SIZE 104

/* An arm that is no row of the table: a model by its name, or what a server has. */
typedef struct arm_made {
    arm arm;
    char name[ARM_NAME_SIZE], model[ARM_NAME_SIZE];
} arm_made;

typedef struct arm_set {
    const arm *arms[ARM_MAX];
    size_t n;
    arm_made made[ARM_MAX]; /* what arms[i] is, where it is no row of the table */
} arm_set;

/* A list such as "small,large,adaptive", in which each model of the configuration may stand by
 * name, too, with lookup off or, as NAME-lookup, auto; "all": every arm, those that are for a pair
 * left out where there are more models. NULL: every model alone, and adaptive. `c` NULL: a pair is
 * meant. What is made stays in `out`, which must stay where it is. ERR_NOT_FOUND lists the names.
 */
error_code arm_list(arm_set *out, const char *text, const config *c, failure *fail);
/* A row of the table; NULL: none of this name. */
const arm *arm_find(const char *name);
/* Or else a model of the configuration, made in *store. */
const arm *arm_take(arm_made *store, const char *name, const config *c);
/* A model alone, lookup off; its name is borrowed. */
arm arm_of_model(const char *name);

/* Makes the configuration what the arm wants. */
error_code arm_apply(const arm *a, config *c, failure *fail);

#endif
