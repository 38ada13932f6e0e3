/* record_read.c: a line of the log as facts, every field checked. */
#include "orchestra/record.h"

#include <string.h>
#include <strings.h>

static error_code refuse(failure *fail, const char *key)
{
    return failure_set(fail, ERR_FORMAT,
                       "\"%s\" is missing or is not what a decision log has there", key);
}

static bool read_real(const json_t *o, const char *key, double *out)
{
    const json_t *value = json_object_get(o, key);
    *out = json_number_value(value);
    return json_is_number(value);
}

static bool read_count(const json_t *o, const char *key, size_t *out)
{
    const json_t *value = json_object_get(o, key);
    *out = (size_t)json_integer_value(value);
    return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool read_flag(const json_t *o, const char *key, bool *out)
{
    const json_t *value = json_object_get(o, key);
    *out = json_is_true(value);
    return json_is_boolean(value);
}

static bool read_numbers(const json_t *list, size_t n, double *out)
{
    bool right = json_array_size(list) == n;
    for (size_t i = 0; right && i < n; i++) {
        out[i] = json_number_value(json_array_get(list, i));
        right = json_is_number(json_array_get(list, i));
    }
    return right;
}

static bool read_intent(intent *i, const json_t *o, const policy *p)
{
    double logits[PROBE_MAX_LABELS] = {0}, log_sum_exp = 0;
    *i = (intent){.known = true, .n_labels = policy_label_count(p)};
    for (size_t k = 0; k < i->n_labels; k++)
        i->labels[k] = policy_label(p, k);
    bool right = read_count(o, "best", &i->best) && i->best < i->n_labels &&
                 read_real(o, "entropy", &i->entropy) && read_real(o, "margin", &i->margin) &&
                 read_real(o, "outside", &i->outside) && read_flag(o, "windowed", &i->windowed) &&
                 read_flag(o, "cached", &i->cached) &&
                 read_count(o, "probe_tokens", &i->probe_tokens) &&
                 read_numbers(json_object_get(o, "probabilities"), i->n_labels, i->probabilities) &&
                 read_numbers(json_object_get(o, "logits"), i->n_labels, logits) &&
                 read_real(o, "log_sum_exp", &log_sum_exp);
    for (size_t k = 0; k < i->n_labels; k++)
        i->logits[k] = (float)logits[k];
    i->log_sum_exp = (float)log_sum_exp;
    return right;
}

static bool read_load(policy_load *l, const json_t *o)
{
    size_t running = 0, waiting = 0;
    bool right = read_count(o, "running", &running) && read_count(o, "waiting", &waiting);
    *l = (policy_load){.running = (uint32_t)running, .waiting = (uint32_t)waiting};
    if (json_object_get(o, "delay_ms") != NULL) /* earlier versions measured none */
        right = read_real(o, "delay_ms", &l->delay_ms) && right;
    return right;
}

static bool read_loads(policy_facts *f, const json_t *o, const policy *p)
{
    bool right = true;
    for (size_t i = 0; right && i < policy_model_count(p); i++)
        right = read_load(&f->load[i], json_object_get(o, policy_model(p, i)));
    return right;
}

/* Logs of earlier versions, which had pairs only, do not say it. */
static bool read_tokens(policy_facts *f, const json_t *o, const policy *p)
{
    bool right = o == NULL || json_is_object(o);
    for (size_t i = 0; right && i < policy_model_count(p); i++)
        right = json_object_get(o, policy_model(p, i)) == NULL ||
                read_count(o, policy_model(p, i), &f->tokens[i]);
    return right;
}

static bool read_kept(policy_kept *k, const json_t *o, const policy *p)
{
    size_t prior = 0;
    k->rule = PLAN_NO_RULE;
    bool right = read_count(o, "prior", &prior) &&
                 (json_is_null(json_object_get(o, "rule")) || read_count(o, "rule", &k->rule));
    k->prior = (uint32_t)prior;
    k->level = policy_model_count(p) - 1;
    if (json_object_get(o, "level") != NULL)
        return right && read_count(o, "level", &k->level) && k->level < policy_model_count(p);
    if (k->rule < policy_rule_count(p)) /* earlier versions: a rule names its model */
        k->level = policy_rule(p, k->rule)->model;
    return right;
}

static bool read_headers(recorded_facts *out, const json_t *o, const policy *p)
{
    for (size_t i = 0; i < policy_header_count(p); i++) {
        void *at = json_object_iter((json_t *)o); /* only looked at */
        out->headers[i] = NULL;
        for (; at != NULL; at = json_object_iter_next((json_t *)o, at))
            if (strcasecmp(json_object_iter_key(at), policy_header(p, i)) == 0)
                out->headers[i] = json_string_value(json_object_iter_value(at));
    }
    out->facts.headers = out->headers;
    return json_is_object(o);
}

static bool read_failure(failure *f, const json_t *o)
{
    bool is_late = false;
    const char *message = json_string_value(json_object_get(o, "message"));
    bool is_incomplete = json_is_true(json_object_get(o, "incomplete")); /* new: may be missing */
    bool right = read_flag(o, "timeout", &is_late) && message != NULL;
    failure_set(f,
                is_late         ? ERR_TIMEOUT
                : is_incomplete ? ERR_FORMAT
                                : ERR_INTERNAL,
                "%s", message != NULL ? message : "");
    return right;
}

/* Only where there is such a number. */
static bool read_optional(const json_t *facts, const char *key, double *out, const double **fact)
{
    bool is_there = json_object_get(facts, key) != NULL;
    *fact = is_there ? out : NULL;
    return !is_there || read_real(facts, key, out);
}

error_code record_read(recorded_facts *out, const json_t *facts, const policy *p, failure *fail)
{
    policy_facts *f = &out->facts;
    *f = (policy_facts){.prompt_tokens = 0};
    const json_t *known = json_object_get(facts, "intent");
    const json_t *kept = json_object_get(facts, "kept");
    const json_t *trouble = json_object_get(facts, "probe_failure");
    const struct {
        const char *key;
        bool right;
    } parts[] = {
        {"prompt_tokens", read_count(facts, "prompt_tokens", &f->prompt_tokens)},
        {"turn", read_count(facts, "turn", &f->turn)},
        {"session", read_flag(facts, "session", &f->has_session)},
        {"coin", read_real(facts, "coin", &f->coin)},
        {"headers", read_headers(out, json_object_get(facts, "headers"), p)},
        {"tokens", read_tokens(f, json_object_get(facts, "tokens"), p)},
        {"load", read_loads(f, json_object_get(facts, "load"), p)},
        {"intent", json_is_null(known) || read_intent(&out->intent, known, p)},
        {"kept", json_is_null(kept) || read_kept(&out->kept, kept, p)},
        {"success", read_optional(facts, "success", &out->success, &f->success)},
        {"entropy_limit",
         read_optional(facts, "entropy_limit", &out->entropy_limit, &f->entropy_limit)},
        {"success_limit",
         read_optional(facts, "success_limit", &out->success_limit, &f->success_limit)},
        {"probe_failure", json_is_null(trouble) || read_failure(&out->probe_failure, trouble)},
    };
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!parts[i].right)
            return refuse(fail, parts[i].key);
    f->intent = json_is_null(known) ? NULL : &out->intent;
    f->kept = json_is_null(kept) ? NULL : &out->kept;
    f->probe_failure = json_is_null(trouble) ? NULL : &out->probe_failure;
    return OK;
}
