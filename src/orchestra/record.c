/* record.c: a decision as a line of the log. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "orchestra/describe.h"
#include "orchestra/internal.h"

#define RECORD_VERSION 1

/* Unix time in seconds, to the millisecond. */
static double unix_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (double)t.tv_sec + round((double)t.tv_nsec / 1e6) / 1e3;
}

error_code record_head(const routing *g, buffer *out, failure *fail)
{
    char sum[DIGEST_TEXT_SIZE];
    error_code code = policy_digest(g, sum);
    if (code == OK)
        code = json_write_exact(out, json_pack("{s:s, s:i, s:f, s:s, s:o}", "type", "policy",
                                               "version", RECORD_VERSION, "time", unix_s(),
                                               "digest", sum, "policy", policy_json(g)));
    if (code == OK)
        code = buffer_add_text(out, "\n");
    return code == OK ? OK : failure_set(fail, code, "no memory for the policy");
}

/* ---- the prompt ----------------------------------------------------------------------------- */

static void hex_of(char out[DIGEST_TEXT_SIZE], const recent_key *key)
{
    for (size_t i = 0; i < DIGEST_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", key->digest[i]);
}

static json_t *messages_json(const request *q)
{
    json_t *list = json_array();
    for (size_t i = 0; i < q->n_messages; i++) {
        const chat_message *m = &q->messages[i];
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "role", json_text(m->role, strlen(m->role)),
                                        "content", json_text(m->content, m->content_length)));
    }
    return list;
}

static json_t *ids_json(const request *q)
{
    json_t *list = json_array();
    for (size_t i = 0; i < q->n_prompt_ids; i++)
        json_array_append_new(list, json_integer(q->prompt_ids[i]));
    return list;
}

json_t *record_prompt(const request *q, bool with_text)
{
    bool is_raw = q->prompt != NULL || q->prompt_ids != NULL;
    size_t bytes = q->prompt != NULL ? q->prompt_length : 0;
    for (size_t i = 0; !is_raw && i < q->n_messages; i++)
        bytes += q->messages[i].content_length;
    recent_key key;
    char hash[DIGEST_TEXT_SIZE];
    if (request_digest(q, &key) != OK)
        return NULL;
    hex_of(hash, &key);
    json_t *o = json_pack("{s:s, s:I, s:I}", "sha256", hash, "messages",
                          (json_int_t)(is_raw ? 0 : q->n_messages), "bytes", (json_int_t)bytes);
    if (!with_text)
        return o;
    if (q->prompt_ids != NULL)
        json_object_set_new(o, "ids", ids_json(q));
    else if (q->prompt != NULL)
        json_object_set_new(o, "raw", json_text(q->prompt, q->prompt_length));
    else
        json_object_set_new(o, "text", messages_json(q));
    return o;
}

/* ---- facts ---------------------------------------------------------------------------------- */

static json_t *numbers(const double *values, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(json_finite(values[i])));
    return list;
}

static json_t *intent_facts(const intent *i)
{
    if (i == NULL || !i->known)
        return json_null();
    double logits[PROBE_MAX_LABELS];
    for (size_t k = 0; k < i->n_labels; k++)
        logits[k] = (double)i->logits[k];
    return json_pack("{s:s, s:I, s:o, s:f, s:f, s:f, s:b, s:b, s:b, s:I, s:o, s:f}", "label",
                     i->labels[i->best], "best", (json_int_t)i->best, "probabilities",
                     numbers(i->probabilities, i->n_labels), "entropy", i->entropy, "margin",
                     i->margin, "outside", i->outside, "windowed", (int)i->windowed, "cached",
                     (int)i->cached, "calibrated", (int)i->calibrated, "probe_tokens",
                     (json_int_t)i->probe_tokens, "logits", numbers(logits, i->n_labels),
                     "log_sum_exp", (double)i->log_sum_exp);
}

static json_t *headers_facts(const routing *g, const policy_facts *f)
{
    json_t *headers = json_object();
    for (size_t i = 0; f->headers != NULL && i < policy_header_count(g->policy); i++)
        if (f->headers[i] != NULL)
            json_object_set_new(headers, policy_header(g->policy, i),
                                json_text(f->headers[i], strlen(f->headers[i])));
    return headers;
}

static json_t *load_facts(const policy_load *l)
{
    return json_pack("{s:I, s:I, s:f}", "running", (json_int_t)l->running, "waiting",
                     (json_int_t)l->waiting, "delay_ms", json_finite(l->delay_ms));
}

/* rule null: the large model without a rule (the prompt did not fit the small one). */
static json_t *kept_facts(const policy_kept *k)
{
    if (k == NULL)
        return json_null();
    json_t *rule = k->rule == PLAN_NO_RULE ? json_null() : json_integer((json_int_t)k->rule);
    return json_pack("{s:o, s:I, s:I}", "rule", rule, "level", (json_int_t)k->level, "prior",
                     (json_int_t)k->prior);
}

static json_t *failure_facts(const failure *why)
{
    if (why == NULL)
        return json_null();
    return json_pack("{s:b, s:b, s:o}", "timeout", why->code == ERR_TIMEOUT, "incomplete",
                     why->code == ERR_FORMAT, "message", json_text(why->text, strlen(why->text)));
}

static json_t *loads_facts(const config *c, const policy_facts *f)
{
    json_t *loads = json_object();
    for (size_t i = 0; i < c->n_models; i++)
        json_object_set_new(loads, config_role(c, i), load_facts(&f->load[i]));
    return loads;
}

/* What the prompt has of tokens for models that were not asked, where it mattered. */
static json_t *tokens_facts(const config *c, const policy_facts *f)
{
    json_t *tokens = json_object();
    for (size_t i = 0; i < c->n_models; i++)
        if (f->tokens[i] > 0)
            json_object_set_new(tokens, config_role(c, i), json_integer((json_int_t)f->tokens[i]));
    return tokens;
}

static json_t *facts_json(const routing *g, const policy_facts *f)
{
    json_t *facts = json_pack(
        "{s:I, s:o, s:I, s:b, s:f, s:o, s:o, s:o, s:o, s:o}", "prompt_tokens",
        (json_int_t)f->prompt_tokens, "tokens", tokens_facts(g->config, f), "turn",
        (json_int_t)f->turn, "session", (int)f->has_session, "coin", f->coin, "headers",
        headers_facts(g, f), "load", loads_facts(g->config, f), "kept", kept_facts(f->kept),
        "probe_failure", failure_facts(f->probe_failure), "intent", intent_facts(f->intent));
    if (f->success != NULL)
        json_object_set_new(facts, "success", json_real(*f->success));
    if (f->entropy_limit != NULL)
        json_object_set_new(facts, "entropy_limit", json_real(*f->entropy_limit));
    if (f->success_limit != NULL)
        json_object_set_new(facts, "success_limit", json_real(*f->success_limit));
    return facts;
}

/* ---- what was decided, and what came of it -------------------------------------------------- */

static json_t *plan_facts(const config *c, const plan *p)
{
    json_t *number = p->number == PLAN_NO_RULE ? json_null() : json_integer((json_int_t)p->number);
    return json_pack("{s:s, s:s, s:o, s:b, s:I, s:s, s:o, s:s?, s:o}", "model", p->model, "role",
                     config_role(c, p->level), "lookup", lookup_json(&p->lookup), "client_lookup",
                     (int)p->client_lookup, "prior", (json_int_t)p->lookup.prior, "rule", p->rule,
                     "number", number, "fallback", fallback_name(p->fallback), "reason",
                     json_text(p->reason, strlen(p->reason)));
}

static json_t *outcome_json(const run *r)
{
    if (run_only_decides(r))
        return json_pack("{s:s}", "state", "decided");
    if (run_reached(r) == RUN_FINISHED)
        return json_pack("{s:s, s:s}", "state", "finished", "finish_reason",
                         finish_reason_text(run_finish_reason(r)));
    const failure *why = run_failure(r);
    if (run_reached(r) == RUN_FAILED)
        return json_pack("{s:s, s:s, s:o}", "state", "failed", "error", error_code_text(why->code),
                         "message", json_text(why->text, strlen(why->text)));
    return json_pack("{s:s}", "state", "released"); /* the client went away */
}

json_t *record_line(const run *r, json_t *prompt)
{
    const plan *p = run_plan(r);
    const known_facts *k = run_facts(r);
    const routing *g = run_routing(r);
    bool is_routed = p->fallback != FALLBACK_PINNED;
    return json_pack("{s:s, s:f, s:s, s:o, s:o, s:O, s:o, s:o}", "type", "decision", "time",
                     unix_s(), "id", run_id(r), "facts",
                     is_routed ? facts_json(g, &k->facts) : json_null(), "plan",
                     plan_facts(g->config, p), "prompt", prompt, "receipt", receipt_json(r, true),
                     "outcome", outcome_json(r));
}
