/* orchestra.c: an orchestra from its configuration: models, heads, limits, drafts. */
#include "orchestra/orchestra.h"

#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "orchestra/internal.h"

/* ---- loading ------------------------------------------------------------------------------ */

static error_code add_player(orchestra *o, const house_kind *const *kinds,
                             const house_setting *setting, const config_model *m,
                             const house_progress *progress, failure *fail)
{
    player *p = &o->players[o->n_players++];
    p->name = m->name;
    error_code code =
        backend_houses_add(&o->houses, kinds, setting, m, progress, &p->backend, fail);
    return code == OK ? OK : failure_prefix(fail, "model %s", m->name);
}

static error_code load_players(orchestra *o, const house_kind *const *kinds,
                               const house_progress *progress, failure *fail)
{
    const config *c = o->config;
    machine_record machine;
    house_setting setting = {.engine = &c->engine};
    error_code code = OK;
    if (c->engine.machine != NULL) {
        code = calibration_file_read_machine(&machine, c->engine.machine, fail);
        setting.machine = &machine;
    }
    for (size_t i = 0; code == OK && i < c->n_models; i++)
        code = add_player(o, kinds, &setting, &c->models[i], progress, fail);
    return code;
}

/* ---- routing ------------------------------------------------------------------------------ */

static bool drafts(const config_rule *r)
{
    return r->lookup.mode == CONFIG_LOOKUP_DRAFT;
}

static error_code fail_draft(const config_policy *p, size_t rule, failure *fail)
{
    return failure_prefix(fail, "policy.rules[%zu] (%s).lookup: draft", rule, p->rules[rule].name);
}

/* The first model drafts for those that a rule says it of. */
static error_code prepare_drafts(orchestra *o, failure *fail)
{
    const config_policy *p = &o->config->policy;
    for (size_t i = 0; i < p->n_rules; i++) {
        player *to = &o->players[p->rules[i].model];
        if (!drafts(&p->rules[i]) || to->is_drafted)
            continue;
        if (backend_set_drafter(to->backend, o->players[0].backend, fail) != OK)
            return fail_draft(p, i, fail);
        to->is_drafted = true;
    }
    return OK;
}

static error_code check_drafts(const orchestra *o, const config_policy *p, failure *fail)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (drafts(&p->rules[i]) && !o->players[p->rules[i].model].is_drafted) {
            failure_set(fail, ERR_UNSUPPORTED,
                        "no rule drafted at the start, so that the large "
                        "model's engine has no room for it: start again");
            return fail_draft(p, i, fail);
        }
    return OK;
}

routing *orchestra_hold_routing(orchestra *o)
{
    pthread_mutex_lock(&o->lock);
    routing *g = routing_hold(o->routing);
    pthread_mutex_unlock(&o->lock);
    return g;
}

/* Rules name models by number, so that these must be those that are served. */
static error_code is_same_list(const config *served, const config *c, failure *fail)
{
    bool same = served->n_models == c->n_models;
    for (size_t i = 0; same && i < c->n_models; i++)
        same = strcmp(served->models[i].name, c->models[i].name) == 0;
    return same ? OK
                : failure_set(fail, ERR_UNSUPPORTED,
                              "the models are others, or in another order: start again");
}

error_code orchestra_reload(orchestra *o, config *c, failure *fail)
{
    routing *fresh = NULL;
    error_code code = is_same_list(o->config, c, fail);
    if (code == OK && o->n_players > 1)
        code = check_drafts(o, &c->policy, fail);
    if (code == OK)
        code = routing_create(&fresh, c, o->n_players > 1 ? o->players : NULL, fail);
    if (code != OK)
        return code;
    for (size_t i = 0; code == OK && i < o->n_players; i++)
        code = backend_renew(o->players[i].backend, &c->models[i], fail);
    if (code != OK) {
        routing_release(fresh);
        return code;
    }
    fresh->owned = c;
    pthread_mutex_lock(&o->lock);
    routing *old = o->routing;
    o->routing = fresh;
    pthread_mutex_unlock(&o->lock);
    routing_release(old);
    return OK;
}

/* ---- life --------------------------------------------------------------------------------- */

error_code orchestra_create_of(orchestra **out, const house_kind *const *kinds, const config *c,
                               house_progress progress, failure *fail)
{
    *out = NULL;
    orchestra *o = calloc(1, sizeof *o);
    if (o == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the orchestra");
    o->config = c;
    pthread_mutex_init(&o->lock, NULL);
    error_code code = digest_prepare(fail);
    if (code == OK)
        code = load_players(o, kinds, &progress, fail);
    if (code == OK)
        code = routing_create(&o->routing, c, o->n_players > 1 ? o->players : NULL, fail);
    if (code == OK && o->n_players > 1)
        code = prepare_drafts(o, fail);
    if (code == OK)
        code = backend_houses_start(&o->houses, fail);
    if (code != OK)
        orchestra_destroy(o);
    else
        *out = o;
    return code;
}

error_code orchestra_create(orchestra **out, const config *c, house_progress progress,
                            failure *fail)
{
    return orchestra_create_of(out, house_kinds, c, progress, fail);
}

error_code orchestra_adopt(orchestra *o, const int *epolls, size_t n, failure *fail)
{
    return backend_houses_adopt(&o->houses, epolls, n, fail);
}

void orchestra_note(orchestra *o, size_t lane, const struct epoll_event *event)
{
    backend_houses_note(&o->houses, lane, event);
}

double orchestra_turn(orchestra *o, size_t lane)
{
    return backend_houses_turn(&o->houses, lane);
}

void orchestra_destroy(orchestra *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n_players; i++)
        backend_destroy(o->players[i].backend);
    backend_houses_close(&o->houses);
    decision_log_close(o->log);
    routing_release(o->routing);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

error_code orchestra_open_log(orchestra *o, failure *fail)
{
    const config_decisions *c = &o->config->decisions;
    return c->file != NULL ? decision_log_open(&o->log, c, &o->routing->head, fail) : OK;
}
