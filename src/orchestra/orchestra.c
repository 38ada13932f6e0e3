#include "orchestra/orchestra.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "orchestra/internal.h"
#include "orchestra/kept_steps.h"

/* ---- loading ------------------------------------------------------------------------------ */

typedef struct loading {
    const orchestra_progress *progress;
    const char *name;
} loading;

static void report_loading(void *context, double fraction)
{
    const loading *l = context;
    l->progress->call(l->progress->context, l->name, fraction);
}

static error_code load_model(player *p, const config_model *m, const orchestra_progress *progress,
                             failure *fail)
{
    loading l = {.progress = progress, .name = m->name};
    model_options options = {.chat_template = m->chat_template, .context = m->context};
    if (progress->call != NULL) {
        options.progress = report_loading;
        options.progress_context = &l;
    }
    p->name = m->name;
    error_code code = model_load(&p->model, m->path, &options, fail);
    if (code == OK && p->model->chat_failure.code != OK)
        log_warn("model %s: raw prompts only: %s", m->name, p->model->chat_failure.text);
    return code;
}

static void warn_of_long_context(const config_model *m, const player *p)
{
    size_t trained = p->model->config.context_length;
    if (m->context > trained)
        log_warn("model %s: a context of %u tokens is beyond the %zu it was trained for", m->name,
                 m->context, trained);
}

static const kv_type kv_types[] = {
    [CONFIG_KV_F16] = KV_F16, [CONFIG_KV_F32] = KV_F32, [CONFIG_KV_Q8_0] = KV_Q8_0};

/* What steps cost, as it was measured on this machine before. */
static error_code use_machine(const orchestra *o, const machine_record *r, const player *p,
                              engine_options *options, failure *fail)
{
    const machine_model *found = machine_find(r, p->model, options->kv);
    options->fixed_step_cost = o->config->engine.fixed_step_cost;
    if (found == NULL && options->fixed_step_cost)
        return failure_set(fail, ERR_CONFIG, "%s has no figures for it (%016" PRIx64 ") with KV %s",
                           o->config->engine.machine, p->model->fingerprint,
                           kv_type_name(options->kv));
    if (found == NULL) {
        log_warn("%s has no figures for the model %s with KV %s: measured now",
                 o->config->engine.machine, p->name, kv_type_name(options->kv));
        return OK;
    }
    memcpy(options->step_ms, found->step_ms, sizeof options->step_ms);
    options->prefill_row_ms = found->prefill_row_ms;
    return OK;
}

static int thread_count(const config *c)
{
    return c->engine.threads > 0 ? (int)c->engine.threads : team_default_size();
}

/* Figures of another machine are worth nothing (*usable is then false), unless they are to hold
 * everywhere. */
static error_code read_machine(const config *c, machine_record *out, bool *usable, failure *fail)
{
    char cpu[128];
    *usable = false;
    if (c->engine.machine == NULL)
        return OK;
    error_code code = calibration_file_read_machine(out, c->engine.machine, fail);
    *usable = code == OK && c->engine.fixed_step_cost;
    if (code != OK || *usable)
        return code;
    machine_cpu_name(cpu);
    size_t threads = (size_t)thread_count(c);
    *usable = strcmp(cpu, out->cpu) == 0 && strcmp(kernel_name(), out->kernel) == 0 &&
              threads == out->threads;
    if (*usable)
        return OK;
    log_warn("%s is of another machine (%s, kernel %s, %zu threads; this one: %s, kernel %s, %zu "
             "threads): steps are measured now",
             c->engine.machine, out->cpu, out->kernel, out->threads, cpu, kernel_name(), threads);
    return OK;
}

/* `machine`: NULL, steps are measured. */
static error_code add_player(orchestra *o, const config_model *m, const machine_record *machine,
                             failure *fail)
{
    player *p = &o->players[o->n_players];
    engine_options options = engine_defaults();
    options.context = m->context;
    options.slots = m->slots;
    options.parked = m->parked;
    options.kv = kv_types[m->kv];
    options.queue_limit = o->config->engine.queue_limit;
    options.prefill_chunk = o->config->engine.prefill_chunk;
    options.step_budget_ms = o->config->engine.step_budget_ms;
    options.prefix_cache = o->config->engine.prefix_cache;
    error_code code = machine != NULL ? use_machine(o, machine, p, &options, fail) : OK;
    if (options.step_ms[1] == 0)
        kept_steps_read(o->config->engine.kept, p->model, thread_count(o->config), &options);
    if (code == OK)
        code = conductor_add(o->conductor, p->model, &options, &p->engine, fail);
    if (code == OK)
        code = backend_create_local(&p->backend, m->name, p->engine, fail);
    if (code == OK)
        warn_of_long_context(m, p);
    return code;
}

static error_code load_players(orchestra *o, const orchestra_progress *progress, failure *fail)
{
    machine_record machine;
    bool usable;
    error_code known = read_machine(o->config, &machine, &usable, fail);
    if (known != OK)
        return known;
    for (; o->n_players < o->config->n_models; o->n_players++) {
        const config_model *m = &o->config->models[o->n_players];
        error_code code = load_model(&o->players[o->n_players], m, progress, fail);
        if (code == OK)
            code = add_player(o, m, usable ? &machine : NULL, fail);
        if (code != OK) {
            o->n_players++; /* what it holds already is freed with the rest */
            return failure_prefix(fail, "model %s", m->name);
        }
        if (m->role == ROLE_SMALL)
            o->small = o->n_players;
        else
            o->large = o->n_players;
    }
    return OK;
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
        engine_set_draft_model(o->players[o->large].engine, o->players[o->small].model, fail);
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

static void keep_steps(const orchestra *o)
{
    for (size_t i = 0; i < o->n_players; i++)
        kept_steps_write(o->config->engine.kept, o->players[i].model, thread_count(o->config),
                         orchestra_kv_type(o, i), engine_measured(o->players[i].engine));
}

error_code orchestra_create(orchestra **out, const config *c, orchestra_progress progress,
                            failure *fail)
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
        code = conductor_create(&o->conductor, thread_count(c), fail);
    if (code == OK) {
        conductor_limit_memory(o->conductor, (size_t)c->engine.memory_limit_mb * 1000000);
        code = load_players(o, &progress, fail);
    }
    if (code == OK && o->n_players == 1)
        o->small = o->large = 0;
    if (code == OK)
        code =
            routing_create(&o->routing, c, o->n_players > 1 ? &o->players[o->small] : NULL, fail);
    if (code == OK && o->n_players > 1)
        code = prepare_drafts(o, fail);
    if (code == OK)
        code = conductor_start(o->conductor, fail);
    if (code != OK) {
        orchestra_destroy(o);
        return code;
    }
    keep_steps(o);
    *out = o;
    return OK;
}

void orchestra_destroy(orchestra *o)
{
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->n_players; i++)
        if (o->players[i].backend != NULL)
            backend_destroy(o->players[i].backend);
    if (o->conductor != NULL)
        conductor_destroy(o->conductor);
    for (size_t i = 0; i < o->n_players; i++)
        if (o->players[i].model != NULL)
            model_destroy(o->players[i].model);
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
    return o->players[index].model;
}

kv_type orchestra_kv_type(const orchestra *o, size_t index)
{
    return kv_types[o->config->models[index].kv];
}

bool orchestra_has_template(const orchestra *o, size_t index)
{
    return o->players[index].model->chat != NULL;
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
