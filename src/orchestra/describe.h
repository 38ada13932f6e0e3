/*
 * describe.h: a run in JSON, the same for the server and the command line: what the probe sensed,
 * what was decided and why, what it cost. All return a new object, or NULL when there is no memory.
 */
#ifndef ORCHESTRA_DESCRIBE_H
#define ORCHESTRA_DESCRIBE_H

#include <jansson.h>

#include "base/digest.h"
#include "base/json_out.h"
#include "orchestra/orchestra.h"

/* {overhead, probe, reply, cost}: reply where it is wanted, cost where models have prices. */
json_t *receipt_json(const run *r, bool has_reply);
/* {intent, plan, receipt {overhead, probe, cost}}: from the moment the plan is there. */
json_t *decision_json(const run *r);
/* The same with receipt.reply and the seed: {intent, plan, receipt {overhead, probe, reply}, seed}.
 */
json_t *account_json(const run *r, uint64_t seed);
/* As text. */
void account_write(json_out *o, const char *name, const run *r, uint64_t seed);

/* The policy in effect: {name, models, asked, labels, rules}; the rules have the configuration's
 * own keys, so that the list can be put into one as it stands. JSON null without routing. */
json_t *policy_json(const routing *g);
/* {small, large (the first and the last model), models (each), fallbacks, intents, probes,
 * cached_probes, kept}: requests so far; the intents are those of this routing. */
json_t *counts_json(const orchestra *o, const routing *g);

/* Its digest: decisions of policies with the same one are the same. */
error_code policy_digest(const routing *g, char out[DIGEST_TEXT_SIZE]); /* ERR_MEMORY */

const char *lookup_name(wish_mode mode);
/* "off", "auto", "draft" or the draft's length. */
json_t *lookup_json(const lookup_wish *lookup);
const char *finish_reason_text(reply_end reason);

#endif
