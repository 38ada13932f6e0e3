/* check.c: what a schema cannot say: ranges, names that must be known, keys that exclude others. */
#include "config/check.h"

#include <math.h>
#include <string.h>

#define MAX_NAME 64
#define MAX_PRICE 1e6
#define MAX_CONTEXT (1u << 24)
#define MAX_WINDOW 65536u

static error_code bad(failure *fail, const char *key, const char *needs)
{
    return failure_set(fail, ERR_CONFIG, "%s: %s", key, needs);
}

/* Names go into HTTP headers, command lines and metrics, so they are plain. */
static bool is_plain_name(const char *name)
{
    size_t length = strlen(name);
    return length >= 1 && length <= MAX_NAME &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/@+") ==
               length;
}

static error_code check_name(const char *name, const char *list, size_t i, failure *fail)
{
    if (is_plain_name(name))
        return OK;
    return failure_set(fail, ERR_CONFIG,
                       "%s[%zu].name: \"%.80s\" must be 1 to %d letters, digits or ._-:/@+", list,
                       i, name, MAX_NAME);
}

static error_code check_range(const char *key, uint32_t value, uint32_t low, uint32_t high,
                              failure *fail)
{
    if (value >= low && value <= high)
        return OK;
    return failure_set(fail, ERR_CONFIG, "%s: %u is out of range; allowed: %u to %u", key, value,
                       low, high);
}

/* ---- models and probe --------------------------------------------------------------------- */

static error_code check_model(const config *c, size_t i, failure *fail)
{
    const config_model *m = &c->models[i];
    error_code code = check_name(m->name, "models", i, fail);
    if (code != OK)
        return code;
    if (strcmp(m->name, "auto") == 0)
        return failure_set(fail, ERR_CONFIG,
                           "models[%zu].name: \"auto\" asks for routing and cannot name a model",
                           i);
    if (strcmp(m->name, "next") == 0)
        return failure_set(fail, ERR_CONFIG,
                           "models[%zu].name: \"next\" is what rules call the next one up", i);
    for (size_t j = 0; j < i; j++)
        if (strcmp(c->models[j].name, m->name) == 0)
            return failure_set(fail, ERR_CONFIG,
                               "models[%zu].name: \"%s\" is taken; each model needs its own name",
                               i, m->name);
    if (m->path != NULL && m->path[0] == '\0')
        return failure_set(fail, ERR_CONFIG, "models[%zu].path: must name a GGUF file", i);
    if ((code = check_range("models.context", m->context, 0, MAX_CONTEXT, fail)) != OK)
        return code;
    if (!(m->price.input >= 0 && m->price.input <= MAX_PRICE && m->price.output >= 0 &&
          m->price.output <= MAX_PRICE))
        return failure_set(fail, ERR_CONFIG,
                           "models[%zu].price: input and output are prices of a million tokens, 0 "
                           "to %g",
                           i, MAX_PRICE);
    code = check_range("models.slots", m->slots, 1, 256, fail);
    return code == OK ? check_range("models.parked", m->parked, 0, 256, fail) : code;
}

error_code config_check_models(const config *c, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < c->n_models; i++)
        code = check_model(c, i, fail);
    return code;
}

static size_t count_text(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)) != NULL; p += strlen(what))
        n++;
    return n;
}

static error_code check_label(const config_probe *p, size_t i, failure *fail)
{
    const config_label *l = &p->labels[i];
    error_code code = check_name(l->name, "probe.labels", i, fail);
    if (code != OK)
        return code;
    if (l->token[0] == '\0')
        return failure_set(fail, ERR_CONFIG, "probe.labels[%zu].token: must not be empty", i);
    for (size_t j = 0; j < i; j++) {
        if (strcmp(p->labels[j].name, l->name) == 0)
            return failure_set(fail, ERR_CONFIG,
                               "probe.labels[%zu].name: \"%s\" stands there twice", i, l->name);
        if (strcmp(p->labels[j].token, l->token) == 0)
            return failure_set(fail, ERR_CONFIG,
                               "probe.labels[%zu].token: \"%s\" is the token of \"%s\" already", i,
                               l->token, p->labels[j].name);
    }
    return OK;
}

static error_code check_probe(const config_probe *p, failure *fail)
{
    if (count_text(p->template, "{conversation}") + count_text(p->template, "{query}") != 1)
        return bad(fail, "probe.template",
                   "must hold exactly one placeholder, {conversation} or {query}");
    if (p->kind == CONFIG_PROBE_LEARNED && p->calibration == NULL)
        return bad(fail, "probe.kind",
                   "learned needs probe.calibration, the file of a-io calibrate --kind learned");
    error_code code = check_range("probe.window_head", p->window_head, 0, MAX_WINDOW, fail);
    if (code == OK)
        code = check_range("probe.window_tail", p->window_tail, 1, MAX_WINDOW, fail);
    if (code == OK)
        code = check_range("probe.timeout_ms", p->timeout_ms, 0, 3600000, fail);
    if (code == OK)
        code = check_range("probe.cache", p->cache, 0, 100000, fail);
    for (size_t i = 0; i < p->n_labels && code == OK; i++)
        code = check_label(p, i, fail);
    return code;
}

static error_code check_success(const config_success *s, failure *fail)
{
    if (s->is_online && !(s->online_step > 0 && s->online_step <= 1))
        return bad(fail, "success.online.step", "must be above 0 and at most 1");
    return OK;
}

static error_code check_online(const config *c, failure *fail)
{
    const config_probe *p = &c->probe;
    if (!p->is_online)
        return OK;
    if (p->calibration == NULL)
        return bad(fail, "probe.online",
                   "moves the limit of a calibration, and probe.calibration names none: run a-io "
                   "calibrate --max-misroute");
    if (!(p->online_step > 0 && p->online_step <= 1))
        return bad(fail, "probe.online.step", "must be above 0 and at most 1 (nats)");
    if (c->policy.is_limit_given)
        return bad(fail, "probe.online",
                   "moves the calibration's limit, but policy.entropy_limit counts instead; remove "
                   "one of the two");
    return OK;
}

/* ---- policy ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    bool limits, seed, rules; /* which keys it reads */
} policies[] = {
    {"adaptive", true, false, false}, {"paper", true, false, false},
    {"small", false, false, false},   {"large", false, false, false},
    {"random", false, true, false},   {"rules", false, true, true},
};
#define N_POLICIES (sizeof policies / sizeof policies[0])

static size_t find_policy(const char *name)
{
    size_t i = 0;
    while (i < N_POLICIES && strcmp(policies[i].name, name) != 0)
        i++;
    return i;
}

static bool has_label(const config *c, const char *name)
{
    for (size_t i = 0; i < c->probe.n_labels; i++)
        if (strcmp(c->probe.labels[i].name, name) == 0)
            return true;
    return false;
}

error_code config_check_policy(const config *c, failure *fail)
{
    const config_policy *p = &c->policy;
    size_t which = find_policy(p->name);
    if (which == N_POLICIES)
        return failure_set(
            fail, ERR_CONFIG,
            "policy.name: \"%s\" is unknown; allowed: adaptive, paper, small, large, "
            "random, rules",
            p->name);
    if (strcmp(p->name, "paper") == 0 && c->n_models > 2)
        return failure_set(fail, ERR_CONFIG,
                           "policy.name: \"paper\" is the published rule, which knows two models; "
                           "there are %u: use adaptive, or rules",
                           c->n_models);
    if (policies[which].rules && p->n_rules == 0)
        return bad(fail, "policy.rules", "the policy \"rules\" needs at least one rule");
    if (policies[which].limits && !has_label(c, CONFIG_LABEL_CODE))
        return failure_set(fail, ERR_CONFIG,
                           "probe.labels: the policy \"%s\" needs a label named \"%s\"; with other "
                           "labels use the policy \"rules\"",
                           p->name, CONFIG_LABEL_CODE);
    if (!(p->entropy_limit >= 0) || isinf(p->entropy_limit))
        return bad(fail, "policy.entropy_limit", "must be a number of nats ≥ 0");
    if (p->prompt_limit == 0)
        return bad(fail, "policy.prompt_limit", "must be a number of tokens ≥ 1");
    for (size_t i = 0; i < p->n_rules; i++) {
        error_code code = check_name(p->rules[i].name, "policy.rules", i, fail);
        if (code != OK)
            return code;
    }
    return OK;
}

error_code config_check_policy_keys(const file_policy *f, const char *name, failure *fail)
{
    size_t which = find_policy(name);
    if (f == NULL || which == N_POLICIES)
        return OK; /* config_check_policy refuses an unknown name */
    const char *key = NULL;
    if (!policies[which].limits && f->entropy_limit != NULL)
        key = "entropy_limit";
    else if (!policies[which].limits && f->prompt_limit != NULL)
        key = "prompt_limit";
    else if (!policies[which].seed && f->seed != NULL)
        key = "seed";
    else if (!policies[which].rules && f->n_rules > 0)
        key = "rules";
    if (key == NULL)
        return OK;
    return failure_set(fail, ERR_CONFIG, "policy.%s: the policy \"%s\" does not read it; remove it",
                       key, name);
}

/* ---- the rest ------------------------------------------------------------------------------- */

static error_code check_engine_and_server(const config *c, failure *fail)
{
    const struct {
        const char *key;
        uint32_t value, low, high;
    } ranges[] = {
        {"engine.threads", c->engine.threads, 0, 1024},
        {"engine.prefill_chunk", c->engine.prefill_chunk, 1, 65536},
        {"engine.queue_limit", c->engine.queue_limit, 0, 100000},
        {"engine.step_budget_ms", c->engine.step_budget_ms, 1, 10000},
        {"server.loops", c->server.loops, 0, 32},
        {"server.max_connections", c->server.max_connections, 1, 65535},
        {"server.max_connections_per_address", c->server.max_connections_per_address, 0, 65535},
        {"server.max_body_bytes", c->server.max_body_bytes, 1024, 1u << 30},
        {"server.max_tokens_default", c->server.max_tokens_default, 0, MAX_CONTEXT},
        {"server.deadline_ms_default", c->server.deadline_ms_default, 0, INT32_MAX},
        {"decisions.max_mb", c->decisions.max_mb, 1, 100000},
        {"decisions.keep", c->decisions.keep, 0, 100},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        error_code code =
            check_range(ranges[i].key, ranges[i].value, ranges[i].low, ranges[i].high, fail);
        if (code != OK)
            return code;
    }
    if (c->server.host[0] == '\0')
        return bad(fail, "server.host", "must be an address to listen on, such as 127.0.0.1");
    if (c->decisions.file != NULL && c->decisions.file[0] == '\0')
        return bad(fail, "decisions.file", "must name a file");
    return OK;
}

error_code config_check(const config *c, failure *fail)
{
    if (c->version != CONFIG_VERSION)
        return failure_set(fail, ERR_CONFIG,
                           "version: %u is unknown; this program reads version %d", c->version,
                           CONFIG_VERSION);
    error_code code = check_probe(&c->probe, fail);
    if (code == OK)
        code = check_success(&c->success, fail);
    if (code == OK)
        code = check_online(c, fail);
    if (code == OK)
        code = config_check_policy(c, fail);
    return code == OK ? check_engine_and_server(c, fail) : code;
}
