/* routes.c: what there is, and the answers that take no work. */
#include "server/exchange.h"

#include <stdio.h>
#include <string.h>

#define METRICS_LIMIT ((size_t)16 << 20) /* bytes */

/* ---- simple answers ------------------------------------------------------------------------- */

static bool health_begin(exchange *e)
{
    server *s = e->server;
    return exchange_answer(e, 200,
                           json_pack("{s:s, s:I}", "status",
                                     atomic_load(&s->draining) ? "draining" : "ok", "running",
                                     (json_int_t)atomic_load(&s->running)));
}

static bool ready_begin(exchange *e)
{
    if (!atomic_load(&e->server->draining))
        return exchange_answer(e, 200, json_pack("{s:s}", "status", "ok"));
    api_error error;
    api_error_set_stopping(&error);
    return exchange_answer_error(e, &error);
}

static bool metrics_begin(exchange *e)
{
    server *s = e->server;
    const server_load load = {atomic_load(&s->connections), atomic_load(&s->running)};
    buffer text;
    buffer_init(&text, METRICS_LIMIT);
    if (metrics_write(s->metrics, &load, &text) == OK)
        return exchange_answer_text(e, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
    buffer_free(&text);
    api_error error;
    api_error_set(&error, 503, NULL, "", "no memory for the metrics");
    return exchange_answer_error(e, &error);
}

static bool models_begin(exchange *e)
{
    server *s = e->server;
    json_t *list = json_array();
    json_array_append_new(list, model_json("auto", 0, s->created));
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++)
        json_array_append_new(list, model_json(orchestra_model_name(s->orchestra, i),
                                               backend_context(orchestra_backend(s->orchestra, i)),
                                               s->created));
    return exchange_answer(e, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static bool model_begin(exchange *e)
{
    server *s = e->server;
    if (strcmp(e->argument, "auto") == 0)
        return exchange_answer(e, 200, model_json("auto", 0, s->created));
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++) {
        const char *name = orchestra_model_name(s->orchestra, i);
        if (strcmp(e->argument, name) == 0) {
            size_t context = backend_context(orchestra_backend(s->orchestra, i));
            return exchange_answer(e, 200, model_json(name, context, s->created));
        }
    }
    api_error error;
    api_error_set(&error, 404, "model_not_found", "model",
                  "there is no model '%s'; GET /v1/models lists them", e->argument);
    return exchange_answer_error(e, &error);
}

/* What is decided by, and what was decided so far. */
static bool policy_begin(exchange *e)
{
    orchestra *o = e->server->orchestra;
    json_t *policy = policy_json(o);
    if (json_is_object(policy))
        json_object_set_new(policy, "counts", counts_json(o));
    return exchange_answer(e, 200, policy);
}

/* ---- routes --------------------------------------------------------------------------------- */

static const route routes[] = {
    {"POST", "/v1/chat/completions", true, completion_begin, completion_resume},
    {"POST", "/v1/route", true, route_begin, completion_resume},
    {"POST", "/v1/feedback", true, feedback_begin, NULL},
    {"GET", "/v1/policy", true, policy_begin, NULL},
    {"GET", "/v1/models", true, models_begin, NULL},
    {"GET", "/v1/models/", true, model_begin, NULL},
    {"GET", "/health", false, health_begin, NULL},
    {"GET", "/ready", false, ready_begin, NULL},
    {"GET", "/metrics", false, metrics_begin, NULL},
};

/* "/v1/route, /v1/policy, ..." */
void route_list(char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i == 0 ? "" : ", ", routes[i].path);
}

const route *route_find(const char *path, const char **argument)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t n = strlen(routes[i].path);
        bool is_prefix = routes[i].path[n - 1] == '/';
        if (strncmp(path, routes[i].path, n) == 0 &&
            (is_prefix ? path[n] != '\0' : path[n] == '\0')) {
            *argument = path + n;
            return &routes[i];
        }
    }
    return NULL;
}
