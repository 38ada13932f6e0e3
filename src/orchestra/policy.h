/*
 * policy.h: an ordered list of rules; the first that holds gives the plan.
 *
 * Rules are data: the built-in policies are tables of the same rules that a configuration may list.
 * A decision is a pure function of the policy and the facts: it needs no engine, so a log of facts
 * can be decided again, by the same policy or another one. A rule may be decidable before the
 * intent is known; the evaluation is three-valued, so a probe is asked for only when a rule that
 * comes first depends on it. A policy is read-only after creation: any thread may use it.
 */
#ifndef ORCHESTRA_POLICY_H
#define ORCHESTRA_POLICY_H

#include "orchestra/orchestra.h"

typedef struct policy policy;

typedef struct policy_load {
    uint32_t running, waiting;
    double delay_ms; /* expected, to a reply's first token; 0: not known */
} policy_load;

/* The plan that the conversation had before. */
typedef struct policy_kept {
    size_t rule;    /* its number in the policy's table, or PLAN_NO_RULE */
    size_t level;   /* the model's number */
    uint32_t prior; /* its lookup's */
} policy_kept;

/* What a decision looks at. */
typedef struct policy_facts {
    const intent *intent;  /* NULL: not known yet */
    const double *success; /* probability that the small model's answer is right; NULL: not known */
    const failure *probe_failure;     /* NULL: the probe did not fail (ERR_TIMEOUT: its time was up;
                                         ERR_FORMAT: it left labels out) */
    size_t prompt_tokens;             /* of the model that is asked */
    bool lacks_count;                 /* they are not counted yet */
    size_t tokens[CONFIG_MAX_MODELS]; /* of the others, by number; 0: not counted yet */
    size_t turn;                      /* user messages; 1: the first */
    bool has_session;                 /* the request names its conversation */
    double coin;                      /* [0, 1) */
    const char *const *headers;       /* values by the numbers of policy_header; NULL: not sent */
    policy_load load[CONFIG_MAX_MODELS]; /* by the model's number */
    const policy_kept *kept;     /* NULL: the conversation has no plan yet, or none sticks */
    const double *entropy_limit; /* nats; the calibration's, as it was; NULL: the table's */
    const double *success_limit; /* in the same way */
} policy_facts;

/* `contexts`: what each of the config's models takes, tokens. The config must outlive it.
 * ERR_CONFIG for a rule that says certain or likely where the calibration's limits are not
 * known. */
error_code policy_create(policy **out, const config *c, const size_t *contexts, failure *fail);
void policy_destroy(policy *p);

/* Whether any rule looks at the intent: then the probe's labels must be usable. */
bool policy_reads_intent(const policy *p);
/* Whether any rule looks at success. */
bool policy_reads_success(const policy *p);
/* The names of the headers that rules look at, each once. */
size_t policy_header_count(const policy *p);
const char *policy_header(const policy *p, size_t index);

/* Fills the plan but for its model's name; false (plan untouched): it depends on the intent, on
 * success or on how long the prompt is, which is not known. With all or their failure known it is
 * always true.
 *
 * Before the rules: a failed probe means the large model, the last one (one that left labels out,
 * the next one up), and a conversation that is
 * with it stays there; a prompt whose states would decide and do not fit the model that is asked
 * goes to the next one up. After them: a prompt that does not fit a model goes to the next one up
 * that is not known to be too small, and a conversation for which the rules do not say a model
 * further up keeps the plan it has. */
bool policy_decide(const policy *p, const policy_facts *facts, plan *out);

/* False: the plan's fallback changed nothing: what the intent alone asks for is the same model with
 * the same lookup. True where no intent is known. A request that names its model fell back from
 * nothing. */
bool policy_fallback_matters(const policy *p, const policy_facts *f, const plan *made);

/* A configured lookup as a sequence takes it. `prior`: the class whose acceptance a draft of an
 * unknown kind starts from, below WISH_CLASSES. */
lookup_wish policy_lookup(const config_lookup *l, uint32_t prior);

/* ---- the table ------------------------------------------------------------------------------ */

size_t policy_model_count(const policy *p);
const char *policy_model(const policy *p, size_t number); /* config_role */
size_t policy_label_count(const policy *p);
const char *policy_label(const policy *p, size_t index);
size_t policy_rule_count(const policy *p);
const config_rule *policy_rule(const policy *p, size_t index);
/* Whether any rule has the calibration's entropy limit, so that facts may bring another one. */
bool policy_follows_limit(const policy *p);
/* … or the success limit. */
bool policy_follows_success(const policy *p);
/* Whether a request can reach the rule: no, after a rule without conditions. */
bool policy_reachable(const policy *p, size_t index);

#endif
