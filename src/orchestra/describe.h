/*
 * describe.h: a run in JSON, the same for the server and the command line: what the probe sensed,
 * what was decided and why, what it cost. All return a new object, or NULL when there is no memory.
 */
#ifndef ORCHESTRA_DESCRIBE_H
#define ORCHESTRA_DESCRIBE_H

#include <jansson.h>

#include "orchestra/orchestra.h"

/* {intent, plan, receipt {overhead, probe}}: from the moment the plan is there. */
json_t *decision_json(const run *r);
/* The same with receipt.reply and the seed: {intent, plan, receipt {overhead, probe, reply}, seed}.
 */
json_t *account_json(const run *r, uint64_t seed);

/* "off", "auto" or the draft's length. */
json_t *lookup_json(const lookup_setting *lookup);
const char *finish_reason_text(finish_reason reason);

#endif
