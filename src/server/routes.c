/* routes.c: what there is, and the answers that take no work. */
#include "server/exchange.h"

#include <stdio.h>
#include <string.h>

#include "server/page.h"

#define METRICS_LIMIT ((size_t)16 << 20) /* bytes */
#define PAGE_LIMIT ((size_t)1 << 20)

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
    if (metrics_write(s->metrics, &load, &text) == OK) {
        char line[64];
        snprintf(line, sizeof line, "Process-Start-Time-Unix: %lld\r\n", (long long)s->created);
        return exchange_answer_with(e, 200, "text/plain; version=0.0.4; charset=utf-8", line,
                                    &text);
    }
    buffer_free(&text);
    api_error error;
    api_error_set(&error, 503, NULL, "", "no memory for the metrics");
    return exchange_answer_error(e, &error);
}

/* What is decided by, and what was decided so far. */
static bool policy_begin(exchange *e)
{
    orchestra *o = e->server->orchestra;
    routing *g = orchestra_hold_routing(o);
    json_t *policy = policy_json(g);
    if (json_is_object(policy))
        json_object_set_new(policy, "counts", counts_json(o, g));
    routing_release(g);
    return exchange_answer(e, 200, policy);
}

/* What the last requests were decided to, and what became of them. */
static bool decisions_begin(exchange *e)
{
    return exchange_answer(
        e, 200, json_pack("{s:s, s:o}", "object", "list", "data", latest_json(e->server->latest)));
}

static bool page_begin(exchange *e)
{
    api_error error;
    const page_file *file = page_find(e->argument);
    if (file == NULL) {
        api_error_set(&error, 404, NULL, "", "the page has no file '%s'", e->argument);
        return exchange_answer_error(e, &error);
    }
    buffer text;
    buffer_init(&text, PAGE_LIMIT);
    if (buffer_add(&text, file->begin, (size_t)(file->end - file->begin)) != OK) {
        buffer_free(&text);
        api_error_set(&error, 503, NULL, "", "no memory for the page");
        return exchange_answer_error(e, &error);
    }
    return exchange_answer_with(e, 200, file->type, page_headers, &text);
}

/* ---- routes --------------------------------------------------------------------------------- */

#define ANSWERED_BY(function) .begin = (function)
#define COMPUTED_BY(function, which)                                                               \
    .begin = compute_begin, .resume = compute_resume, .compute = (function), .api = &(which)

#define REPLIED_BY(which) .begin = completion_begin, .resume = completion_resume, .api = &(which)

#define EMBEDDED_BY(which) .begin = embeddings_begin, .resume = embeddings_resume, .api = &(which)

static const route routes[] = {
    {"POST", "/v1/chat/completions", REPLIED_BY(openai_chat_api)},
    {"POST", "/v1/completions", REPLIED_BY(openai_text_api)},
    {"POST", "/completion", REPLIED_BY(native_api)},
    {"POST", "/infill", REPLIED_BY(infill_api)},
    {"POST", "/v1/responses", REPLIED_BY(responses_api)},
    {"POST", "/v1/score", REPLIED_BY(score_api)},
    {"POST", "/v1/responses/input_tokens", COMPUTED_BY(prompt_count, responses_api)},
    {"GET", "/v1/responses/", .is_one_part = true, ANSWERED_BY(response_get)},
    {"DELETE", "/v1/responses/", .is_one_part = true, ANSWERED_BY(response_delete)},
    {"POST", "/v1/embeddings", EMBEDDED_BY(embeddings_api)},
    {"POST", "/v1/messages", REPLIED_BY(anthropic_api)},
    {"POST", "/v1/messages/count_tokens", COMPUTED_BY(prompt_count_anthropic, anthropic_api)},
    {"POST", "/api/chat", REPLIED_BY(ollama_chat_api)},
    {"POST", "/api/generate", REPLIED_BY(ollama_generate_api)},
    {"POST", "/api/embed", EMBEDDED_BY(ollama_embed_api)},
    {"POST", "/api/embeddings", EMBEDDED_BY(ollama_embeddings_api)},
    {"GET", "/api/tags", ANSWERED_BY(ollama_tags)},
    {"GET", "/api/ps", ANSWERED_BY(ollama_ps)},
    {"POST", "/api/show", COMPUTED_BY(ollama_show, ollama_chat_api)},
    {"GET", "/api/version", ANSWERED_BY(ollama_version)},
    {"POST", "/v1/chat/completions/input_tokens", COMPUTED_BY(prompt_count, openai_chat_api)},
    {"POST", "/apply-template", COMPUTED_BY(prompt_render, openai_chat_api)},
    {"POST", "/tokenize", COMPUTED_BY(prompt_tokenize, openai_chat_api)},
    {"POST", "/detokenize", COMPUTED_BY(prompt_detokenize, openai_chat_api)},
    {"POST", "/v1/route", .begin = route_begin, .resume = completion_resume},
    {"POST", "/v1/feedback", ANSWERED_BY(feedback_begin)},
    {"GET", "/v1/policy", ANSWERED_BY(policy_begin)},
    {"GET", "/v1/decisions", ANSWERED_BY(decisions_begin)},
    {"GET", "/v1/models", ANSWERED_BY(models_list)},
    {"GET", "/v1/models/", ANSWERED_BY(models_one)},
    {"GET", "/tokenizer_info", ANSWERED_BY(models_tokenizer_info)},
    {"GET", "/props", ANSWERED_BY(models_props)},
    {"GET", "/slots", ANSWERED_BY(models_slots)},
    {"GET", "/health", .is_open = true, ANSWERED_BY(health_begin)},
    {"GET", "/ready", .is_open = true, ANSWERED_BY(ready_begin)},
    {"GET", "/metrics", .is_open = true, ANSWERED_BY(metrics_begin)},
    {"GET", "/page/", .is_open = true, ANSWERED_BY(page_begin)},
    {"GET", "/", .is_open = true, ANSWERED_BY(page_begin)},
};
#define N_ROUTES (sizeof routes / sizeof *routes)

static const char *without_version(const char *path)
{
    return strncmp(path, "/v1/", 4) == 0 ? path + 3 : path;
}

/* Where the route's argument begins in the path, or NULL: it is another path. */
static const char *match(const route *r, const char *path)
{
    const char *own = without_version(r->path);
    size_t n = strlen(own);
    path = without_version(path);
    if (strncmp(path, own, n) != 0)
        return NULL;
    const char *rest = path + n;
    if (own[n - 1] == '/' && n > 1)
        return *rest != '\0' && !(r->is_one_part && strchr(rest, '/') != NULL) ? rest : NULL;
    return rest[0] == '\0' || strcmp(rest, "/") == 0 ? rest : NULL;
}

bool route_takes(const route *r, const char *method)
{
    return strcmp(r->method, method) == 0 ||
           (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

void route_methods(const route *at, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < N_ROUTES && n < size; i++)
        if (strcmp(routes[i].path, at->path) == 0)
            n += (size_t)snprintf(out + n, size - n, "%s%s", n == 0 ? "" : ", ", routes[i].method);
}

const route *route_find(const char *method, const char *path, const char **argument)
{
    const route *found = NULL;
    for (size_t i = 0; i < N_ROUTES; i++) {
        const char *rest = match(&routes[i], path);
        if (rest == NULL || (found != NULL && !route_takes(&routes[i], method)))
            continue;
        found = &routes[i];
        *argument = rest;
        if (route_takes(found, method))
            break;
    }
    return found;
}
