/* routing.c: what decides: the probe, success, the policy. */
#include <stdlib.h>
#include <string.h>

#include "config/rules.h"
#include "config/sections.h"
#include "config/take.h"

static const config_label default_labels[] = {
    {"code", " code"},
    {"qa", " qa"},
    {"math", " math"},
};
#define N_DEFAULT_LABELS (sizeof default_labels / sizeof default_labels[0])

/* What only the label tokens have must not stand there in vain. */
static error_code take_probe_kind(config_probe *p, const file_probe *f, failure *fail)
{
    if (f->kind == NULL || strcmp(f->kind, "tokens") == 0)
        return OK;
    if (strcmp(f->kind, "learned") != 0)
        return failure_set(fail, ERR_CONFIG,
                           "probe.kind: \"%s\" is unknown; allowed: tokens, learned", f->kind);
    p->kind = CONFIG_PROBE_LEARNED;
    const char *key = f->template != NULL      ? "template"
                      : f->window_head != NULL ? "window_head"
                      : f->window_tail != NULL ? "window_tail"
                                               : NULL;
    for (uint32_t i = 0; i < f->n_labels; i++)
        if (f->labels[i].token != NULL)
            key = "labels.token";
    if (key != NULL)
        return failure_set(fail, ERR_CONFIG,
                           "probe.%s: the learned probe does not read it; remove it", key);
    return OK;
}

static error_code take_labels(config_probe *p, const file_probe *f, failure *fail)
{
    uint32_t n = f->n_labels > 0 ? f->n_labels : (uint32_t)N_DEFAULT_LABELS;
    p->labels = calloc(n, sizeof *p->labels);
    if (p->labels == NULL)
        return config_no_memory(fail);
    p->n_labels = n;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = f->n_labels > 0 ? f->labels[i].name : default_labels[i].name;
        const char *token = f->n_labels > 0 ? f->labels[i].token : default_labels[i].token;
        if (!config_copy_text(&p->labels[i].name, name, NULL) ||
            !config_copy_text(&p->labels[i].token, token, name))
            return config_no_memory(fail);
    }
    return OK;
}

/* Any of the models; the first one, where the file names none. */
static error_code take_asked(config *c, const file_probe *f, failure *fail)
{
    if (f->model == NULL || config_find_model(c, f->model, &c->probe.model))
        return OK;
    return failure_set(fail, ERR_CONFIG, "probe.model: there is no model \"%.80s\"", f->model);
}

error_code config_take_probe(config *c, const file_probe *f, const char *file, failure *fail)
{
    static const file_probe nothing = {.template = NULL};
    config_probe *p = &c->probe;
    f = f != NULL ? f : &nothing;
    error_code code = take_probe_kind(p, f, fail);
    if (code == OK)
        code = take_asked(c, f, fail);
    if (code != OK)
        return code;
    TAKE(p->window_head, f->window_head);
    TAKE(p->window_tail, f->window_tail);
    TAKE(p->timeout_ms, f->timeout_ms);
    if (!config_copy_path(&p->calibration, f->calibration, file))
        return config_no_memory(fail);
    p->is_online = f->online != NULL;
    if (p->is_online)
        TAKE(p->online_step, f->online->step);
    TAKE(p->cache, f->cache);
    TAKE(p->reuse, f->reuse);
    if (!config_copy_text(&p->template, f->template, config_defaults.probe.template))
        return config_no_memory(fail);
    return take_labels(p, f, fail);
}

error_code config_take_success(config_success *s, const file_success *f, const char *file,
                               failure *fail)
{
    if (f == NULL)
        return OK;
    if (!config_copy_path(&s->calibration, f->calibration, file))
        return config_no_memory(fail);
    s->is_online = f->online != NULL;
    if (s->is_online)
        TAKE(s->online_step, f->online->step);
    return OK;
}

error_code config_take_policy(config *c, const file_policy *f, failure *fail)
{
    config_policy *p = &c->policy;
    static const file_policy nothing = {.name = NULL};
    f = f != NULL ? f : &nothing;
    TAKE(p->entropy_limit, f->entropy_limit);
    p->is_limit_given = f->entropy_limit != NULL;
    TAKE(p->prompt_limit, f->prompt_limit);
    TAKE(p->seed, f->seed);
    if (f->sticky != NULL && !config_flag_parse(f->sticky, &p->sticky))
        return failure_set(fail, ERR_CONFIG,
                           "policy.sticky: \"%s\" is unknown; allowed: true, false", f->sticky);
    if (!config_copy_text(&p->name, f->name, config_defaults.policy.name))
        return config_no_memory(fail);
    if (f->n_rules == 0)
        return OK;
    p->rules = calloc(f->n_rules, sizeof *p->rules);
    if (p->rules == NULL)
        return config_no_memory(fail);
    p->n_rules = f->n_rules;
    for (uint32_t i = 0; i < p->n_rules; i++) {
        error_code code = config_rule_take(&p->rules[i], &f->rules[i], c, i, fail);
        if (code != OK)
            return code;
    }
    return OK;
}
