/*
 * record.h: a decision read back from the decision log (docs/decision-log.md), to be decided again.
 * Needs no engine.
 */
#ifndef ORCHESTRA_RECORD_H
#define ORCHESTRA_RECORD_H

#include <jansson.h>

#include "orchestra/policy.h"

/* The facts of one decision and what they point to. It stays where it is. */
typedef struct recorded_facts {
    policy_facts facts;
    intent intent;
    policy_kept kept;
    double success, entropy_limit, success_limit;
    failure probe_failure;
    const char *headers[CONFIG_MAX_RULES * CONFIG_MAX_HEADERS];
} recorded_facts;

/* `facts` is a line's object of that name; the texts stay its own. The policy says which labels and
 * headers there are: a header that it looks at and the log does not have counts as not sent.
 * ERR_FORMAT names what is missing or does not fit. */
error_code record_read(recorded_facts *out, const json_t *facts, const policy *p, failure *fail);

#endif
