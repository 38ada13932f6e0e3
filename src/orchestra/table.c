/* table.c: a policy as JSON, as a configuration may have it. */
#include "orchestra/table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/digest.h"
#include "orchestra/describe.h"
#include "orchestra/internal.h"

/* A float as its writer would have it: 0.2, not 0.200000003. */
static json_t *short_real(float value)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%.7g", (double)value);
    return json_real(strtod(digits, NULL));
}

json_t *sampling_json(const config_sampling *s)
{
    const struct {
        config_sampling_bits bit;
        const char *name;
        float value;
    } numbers[] = {
        {CONFIG_TEMPERATURE, "temperature", s->temperature},
        {CONFIG_TOP_P, "top_p", s->top_p},
        {CONFIG_MIN_P, "min_p", s->min_p},
        {CONFIG_REPETITION_PENALTY, "repetition_penalty", s->repetition_penalty},
        {CONFIG_PRESENCE_PENALTY, "presence_penalty", s->presence_penalty},
        {CONFIG_FREQUENCY_PENALTY, "frequency_penalty", s->frequency_penalty},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        if (s->set & numbers[i].bit)
            json_object_set_new(o, numbers[i].name, short_real(numbers[i].value));
    if (s->set & CONFIG_TOP_K)
        json_object_set_new(o, "top_k", json_integer(s->top_k));
    return o;
}

static json_t *number(config_quantity q, double value)
{
    bool is_real =
        q == CONFIG_ENTROPY || q == CONFIG_MARGIN || q == CONFIG_SUCCESS || q == CONFIG_COIN;
    return is_real ? json_real(value) : json_integer((json_int_t)value);
}

static void add_bound(json_t *o, config_quantity q, const config_bound *b)
{
    char key[64];
    snprintf(key, sizeof key, "above_%s", config_quantity_name(q));
    if (b->above > -INFINITY)
        json_object_set_new(o, key, number(q, b->above));
    snprintf(key, sizeof key, "max_%s", config_quantity_name(q));
    if (b->max < INFINITY)
        json_object_set_new(o, key, number(q, b->max));
}

static void add_success(json_t *o, const config_bound *b)
{
    if (b->above > -INFINITY)
        json_object_set_new(o, "min_success", json_real(config_number_after(b->above)));
    if (b->max < INFINITY)
        json_object_set_new(o, "below_success", json_real(config_number_after(b->max)));
}

static json_t *load_json(const policy *p, const config_rule *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < policy_model_count(p); i++) {
        json_t *o = json_object();
        for (size_t k = 0; k < CONFIG_LOAD_KINDS; k++) {
            config_quantity q = config_load_of(i, (config_load_kind)k);
            add_bound(o, q, &r->bounds[q]);
        }
        if (json_object_size(o) == 0) {
            json_decref(o);
            continue;
        }
        json_object_set_new(o, "model", json_string(policy_model(p, i)));
        json_array_append_new(list, o);
    }
    return list;
}

static void add_intents(json_t *o, const policy *p, const config_rule *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < policy_label_count(p); i++)
        if (r->intents >> i & 1)
            json_array_append_new(list, json_string(policy_label(p, i)));
    if (r->intents == CONFIG_ANY_INTENT)
        json_decref(list);
    else if (json_array_size(list) == 1)
        json_object_set_new(o, "intent", json_incref(json_array_get(list, 0))), json_decref(list);
    else
        json_object_set_new(o, "intents", list);
}

static json_t *headers_json(const config_rule *r)
{
    json_t *list = json_array();
    for (size_t k = 0; k < r->n_headers; k++) {
        const config_header *h = &r->headers[k];
        json_t *o = json_pack("{s:s}", "name", h->name);
        if (h->value != NULL)
            json_object_set_new(o, "value", json_text(h->value, strlen(h->value)));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *config_lookup_json(const config_lookup *l)
{
    if (l->mode == CONFIG_LOOKUP_FIXED)
        return json_integer(l->length);
    static const char *const names[] = {[CONFIG_LOOKUP_OFF] = "off",
                                        [CONFIG_LOOKUP_AUTO] = "auto",
                                        [CONFIG_LOOKUP_DRAFT] = "draft"};
    return json_string(names[l->mode]);
}

/* The list goes into the object, unless it is empty. */
static void add_list(json_t *o, const char *key, json_t *list)
{
    if (json_array_size(list) > 0)
        json_object_set(o, key, list);
    json_decref(list);
}

static const char *choice_word(const policy *p, const config_rule *r)
{
    return r->choice == CONFIG_MODEL_NEXT ? "next" : policy_model(p, r->model);
}

static json_t *rule_json(const policy *p, const config_rule *r)
{
    json_t *o = json_pack("{s:s}", "name", r->name);
    add_intents(o, p, r);
    for (config_quantity q = 0; q < CONFIG_LOADS; q++)
        if (q != CONFIG_SUCCESS)
            add_bound(o, q, &r->bounds[q]);
    add_success(o, &r->bounds[CONFIG_SUCCESS]);
    if (r->session != CONFIG_SESSION_ANY)
        json_object_set_new(o, "session", json_boolean(r->session == CONFIG_SESSION_NAMED));
    add_list(o, "headers", headers_json(r));
    add_list(o, "load", load_json(p, r));
    if (r->choice == CONFIG_MODEL_CHEAPEST)
        json_object_set_new(o, "cheapest_within_ms", json_integer(r->within_ms));
    else
        json_object_set_new(o, "model", json_string(choice_word(p, r)));
    json_object_set_new(o, "lookup", config_lookup_json(&r->lookup));
    if (r->sampling.set != 0)
        json_object_set_new(o, "sampling", sampling_json(&r->sampling));
    if (r->max_tokens > 0)
        json_object_set_new(o, "max_tokens", json_integer(r->max_tokens));
    return o;
}

json_t *table_json(const policy *p)
{
    json_t *rules = json_array();
    for (size_t i = 0; i < policy_rule_count(p); i++)
        json_array_append_new(rules, rule_json(p, policy_rule(p, i)));
    return rules;
}

/* Which rules have the limit that moves, so that a log can be decided again. */
static json_t *online_json(const chosen_limits *l, double step, json_t *rules)
{
    return json_pack("{s:f, s:f, s:f, s:o}", "start", l->effects[0].limit, "target", l->targets[0],
                     "step", step, "rules", rules);
}

static void add_online(json_t *whole, const routing *g)
{
    json_t *certain = json_array(), *likely = json_array();
    for (size_t i = 0; i < policy_rule_count(g->policy); i++) {
        const config_rule *r = policy_rule(g->policy, i);
        if (r->certain != CONFIG_CERTAIN_ANY)
            json_array_append_new(certain, json_integer((json_int_t)i));
        if (r->likely != CONFIG_LIKELY_ANY)
            json_array_append_new(likely, json_integer((json_int_t)i));
    }
    if (g->online != NULL)
        json_object_set_new(
            whole, "online",
            online_json(&g->certain, g->config->probe.online_step, json_incref(certain)));
    if (g->online_doubt != NULL)
        json_object_set_new(
            whole, "success_online",
            online_json(&g->likely, g->config->success.online_step, json_incref(likely)));
    json_decref(certain);
    json_decref(likely);
}

static json_t *model_json(const routing *g, size_t number)
{
    const config_price *p = &g->config->models[number].price;
    json_t *o = json_pack("{s:s, s:I}", "name", config_role(g->config, number), "context",
                          (json_int_t)g->contexts[number]);
    if (o != NULL && (p->input > 0 || p->output > 0))
        json_object_set_new(o, "price",
                            json_pack("{s:f, s:f}", "input", p->input, "output", p->output));
    return o;
}

/* What a decision looks at of the models. */
static json_t *models_json(const routing *g)
{
    json_t *models = json_array();
    for (size_t i = 0; i < g->config->n_models; i++)
        json_array_append_new(models, model_json(g, i));
    return models;
}

/* ---- the whole policy ----------------------------------------------------------------------- */

json_t *policy_json(const routing *g)
{
    if (g->policy == NULL)
        return json_null();
    json_t *labels = json_array();
    for (size_t i = 0; i < g->n_labels; i++)
        json_array_append_new(labels, json_string(g->label_names[i]));
    json_t *whole = json_pack("{s:s, s:o, s:s, s:o, s:b, s:I, s:o}", "name", g->config->policy.name,
                              "models", models_json(g), "asked", config_role(g->config, g->asked),
                              "labels", labels, "sticky", (int)g->config->policy.sticky, "seed",
                              (json_int_t)g->config->policy.seed, "rules", table_json(g->policy));
    if (g->config->probe.kind == CONFIG_PROBE_LEARNED)
        json_object_set_new(whole, "probe", json_string("learned"));
    add_online(whole, g);
    return whole;
}

error_code policy_digest(const routing *g, char out[DIGEST_TEXT_SIZE])
{
    digest *d;
    buffer text;
    buffer_init(&text, SIZE_MAX);
    error_code code = digest_create(&d, DIGEST_SHA256, NULL);
    if (code == OK)
        code = json_write_exact(&text, policy_json(g));
    if (code == OK) {
        digest_add(d, text.data, text.length);
        code = digest_read_text(d, out, NULL);
    }
    buffer_free(&text);
    digest_destroy(d);
    return code;
}
