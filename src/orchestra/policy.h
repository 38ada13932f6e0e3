/*
 * policy.h: an ordered list of rules; the first that holds gives the plan. Inside the room only.
 *
 * Rules are data: the built-in policies are tables of the same rules that a configuration may list.
 * A rule may be decidable before the intent is known; the evaluation is three-valued, so a probe is
 * asked for only when a rule that comes first depends on it. A policy is read-only after creation:
 * any thread may use it.
 */
#ifndef ORCHESTRA_POLICY_H
#define ORCHESTRA_POLICY_H

#include "orchestra/orchestra.h"

typedef struct policy policy;

/* What the rules look at. */
typedef struct policy_facts {
    const intent *intent; /* NULL: not known yet */
    size_t prompt_tokens; /* of the small model */
    double coin;          /* [0, 1): random's own number for this request */
} policy_facts;

/* `small_context`: the limit of what the small model takes, tokens. The config must outlive it. */
error_code policy_create(policy **out, const config *c, size_t small_context, failure *fail);
void policy_destroy(policy *p);

/* Whether any rule looks at the intent: then the probe's labels must be usable. */
bool policy_reads_intent(const policy *p);

/* Fills role, lookup, rule, reason and prompt_tokens of the plan; false (plan untouched): it
 * depends on the intent, which is not known. With the intent known it is always true. */
bool policy_decide(const policy *p, const policy_facts *facts, plan *out);

/* The plan when the probe failed: the large model. */
void policy_probe_error(const failure *why, size_t prompt_tokens, plan *out);

#endif
