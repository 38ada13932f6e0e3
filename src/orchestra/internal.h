/* internal.h: what orchestra.c (lifecycle) and run.c (one request) share. Inside the room only. */
#ifndef ORCHESTRA_INTERNAL_H
#define ORCHESTRA_INTERNAL_H

#include <stdatomic.h>

#include "orchestra/orchestra.h"
#include "orchestra/policy.h"

#define ORCHESTRA_MAX_MODELS 2

typedef struct player {
    const char *name; /* the config's */
    model *model;
    engine *engine; /* the conductor's */
    backend *backend;
} player;

struct orchestra {
    const config *config;
    player players[ORCHESTRA_MAX_MODELS]; /* in the order of the config */
    size_t n_players;
    size_t small, large; /* indexes; the same when there is one model */
    conductor *conductor;
    policy *policy; /* NULL: one model, no routing */
    probe_template template;
    const char *label_names[SEQUENCE_MAX_LABELS];
    const char *label_tokens[SEQUENCE_MAX_LABELS];
    size_t n_labels;
    atomic_uint_fast64_t routed; /* requests so far */
};

/* A request's own copy, in one block of memory. */
typedef struct request_copy {
    request request;
    void *memory;
} request_copy;

error_code request_copy_make(request_copy *out, const request *r, failure *fail);
void request_copy_free(request_copy *copy); /* a zeroed one too */

#endif
