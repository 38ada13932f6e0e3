/* local_house.c: models in this process: loading them, what their steps cost, their conductor. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend/house.h"
#include "backend/kept_steps.h"
#include "backend/local.h"
#include "base/log.h"
#include "model/requantise.h"

typedef struct resident {
    model *model;
    engine *engine; /* the conductor's; NULL: not yet added */
    kv_type kv;
} resident;

typedef struct own_house {
    backend_house base;
    const config_engine *engine;   /* the config's */
    const machine_record *machine; /* NULL: steps are measured */
    conductor *conductor;
    resident *models; /* that were loaded */
    size_t n_models;
} own_house;

static bool takes(const config_model *m)
{
    return m->path != NULL;
}

static size_t count_threads(const config_engine *e)
{
    return e->threads > 0 ? e->threads : (size_t)team_default_size();
}

static void close_house(backend_house *base)
{
    own_house *h = (own_house *)base;
    if (h->conductor != NULL)
        conductor_destroy(h->conductor);
    for (size_t i = 0; i < h->n_models; i++)
        model_destroy(h->models[i].model);
    free(h->models);
    free(h);
}

/* Figures of another machine are worth nothing, unless they are to hold everywhere. */
static const machine_record *usable(const house_setting *s)
{
    const config_engine *e = s->engine;
    if (s->machine == NULL || e->fixed_step_cost)
        return s->machine;
    return machine_is_this(s->machine, count_threads(e), e->machine) ? s->machine : NULL;
}

static error_code open_house(backend_house **out, const house_setting *setting, failure *fail)
{
    own_house *h = calloc(1, sizeof *h);
    if (h == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the models");
    h->base.kind = &local_house;
    h->engine = setting->engine;
    h->machine = usable(setting);
    if (h->machine != NULL && !h->engine->fixed_step_cost)
        h->base.read_peak = h->machine->read_peak_gb_s * 1e9;
    error_code code = conductor_create(&h->conductor, (int)count_threads(h->engine), fail);
    if (code != OK) {
        close_house(&h->base);
        return code;
    }
    conductor_limit_memory(h->conductor, (size_t)h->engine->memory_limit_mb * 1000000);
    *out = &h->base;
    return OK;
}

/* ---- loading --------------------------------------------------------------------------------- */

typedef struct loading {
    const house_progress *progress;
    const char *name;
} loading;

static void report_loading(void *context, double fraction)
{
    const loading *l = context;
    l->progress->call(l->progress->context, l->name, fraction);
}

/* The model is the house's, its last one. */
static error_code load_model(own_house *h, const config_model *m, const house_progress *progress,
                             failure *fail)
{
    loading l = {.progress = progress, .name = m->name};
    model_options options = {.chat_template = m->chat_template, .context = m->context};
    resident *models = reallocarray(h->models, h->n_models + 1, sizeof *models);
    if (models == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a model");
    h->models = models;
    if (progress->call != NULL) {
        options.progress = report_loading;
        options.progress_context = &l;
    }
    resident *last = &h->models[h->n_models];
    *last = (resident){.kv = house_kv_type(m)};
    error_code code = m->requant != NULL ? requant_parse(m->requant, &options.head, fail) : OK;
    if (code != OK) {
        failure_prefix(fail, "requant");
        return fail->code = ERR_CONFIG;
    }
    code = model_load(&last->model, m->path, &options, fail);
    if (code != OK)
        return code;
    h->n_models++;
    if (last->model->chat_failure.code != OK)
        log_warn("model %s: raw prompts only: %s", m->name, last->model->chat_failure.text);
    return OK;
}

static void warn_of_long_context(const config_model *c, const model *m)
{
    size_t trained = m->config.context_length;
    if (c->context > trained)
        log_warn("model %s: a context of %u tokens is beyond the %zu it was trained for", c->name,
                 c->context, trained);
}

/* What steps cost, as it was measured on this machine before. */
static error_code use_machine(const own_house *h, const char *name, const model *m,
                              engine_options *options, failure *fail)
{
    const machine_model *found = machine_find(h->machine, m, options->kv);
    options->fixed_step_cost = h->engine->fixed_step_cost;
    if (found == NULL && options->fixed_step_cost)
        return failure_set(fail, ERR_CONFIG, "%s has no figures for it (%016" PRIx64 ") with KV %s",
                           h->engine->machine, m->fingerprint, kv_type_name(options->kv));
    if (found == NULL) {
        log_warn("%s has no figures for the model %s with KV %s: measured now", h->engine->machine,
                 name, kv_type_name(options->kv));
        return OK;
    }
    memcpy(options->step_ms, found->step_ms, sizeof options->step_ms);
    options->prefill_row_ms = found->prefill_row_ms;
    return OK;
}

static error_code add_engine(own_house *h, const config_model *c, resident *r, failure *fail)
{
    engine_options options = engine_defaults();
    options.context = c->context;
    options.slots = c->slots;
    options.parked = c->parked;
    options.kv = r->kv;
    options.queue_limit = h->engine->queue_limit;
    options.prefill_chunk = h->engine->prefill_chunk;
    options.step_budget_ms = h->engine->step_budget_ms;
    options.prefix_cache = h->engine->prefix_cache;
    error_code code = h->machine != NULL ? use_machine(h, c->name, r->model, &options, fail) : OK;
    if (options.step_ms[1] == 0)
        kept_steps_read(h->engine->kept, r->model, (int)count_threads(h->engine), &options);
    return code == OK ? conductor_add(h->conductor, r->model, &options, &r->engine, fail) : code;
}

static error_code add(backend_house *base, const config_model *c, const house_progress *progress,
                      backend **out, failure *fail)
{
    own_house *h = (own_house *)base;
    error_code code = load_model(h, c, progress, fail);
    if (code != OK)
        return code;
    resident *r = &h->models[h->n_models - 1];
    code = add_engine(h, c, r, fail);
    if (code == OK)
        code = local_create(out, c->name, r->engine, fail);
    if (code == OK)
        warn_of_long_context(c, r->model);
    return code;
}

static error_code start(backend_house *base, failure *fail)
{
    own_house *h = (own_house *)base;
    error_code code = conductor_start(h->conductor, fail);
    for (size_t i = 0; code == OK && i < h->n_models; i++)
        kept_steps_write(h->engine->kept, h->models[i].model, (int)count_threads(h->engine),
                         h->models[i].kv, engine_measured(h->models[i].engine));
    return code;
}

kv_type house_kv_type(const config_model *m)
{
    static const kv_type kv_types[] = {[CONFIG_KV_F16] = KV_F16,
                                       [CONFIG_KV_F32] = KV_F32,
                                       [CONFIG_KV_Q8_0] = KV_Q8_0,
                                       [CONFIG_KV_Q4] = KV_Q4};
    return kv_types[m->kv];
}

const house_kind local_house = {
    .takes = takes, .open = open_house, .add = add, .start = start, .close = close_house};
