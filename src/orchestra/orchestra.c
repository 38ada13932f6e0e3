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
    if (code != OK)
        return failure_prefix(fail, "model %s", m->name);
    if (m->role == ROLE_SMALL)
        o->small = o->n_players - 1;
    else
        o->large = o->n_players - 1;
    return OK;
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

/* The first rule that lets the small model draft for the large one, or NULL. */
static const config_rule *drafting_rule(const config_policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++)
        if (p->rules[i].lookup.mode == CONFIG_LOOKUP_DRAFT)
            return &p->rules[i];
    return NULL;
}

static error_code fail_draft(const config_policy *p, const config_rule *rule, failure *fail)
{
    return failure_prefix(fail, "policy.rules[%zu] (%s).lookup: draft", (size_t)(rule - p->rules),
                          rule->name);
}

static error_code prepare_drafts(orchestra *o, failure *fail)
{
    const config_policy *p = &o->config->policy;
    const config_rule *rule = drafting_rule(p);
    if (rule == NULL)
        return OK;
    error_code code =
        backend_set_drafter(o->players[o->large].backend, o->players[o->small].backend, fail);
    o->drafts = code == OK;
    return code == OK ? OK : fail_draft(p, rule, fail);
}

const routing *orchestra_routing(const orchestra *o)
{
    return o->routing;
}

routing *orchestra_hold_routing(orchestra *o)
{
    pthread_mutex_lock(&o->lock);
    routing *g = routing_hold(o->routing);
    pthread_mutex_unlock(&o->lock);
    return g;
}

error_code orchestra_reload(orchestra *o, config *c, failure *fail)
{
    const config_rule *rule = drafting_rule(&c->policy);
    if (o->n_players == 1)
        return failure_set(fail, ERR_INVALID, "one model is served: there is no policy to reload");
    if (rule != NULL && !o->drafts) {
        failure_set(fail, ERR_UNSUPPORTED,
                    "no rule drafted at the start, so that the large "
                    "model's engine has no room for it: start again");
        return fail_draft(&c->policy, rule, fail);
    }
    routing *fresh;
    error_code code = routing_create(&fresh, c, &o->players[o->small], fail);
    if (code != OK)
        return code;
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
    if (c->n_models < 1 || c->n_models > ORCHESTRA_MAX_MODELS)
        return failure_set(fail, ERR_CONFIG, "models: %u are configured; one or two are needed",
                           c->n_models);
    orchestra *o = calloc(1, sizeof *o);
    if (o == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the orchestra");
    o->config = c;
    pthread_mutex_init(&o->lock, NULL);
    error_code code = digest_prepare(fail);
    if (code == OK)
        code = load_players(o, kinds, &progress, fail);
    if (code == OK && o->n_players == 1)
        o->small = o->large = 0;
    if (code == OK)
        code =
            routing_create(&o->routing, c, o->n_players > 1 ? &o->players[o->small] : NULL, fail);
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

/* ---- what a server asks -----------------------------------------------------------------------
 */

double orchestra_read_peak(const orchestra *o)
{
    return backend_houses_read_peak(&o->houses);
}

size_t orchestra_model_count(const orchestra *o)
{
    return o->n_players;
}

const char *orchestra_model_name(const orchestra *o, size_t index)
{
    return o->players[index].name;
}

const char *orchestra_model_path(const orchestra *o, size_t index)
{
    return o->config->models[index].path;
}

backend *orchestra_backend(orchestra *o, size_t index)
{
    return o->players[index].backend;
}

const model *orchestra_model(const orchestra *o, size_t index)
{
    return backend_local_model(o->players[index].backend);
}

kv_type orchestra_kv_type(const orchestra *o, size_t index)
{
    return house_kv_type(&o->config->models[index]);
}

bool orchestra_has_template(const orchestra *o, size_t index)
{
    return backend_has_template(o->players[index].backend);
}

void orchestra_read_counts(const orchestra *o, orchestra_counts *out)
{
    *out = (orchestra_counts){.probes = atomic_load(&o->counts.probes),
                              .cached_probes = atomic_load(&o->counts.cached_probes),
                              .kept = atomic_load(&o->counts.kept)};
    for (size_t i = 0; i < 2; i++)
        out->decisions[i] = atomic_load(&o->counts.decisions[i]);
    for (size_t i = 0; i < N_FALLBACKS; i++)
        out->fallbacks[i] = atomic_load(&o->counts.fallbacks[i]);
}
