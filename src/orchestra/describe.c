/* describe.c: intents, plans, costs and accounts as JSON objects. */
#include "orchestra/describe.h"

#include <math.h>
#include <string.h>

#include "base/json.h"
#include "base/json_fields.h"
#include "orchestra/internal.h"
#include "orchestra/table.h"

const char *finish_reason_text(reply_end reason)
{
    return reason == END_STOP ? "stop" : "length";
}

const char *lookup_name(wish_mode mode)
{
    static const char *const names[] = {
        [WISH_OFF] = "off", [WISH_AUTO] = "auto", [WISH_FIXED] = "fixed", [WISH_DRAFT] = "draft"};
    return names[mode];
}

json_t *lookup_json(const lookup_wish *lookup)
{
    if (lookup->mode == WISH_FIXED)
        return json_integer(lookup->length);
    return json_string(lookup_name(lookup->mode));
}

static json_t *intent_json(const intent *i)
{
    if (i == NULL || !i->known)
        return json_null();
    json_t *probabilities = json_object();
    for (size_t k = 0; k < i->n_labels; k++)
        json_object_set_new(probabilities, i->labels[k],
                            json_real(json_finite(i->probabilities[k])));
    return json_pack("{s:s, s:o, s:f, s:f, s:f, s:b, s:b, s:b, s:I}", "label", i->labels[i->best],
                     "probabilities", probabilities, "entropy", json_finite(i->entropy), "margin",
                     json_finite(i->margin), "outside", json_finite(i->outside), "windowed",
                     (int)i->windowed, "cached", (int)i->cached, "calibrated", (int)i->calibrated,
                     "probe_tokens", (json_int_t)i->probe_tokens);
}

static const json_field overhead_fields[] = {
    JSON_NUMBER(overhead, template_ms), JSON_NUMBER(overhead, prefill_ms),
    JSON_NUMBER(overhead, decide_ms),   JSON_NUMBER(overhead, switch_ms),
    JSON_NUMBER(overhead, total_ms),
};

static const json_field stats_fields[] = {
    JSON_COUNT(reply_stats, prompt_tokens),    JSON_COUNT(reply_stats, cached_tokens),
    JSON_COUNT(reply_stats, reply_tokens),     JSON_COUNT(reply_stats, steps),
    JSON_COUNT(reply_stats, drafted),          JSON_COUNT(reply_stats, accepted),
    JSON_COUNT(reply_stats, parked),           JSON_COUNT(reply_stats, refilled_tokens),
    JSON_NUMBER(reply_stats, queue_ms),        JSON_NUMBER(reply_stats, prefill_ms),
    JSON_NUMBER(reply_stats, decode_ms),       JSON_NUMBER(reply_stats, switch_ms),
    JSON_COUNT(reply_stats, weight_bytes),     JSON_COUNT(reply_stats, kv_bytes),
    JSON_COUNT(reply_stats, estimated_tokens), /* where there are any */
};

#define N_FIELDS(fields) (sizeof(fields) / sizeof *(fields))

static size_t stats_count(const reply_stats *s)
{
    return N_FIELDS(stats_fields) - (s->estimated_tokens == 0);
}

static json_t *stats_json(const reply_stats *s)
{
    return json_fields_value(stats_fields, stats_count(s), s);
}

json_t *counts_json(const orchestra *o, const routing *g)
{
    orchestra_counts c;
    size_t n = orchestra_model_count(o);
    orchestra_read_counts(o, &c);
    json_t *fallbacks = json_object(), *intents = json_object(), *models = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(models, config_role(routing_config(g), i),
                            json_integer((json_int_t)c.decisions[i]));
    for (fallback f = FALLBACK_NONE + 1; f < N_FALLBACKS; f++)
        if (f != FALLBACK_PINNED) /* falls back from nothing */
            json_object_set_new(fallbacks, fallback_name(f),
                                json_integer((json_int_t)c.fallbacks[f]));
    for (size_t i = 0; i < routing_label_count(g); i++)
        json_object_set_new(intents, routing_label_name(g, i),
                            json_integer((json_int_t)routing_intent_count(g, i)));
    return json_pack("{s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:I}", "small",
                     (json_int_t)(n > 1 ? c.decisions[0] : 0), "large",
                     (json_int_t)c.decisions[n - 1], "models", models, "fallbacks", fallbacks,
                     "intents", intents, "probes", (json_int_t)c.probes, "cached_probes",
                     (json_int_t)c.cached_probes, "kept", (json_int_t)c.kept);
}

json_t *receipt_json(const run *r, bool has_reply)
{
    const receipt *said = run_receipt(r);
    json_t *o =
        json_pack("{s:o, s:o}", "overhead",
                  json_fields_value(overhead_fields, N_FIELDS(overhead_fields), &said->overhead),
                  "probe", stats_json(&said->probe));
    if (o != NULL && has_reply)
        json_object_set_new(o, "reply", stats_json(&said->reply));
    if (o != NULL && !isnan(run_cost(r)))
        json_object_set_new(o, "cost", json_real(run_cost(r)));
    return o;
}

/* ---- as text --------------------------------------------------------------------------------- */

#define ACCOUNT_LIMIT ((size_t)1 << 20) /* far above what there is to tell */

static void write_plan(json_out *o, const config *c, const plan *p)
{
    json_out_open(o, "plan", '{');
    json_out_text(o, "model", p->model, strlen(p->model));
    const char *role = config_role(c, p->level);
    json_out_text(o, "role", role, strlen(role));
    if (p->lookup.mode == WISH_FIXED)
        json_out_count(o, "lookup", p->lookup.length);
    else
        json_out_word(o, "lookup", lookup_name(p->lookup.mode));
    json_out_text(o, "rule", p->rule, strlen(p->rule));
    json_out_word(o, "fallback", fallback_name(p->fallback));
    json_out_text(o, "reason", p->reason, strlen(p->reason));
    if (p->prompt_tokens > 0)
        json_out_count(o, "prompt_tokens", (int64_t)p->prompt_tokens);
    else
        json_out_word(o, "prompt_tokens", NULL); /* nobody counted them */
    if (!isnan(p->success))
        json_out_real(o, "success", p->success);
    if (p->sampling != NULL)
        json_out_value(o, "sampling", sampling_json(p->sampling));
    if (p->max_tokens > 0)
        json_out_count(o, "max_tokens", (int64_t)p->max_tokens);
    json_out_close(o, '}');
}

/* What receipt_json makes. */
static void write_receipt(json_out *o, const run *r, bool has_reply)
{
    const receipt *said = run_receipt(r);
    json_out_open(o, "receipt", '{');
    json_fields_write(o, "overhead", overhead_fields, N_FIELDS(overhead_fields), &said->overhead);
    json_fields_write(o, "probe", stats_fields, stats_count(&said->probe), &said->probe);
    if (has_reply)
        json_fields_write(o, "reply", stats_fields, stats_count(&said->reply), &said->reply);
    if (!isnan(run_cost(r)))
        json_out_real(o, "cost", run_cost(r));
    json_out_close(o, '}');
}

static void write_told(json_out *o, const run *r, bool has_reply)
{
    json_out_value(o, "intent", intent_json(run_intent(r)));
    write_plan(o, routing_config(run_routing(r)), run_plan(r));
    write_receipt(o, r, has_reply);
}

void account_write(json_out *o, const char *name, const run *r, uint64_t seed)
{
    json_out_open(o, name, '{');
    write_told(o, r, true);
    json_out_count(o, "seed", (int64_t)seed);
    json_out_close(o, '}');
}

json_t *account_json(const run *r, uint64_t seed)
{
    buffer text;
    buffer_init(&text, ACCOUNT_LIMIT);
    json_out o = {.to = &text};
    account_write(&o, NULL, r, seed);
    return json_out_read(&o);
}

json_t *decision_json(const run *r)
{
    buffer text;
    buffer_init(&text, ACCOUNT_LIMIT);
    json_out o = {.to = &text};
    json_out_open(&o, NULL, '{');
    write_told(&o, r, false);
    json_out_close(&o, '}');
    return json_out_read(&o);
}
