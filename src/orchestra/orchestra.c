#include "orchestra/orchestra.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/log.h"
#include "orchestra/internal.h"

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
    size_t threads = c->engine.threads > 0 ? c->engine.threads : (size_t)team_default_size();
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

#define MAX_CONVERSATIONS 8192 /* whose plans are kept; the least recently used are forgotten */

static void warn_of_rules(const orchestra *o)
{
    for (size_t i = 0; i < policy_rule_count(o->policy); i++)
        if (i < o->config->policy.n_rules && !policy_reachable(o->policy, i))
            log_warn("policy.rules[%zu] (%s) takes no request: those before it take all that it "
                     "would, or its conditions cannot hold together",
                     i, policy_rule(o->policy, i)->name);
}

static error_code read_probe(orchestra *o, const model *small, failure *fail)
{
    const config *c = o->config;
    const probe_record *r = &o->calibration;
    const head_record *h = &o->kind;
    error_code code = OK;
    if (c->probe.kind == CONFIG_PROBE_LEARNED) {
        code = calibration_file_read_head(&o->kind, "kind", c->probe.calibration, c, small, fail);
        o->certain = (found_limit){h->goal, h->target, h->effect.limit};
    } else if (c->probe.calibration != NULL) {
        code = calibration_file_read_probe(&o->calibration, c->probe.calibration, c, small, fail);
        o->certain = (found_limit){r->goal, r->target, r->effect.limit};
    }
    return code;
}

static error_code read_calibration(orchestra *o, failure *fail)
{
    const config *c = o->config;
    const model *small = o->players[o->small].model;
    error_code code = read_probe(o, small, fail);
    o->entropy_limit = c->policy.entropy_limit;
    if (code == OK && o->certain.goal != LIMIT_NONE && !c->policy.is_limit_given)
        o->entropy_limit = o->certain.limit;
    if (code != OK || c->success.calibration == NULL)
        return code;
    const head_record *s = &o->success;
    code =
        calibration_file_read_head(&o->success, "success", c->success.calibration, c, small, fail);
    o->likely = (found_limit){s->goal, s->target, s->effect.limit};
    return code;
}

/* The limit that counts in place of the configuration's. */
static error_code create_policy(orchestra *o, failure *fail)
{
    config changed = *o->config; /* its lists stay the config's */
    changed.policy.entropy_limit = o->entropy_limit;
    if (o->certain.goal != LIMIT_NONE)
        changed.policy.certain_limit = o->certain.limit;
    if (o->likely.goal != LIMIT_NONE)
        changed.policy.likely_limit = o->likely.limit;
    error_code code =
        policy_create(&o->policy, &changed, backend_context(o->players[o->small].backend), fail);
    if (code != OK)
        return code;
    bool is_learned = o->config->probe.kind == CONFIG_PROBE_LEARNED;
    bool reads_intent = policy_reads_intent(o->policy);
    o->reads_labels = reads_intent && !is_learned;
    o->reads_states = (reads_intent && is_learned) || policy_reads_success(o->policy);
    return OK;
}

/* After the policy. */
static error_code create_online(orchestra *o, failure *fail)
{
    const config_probe *p = &o->config->probe;
    if (!p->is_online)
        return OK;
    if (o->certain.goal != LIMIT_MISROUTE)
        return failure_set(fail, ERR_CONFIG,
                           "probe.online: %s has no target for misroutes to hold; calibrate with "
                           "--max-misroute",
                           p->calibration);
    if (!policy_follows_limit(o->policy)) {
        log_warn("probe.online: the policy %s does not look at the calibration's limit: nothing "
                 "moves",
                 o->config->policy.name);
        return OK;
    }
    const online_limit_options options = {.start = o->certain.limit,
                                          .highest = log((double)o->n_labels),
                                          .target = o->certain.target,
                                          .step = p->online_step};
    return online_limit_create(&o->online, &options, fail);
}

/* What is told is whether an answer was right, so a target about wrong answers can be held. */
static error_code create_online_doubt(orchestra *o, failure *fail)
{
    const config_success *s = &o->config->success;
    if (!s->is_online)
        return OK;
    if (o->likely.goal != LIMIT_WRONG)
        return failure_set(fail, ERR_CONFIG,
                           "success.online: %s has no target for wrong answers to hold; calibrate "
                           "with --max-wrong",
                           s->calibration);
    if (!policy_follows_success(o->policy)) {
        log_warn("success.online: no rule says likely: nothing moves");
        return OK;
    }
    const online_limit_options options = {.start = 1 - o->likely.limit,
                                          .highest = 1,
                                          .target = o->likely.target,
                                          .step = s->online_step};
    return online_limit_create(&o->online_doubt, &options, fail);
}

static error_code prepare_routing(orchestra *o, failure *fail)
{
    const config *c = o->config;
    backend *small = o->players[o->small].backend;
    o->template = (probe_template){.text = c->probe.template,
                                   .window_head = c->probe.window_head,
                                   .window_tail = c->probe.window_tail,
                                   .is_alone = !c->probe.reuse};
    o->n_labels = c->probe.n_labels;
    for (size_t i = 0; i < o->n_labels; i++) {
        o->label_names[i] = c->probe.labels[i].name;
        o->label_tokens[i] = c->probe.labels[i].token;
    }
    error_code code = read_calibration(o, fail);
    if (code == OK)
        code = create_policy(o, fail);
    if (code == OK)
        code = create_online(o, fail);
    if (code == OK)
        code = create_online_doubt(o, fail);
    if (code == OK && c->policy.sticky)
        code = recent_create(&o->conversations, MAX_CONVERSATIONS, sizeof(policy_kept), fail);
    if (code == OK && c->probe.cache > 0)
        code = recent_create(&o->probes, c->probe.cache, sizeof(sensed), fail);
    if (code == OK)
        warn_of_rules(o);
    if (code != OK || !o->reads_labels)
        return code;
    code = backend_check_labels(small, &o->template, o->label_tokens, o->n_labels, fail);
    return code == OK ? OK : failure_prefix(fail, "probe");
}

/* Where a rule lets the small model draft for the large one. */
static error_code prepare_drafts(orchestra *o, failure *fail)
{
    const config_policy *p = &o->config->policy;
    for (size_t i = 0; i < p->n_rules; i++) {
        if (p->rules[i].lookup.mode != CONFIG_LOOKUP_DRAFT)
            continue;
        error_code code =
            engine_set_draft_model(o->players[o->large].engine, o->players[o->small].model, fail);
        return code == OK ? OK
                          : failure_prefix(fail, "policy.rules[%zu] (%s).lookup: draft", i,
                                           p->rules[i].name);
    }
    return OK;
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
    int n_threads = c->engine.threads > 0 ? (int)c->engine.threads : team_default_size();
    error_code code = digest_prepare(fail);
    if (code == OK)
        code = conductor_create(&o->conductor, n_threads, fail);
    if (code == OK) {
        conductor_limit_memory(o->conductor, (size_t)c->engine.memory_limit_mb * 1000000);
        code = load_players(o, &progress, fail);
    }
    if (code == OK && o->n_players == 1)
        o->small = o->large = 0;
    if (code == OK && o->n_players > 1)
        code = prepare_routing(o, fail);
    if (code == OK && o->n_players > 1)
        code = prepare_drafts(o, fail);
    if (code == OK)
        code = conductor_start(o->conductor, fail);
    if (code != OK)
        orchestra_destroy(o);
    else
        *out = o;
    return code;
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
    recent_destroy(o->conversations);
    recent_destroy(o->probes);
    policy_destroy(o->policy);
    online_limit_destroy(o->online);
    online_limit_destroy(o->online_doubt);
    head_record_free(&o->kind);
    head_record_free(&o->success);
    free(o);
}

error_code orchestra_open_log(orchestra *o, failure *fail)
{
    const config_decisions *c = &o->config->decisions;
    return c->file != NULL ? decision_log_open(&o->log, c, record_head(o), fail) : OK;
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

backend *orchestra_backend(orchestra *o, size_t index)
{
    return o->players[index].backend;
}

const model *orchestra_model(const orchestra *o, size_t index)
{
    return o->players[index].model;
}

const probe_record *orchestra_calibration(const orchestra *o)
{
    return o->calibration.calibration.n_labels > 0 ? &o->calibration : NULL;
}

const head_record *orchestra_kind_head(const orchestra *o)
{
    return o->kind.head.width > 0 ? &o->kind : NULL;
}

const head_record *orchestra_success_head(const orchestra *o)
{
    return o->success.head.width > 0 ? &o->success : NULL;
}

const policy *orchestra_policy(const orchestra *o)
{
    return o->policy;
}

double orchestra_entropy_limit(const orchestra *o)
{
    return o->entropy_limit;
}

online_limit *orchestra_online_limit(const orchestra *o)
{
    return o->online;
}

online_limit *orchestra_online_doubt(const orchestra *o)
{
    return o->online_doubt;
}

bool orchestra_has_template(const orchestra *o, size_t index)
{
    return o->players[index].model->chat != NULL;
}

size_t orchestra_label_count(const orchestra *o)
{
    return o->n_labels;
}

const char *orchestra_label_name(const orchestra *o, size_t index)
{
    return o->label_names[index];
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
    for (size_t i = 0; i < o->n_labels; i++)
        out->intents[i] = atomic_load(&o->counts.intents[i]);
}
