/* describe.c: intents, plans, costs and accounts as JSON objects. */
#include "orchestra/describe.h"

#include <inttypes.h>
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
    JSON_COUNT(reply_stats, prompt_tokens), JSON_COUNT(reply_stats, cached_tokens),
    JSON_COUNT(reply_stats, reply_tokens),  JSON_COUNT(reply_stats, steps),
    JSON_COUNT(reply_stats, drafted),       JSON_COUNT(reply_stats, accepted),
    JSON_COUNT(reply_stats, parked),        JSON_COUNT(reply_stats, refilled_tokens),
    JSON_NUMBER(reply_stats, queue_ms),     JSON_NUMBER(reply_stats, prefill_ms),
    JSON_NUMBER(reply_stats, decode_ms),    JSON_NUMBER(reply_stats, switch_ms),
    JSON_COUNT(reply_stats, weight_bytes),  JSON_COUNT(reply_stats, kv_bytes),
};

#define N_FIELDS(fields) (sizeof(fields) / sizeof *(fields))

static json_t *stats_json(const reply_stats *s)
{
    return json_fields_value(stats_fields, N_FIELDS(stats_fields), s);
}

static error_code write_stats(buffer *out, const char *name, const reply_stats *s)
{
    error_code code = buffer_add_format(out, ",\"%s\":", name);
    return code == OK ? json_fields_write(out, stats_fields, N_FIELDS(stats_fields), s) : code;
}

static json_t *plan_json(const config *c, const plan *p)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:s, s:s?, s:o, s:I}", "model", p->model, "role",
                          config_role(c, p->level), "lookup", lookup_json(&p->lookup), "rule",
                          p->rule, "fallback", fallback_name(p->fallback), "reason",
                          json_text(p->reason, strlen(p->reason)), "prompt_tokens",
                          (json_int_t)p->prompt_tokens);
    if (o != NULL && !isnan(p->success))
        json_object_set_new(o, "success", json_real(p->success));
    if (o != NULL && p->sampling != NULL)
        json_object_set_new(o, "sampling", sampling_json(p->sampling));
    if (o != NULL && p->max_tokens > 0)
        json_object_set_new(o, "max_tokens", json_integer((json_int_t)p->max_tokens));
    return o;
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

static json_t *told_json(const run *r, bool has_reply)
{
    return json_pack("{s:o, s:o, s:o}", "intent", intent_json(run_intent(r)), "plan",
                     plan_json(routing_config(run_routing(r)), run_plan(r)), "receipt",
                     receipt_json(r, has_reply));
}

json_t *decision_json(const run *r)
{
    return told_json(r, false);
}

json_t *account_json(const run *r, uint64_t seed)
{
    json_t *all = told_json(r, true);
    json_object_set_new(all, "seed", json_integer((json_int_t)seed));
    return all;
}

/* What receipt_json makes, with the reply. */
static error_code write_receipt(buffer *out, const run *r)
{
    const receipt *said = run_receipt(r);
    error_code code = buffer_add_text(out, "{\"overhead\":");
    if (code == OK)
        code = json_fields_write(out, overhead_fields, N_FIELDS(overhead_fields), &said->overhead);
    if (code == OK)
        code = write_stats(out, "probe", &said->probe);
    if (code == OK)
        code = write_stats(out, "reply", &said->reply);
    if (code == OK && !isnan(run_cost(r)))
        code = buffer_add_format(out, ",\"cost\":%.9g", run_cost(r));
    return code == OK ? buffer_add_text(out, "}") : code;
}

error_code account_write(buffer *out, const run *r, uint64_t seed)
{
    error_code code = buffer_add_text(out, "{\"intent\":");
    if (code == OK)
        code = json_write(out, intent_json(run_intent(r)));
    if (code == OK)
        code = buffer_add_text(out, ",\"plan\":");
    if (code == OK)
        code = json_write(out, plan_json(routing_config(run_routing(r)), run_plan(r)));
    if (code == OK)
        code = buffer_add_text(out, ",\"receipt\":");
    if (code == OK)
        code = write_receipt(out, r);
    return code == OK ? buffer_add_format(out, ",\"seed\":%" PRId64 "}", (int64_t)seed) : code;
}
