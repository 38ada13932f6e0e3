/* stage.c: models loaded for a command, and one run driven to its end. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/kept.h"
#include "cli/common.h"
#include "cli/model_file.h"
#include "cli/progress.h"
#include "model/requantise.h"

/* ---- progress ----------------------------------------------------------------------------- */

/* A bar for each model in turn. */
typedef struct loading {
    progress bar;
    const char *name; /* of the model that is being loaded, or NULL */
    char what[96];
} loading;

static void show_loading(void *context, const char *name, double fraction)
{
    loading *l = context;
    if (name != l->name) {
        snprintf(l->what, sizeof l->what, "loading %s", name);
        progress_start(&l->bar, l->what);
        l->name = name;
    }
    progress_show(&l->bar, fraction);
}

/* ---- signals ------------------------------------------------------------------------------ */

/* One descriptor wakes the command, be it for news of the run or for a signal. */
static int wake_fd = -1;
static volatile sig_atomic_t interrupted;

static void wake_up(void *context)
{
    (void)context;
    uint64_t one = 1;
    ssize_t ignored = write(wake_fd, &one, sizeof one);
    (void)ignored; /* it fails only when 2^64 - 2 wakes are waiting */
}

static void on_signal(int number)
{
    int saved = errno;
    interrupted = number;
    wake_up(NULL);
    errno = saved;
}

static void catch_signals(int flags)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static error_code watch_signals(failure *fail)
{
    wake_fd = eventfd(0, EFD_CLOEXEC);
    if (wake_fd < 0)
        return failure_set(fail, ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    catch_signals((int)SA_RESETHAND);
    return OK;
}

void stage_go_on(void)
{
    interrupted = 0;
    catch_signals(0);
}

int stage_signal(void)
{
    return interrupted;
}

static void wait_for_wake(void)
{
    uint64_t count;
    while (read(wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* ---- loading ------------------------------------------------------------------------------ */

static error_code set_requant(config *c, const char *text, failure *fail)
{
    const tensor_type_info *head;
    if (requant_parse(text, &head, fail) != OK)
        return failure_prefix(fail, "--requant");
    for (uint32_t i = 0; i < c->n_models; i++) {
        free(c->models[i].requant);
        c->models[i].requant = strdup(text);
        if (c->models[i].requant == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory left");
    }
    return OK;
}

static error_code apply_to_models(config *c, const stage_options *o, failure *fail)
{
    for (uint32_t i = 0; i < c->n_models; i++) {
        config_model *m = &c->models[i];
        if (o->context > 0)
            m->context = (uint32_t)o->context;
        if (o->kv != NULL && !config_kv_parse(o->kv, &m->kv))
            return failure_set(fail, ERR_INVALID, "--kv: \"%s\" is none of f16, f32, q8_0, q4",
                               o->kv);
    }
    if (o->requant != NULL) {
        error_code code = set_requant(c, o->requant, fail);
        if (code != OK)
            return code;
    }
    if (o->chat_template == NULL)
        return OK;
    c->models[0].chat_template = strdup(o->chat_template);
    return c->models[0].chat_template != NULL ? OK
                                              : failure_set(fail, ERR_MEMORY, "no memory left");
}

/* The configuration was in order before: what is wrong is the option. */
static error_code set_policy(config *c, const char *name, failure *fail)
{
    error_code code = config_set_policy(c, name, fail);
    if (code != ERR_CONFIG)
        return code;
    failure_prefix(fail, "--policy %s", name);
    return fail->code = ERR_INVALID;
}

static error_code configure(config **out, const stage_options *o, failure *fail)
{
    if (o->model_path == NULL && o->chat_template != NULL)
        return failure_set(fail, ERR_INVALID,
                           "--chat-template needs -m; in a configuration it stands with its model");
    if (o->model_path != NULL && (o->config_path != NULL || o->policy != NULL))
        return failure_set(fail, ERR_INVALID, "-m runs one model without routing: %s has no effect",
                           o->config_path != NULL ? "--config" : "--policy");
    error_code code = o->model_path != NULL ? config_for_model(out, o->model_path, fail)
                                            : config_load(out, o->config_path, fail);
    if (code != OK)
        return code;
    config *c = *out;
    if (o->threads > 0)
        c->engine.threads = (uint32_t)o->threads;
    if (o->prefill_chunk > 0)
        c->engine.prefill_chunk = (uint32_t)o->prefill_chunk;
    code = apply_to_models(c, o, fail);
    return code == OK && o->policy != NULL ? set_policy(c, o->policy, fail) : code;
}

error_code stage_configure(stage *s, const stage_options *options, failure *fail)
{
    *s = (stage){.config = NULL};
    error_code code = configure(&s->config, options, fail);
    if (code != OK) {
        stage_close(s);
        return code;
    }
    s->kept = kept_open(NULL, options->measure);
    s->config->engine.kept = s->kept;
    return OK;
}

/* Models that the configuration names in the hub's way become files. */
static error_code find_models(config *c, failure *fail)
{
    error_code code = OK;
    for (uint32_t i = 0; code == OK && i < c->n_models; i++) {
        char *path;
        if (c->models[i].path == NULL)
            continue;
        code = model_file_find(c->models[i].given, c->models[i].path, &path, fail);
        if (code == OK) {
            free(c->models[i].path);
            c->models[i].path = path;
        }
    }
    return code;
}

error_code stage_check_asked(const stage *s, failure *fail)
{
    const config_model *asked = &s->config->models[s->config->probe.model];
    if (asked->path != NULL)
        return OK;
    return failure_set(fail, ERR_UNSUPPORTED,
                       "the model %s, which is asked what a request is, is at another server: "
                       "nobody here can look into it; probe.model names another one",
                       asked->name);
}

error_code stage_load(stage *s, failure *fail)
{
    loading l = {.bar.percent = -1};
    error_code code = find_models(s->config, fail);
    if (code != OK)
        return code;
    code = orchestra_create(&s->orchestra, s->config, (house_progress){show_loading, &l}, fail);
    progress_end(&l.bar);
    return code;
}

error_code stage_start(stage *s, failure *fail)
{
    error_code code = stage_load(s, fail);
    return code == OK ? watch_signals(fail) : code;
}

error_code stage_open(stage *s, const stage_options *options, failure *fail)
{
    error_code code = stage_configure(s, options, fail);
    if (code != OK)
        return code;
    code = stage_start(s, fail);
    if (code != OK)
        stage_close(s);
    return code;
}

void stage_close(stage *s)
{
    orchestra_destroy(s->orchestra);
    config_free(s->config);
    kept_close(s->kept);
    *s = (stage){.config = NULL};
}

/* ---- driving ------------------------------------------------------------------------------ */

/* The state the run ended in; cancels it when a signal came or the listener has enough. */
static run_state drive(run *r, run_listener listener, buffer *text, token_list *tokens)
{
    bool stopped = false;
    for (;;) {
        run_state state = run_poll(r, text, tokens);
        bool wanted = stopped || state == RUN_PROBING || state == RUN_FAILED ||
                      listener.call == NULL || listener.call(listener.context, r, text);
        if (state == RUN_FINISHED || state == RUN_FAILED)
            return state;
        if (!stopped && (!wanted || interrupted)) {
            run_cancel(r);
            stopped = true;
        }
        wait_for_wake();
    }
}

error_code stage_perform(stage *s, const request *q, const run_options *options,
                         run_listener listener, token_list *tokens, run **out, failure *fail)
{
    run *r = NULL;
    *out = NULL;
    error_code code =
        orchestra_submit(s->orchestra, q, options, (wakeup){.call = wake_up}, &r, fail);
    if (code != OK)
        return code;
    buffer text;
    buffer_init(&text, (size_t)1 << 30);
    run_state state = drive(r, listener, &text, tokens);
    buffer_free(&text);
    if (state == RUN_FINISHED) {
        *out = r;
        return OK;
    }
    *fail = *run_failure(r);
    run_release(r);
    return fail->code;
}
