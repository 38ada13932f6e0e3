/* internal.h: what the files of the orchestra share. Inside the room only.
 *
 *   orchestra*.c    beginning and ending
 *   routing*.c      what a configuration says of routing, made ready
 *   run*.c          one request on its way
 *   consider.c      one request that is only thought of
 *   delay.c         how long until a reply's first token
 *   facts.c         what a decision looks at, gathered from one request
 *   policy*.c       from facts to a plan
 *   probe.c         from logits to an intent
 *   sense.c         the forward passes that a decision needs
 *   online_limit.c  the entropy limit that moves
 *   recent.c        conversations and probes that were recent
 *   decision_log.c  what was decided, for later
 *   record.c        the lines of that log
 *   describe.c      the decision in JSON, table.c the rules
 */
#ifndef ORCHESTRA_INTERNAL_H
#define ORCHESTRA_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "orchestra/calibration_file.h"
#include "orchestra/decision_log.h"
#include "orchestra/delay.h"
#include "orchestra/online_limit.h"
#include "orchestra/orchestra.h"
#include "orchestra/policy.h"
#include "orchestra/recent.h"
#include "orchestra/sense.h"

typedef struct player {
    const char *name; /* the config's */
    backend *backend;
    bool is_drafted; /* the first model can draft for it */
    delay_meter delay;
} player;

/* What a configuration says of routing, made ready. Each run holds the one that it began with, so
 * that all it points to stays, whatever is reloaded meanwhile. */
struct routing {
    atomic_size_t references;
    const config *config;
    config *owned;                      /* the same, where it ends with the routing; else NULL */
    policy *policy;                     /* NULL: one model, no routing */
    size_t asked;                       /* the number of the model that the probe asks */
    size_t contexts[CONFIG_MAX_MODELS]; /* of the models, tokens */
    probe_template template;
    probe_record calibration;        /* when the config names one, of label tokens */
    head_record kind, success;       /* width 0: the config names none */
    chosen_limits certain, likely;   /* of entropy, nats, and of success */
    bool reads_states, reads_labels; /* forward passes that the policy's rules may ask for */
    double entropy_limit;            /* nats */
    online_limit *online;            /* NULL: the calibration's limit stays */
    online_limit *online_doubt;      /* of 1 - success, in the same way */
    const char *label_names[PROBE_MAX_LABELS];
    const char *label_tokens[PROBE_MAX_LABELS];
    size_t n_labels;
    recent *conversations;                          /* policy_kept; NULL: no plan sticks */
    recent *probes;                                 /* sensed; NULL: none is kept */
    buffer head;                                    /* the decision log's line of it */
    atomic_uint_fast64_t intents[PROBE_MAX_LABELS]; /* what the probe said, by label */
};

struct orchestra {
    const config *config;
    player players[CONFIG_MAX_MODELS]; /* in the order of escalation */
    size_t n_players;
    backend_houses houses;
    pthread_mutex_t lock;        /* guards the next one's change */
    routing *routing;            /* what decides from now on */
    decision_log *log;           /* NULL: none is written */
    atomic_uint_fast64_t routed; /* requests so far */
    struct {
        atomic_uint_fast64_t decisions[CONFIG_MAX_MODELS], fallbacks[N_FALLBACKS];
        atomic_uint_fast64_t probes, cached_probes, kept;
    } counts;
};

/* ---- routing.c ------------------------------------------------------------------------------ */

/* `players`: the config's, in its order; NULL: one model, no routing. */
error_code routing_create(routing **out, const config *c, const player *players, failure *fail);
routing *routing_hold(routing *g); /* one reference more; gives it back */

/* ---- copy.c --------------------------------------------------------------------------------- */

/* A request's own copy, in one block of memory. */
typedef struct request_copy {
    request request;
    void *memory;
} request_copy;

error_code request_copy_make(request_copy *out, const request *r, failure *fail);
void request_copy_free(request_copy *copy); /* a zeroed one too */

/* ---- facts.c -------------------------------------------------------------------------------- */

/* The facts of one request, with what they point to. It stays where it is: facts point into it. */
typedef struct known_facts {
    policy_facts facts;
    policy_kept kept;
    double entropy_limit, success_limit; /* where they move */
    failure probe_failure;
    char **headers;          /* one block of memory */
    recent_key probe;        /* what the probe reads of them */
    recent_key conversation; /* where the plan is kept */
} known_facts;

/* Of all messages, or of the raw prompt. */
error_code request_digest(const request *q, recent_key *out); /* ERR_MEMORY */

/* All facts but prompt_tokens and what the probe says. */
error_code facts_gather(known_facts *k, orchestra *o, const routing *g, const request *q,
                        const run_options *options, failure *fail);
void facts_free(known_facts *k); /* a zeroed one too */
/* Keeps the plan for what comes next in the conversation. */
void facts_keep_plan(const known_facts *k, const routing *g, const plan *p);

/* ---- record.c: the lines of the decision log (docs/decision-log.md); NULL: no memory --------- */

/* The line that goes before the decisions of a routing, with its end. */
error_code record_head(const routing *g, buffer *out, failure *fail);
json_t *record_prompt(const request *q, bool with_text);
/* `prompt` is what record_prompt gave; the caller keeps it. */
json_t *record_line(const run *r, json_t *prompt);

/* ---- run_known.c, for record.c
 * -------------------------------------------------------------------- */

const routing *run_routing(const run *r);
const known_facts *run_facts(const run *r);
run_state run_reached(const run *r);
const char *run_id(const run *r);
bool run_only_decides(const run *r);

#endif
