/* ollama.c: replies as Ollama's chat and generate write them, and what it tells of models. */
#include "server/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

#define TIME_SIZE 40
#define OLLAMA_VERSION "0.12.0" /* whose interface this is: clients look for what it can do */

static void write_time(char out[TIME_SIZE], time_t seconds)
{
    struct tm utc;
    strftime(out, TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&seconds, &utc));
}

static bool is_chat(const exchange *e)
{
    return e->api == &ollama_chat_api;
}

/* ---- replies --------------------------------------------------------------------------------- */

static const char *model_of(const exchange *e)
{
    if (!e->asks_nothing)
        return run_plan(e->choices[0].run)->model;
    return e->request->model != NULL ? e->request->model : "auto";
}

/* A line, with texts that are taken over; `thought` may be NULL. */
static json_t *line_json(const exchange *e, json_t *text, json_t *thought, bool is_done)
{
    char now[TIME_SIZE];
    write_time(now, time(NULL));
    json_t *line =
        json_pack("{s:s, s:s, s:b}", "model", model_of(e), "created_at", now, "done", (int)is_done);
    json_t *holder = line;
    if (is_chat(e)) {
        holder = json_pack("{s:s}", "role", "assistant");
        json_object_set_new(line, "message", holder);
    }
    json_object_set_new(holder, is_chat(e) ? "content" : "response", text);
    if (thought != NULL)
        json_object_set_new(holder, "thinking", thought);
    return line;
}

/* Ollama tells a call when it is whole, its arguments as an object. */
static void add_calls(const choice *c, json_t *line)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < c->n_calls; i++) {
        const reply_call *call = &c->calls[i];
        error_code code;
        json_error_t error;
        json_t *arguments = json_read(call->arguments.length > 0 ? call->arguments.data : "{}",
                                      call->arguments.length > 0 ? call->arguments.length : 2,
                                      JSON_ALLOW_NUL, &error, &code);
        json_array_append_new(calls,
                              json_pack("{s:s, s:{s:o, s:o}}", "id", call->id, "function", "name",
                                        json_text(call->name.data, call->name.length), "arguments",
                                        arguments != NULL ? arguments : json_object()));
    }
    if (c->n_calls > 0)
        json_object_set(json_object_get(line, "message"), "tool_calls", calls);
    json_decref(calls);
}

static json_int_t nanoseconds(double ms)
{
    return json_whole(ms * 1e6);
}

static json_t *finish_line(const exchange *e, json_t *line)
{
    const reply_stats s = replies_stats(e);
    double ms = s.queue_ms + s.prefill_ms + s.decode_ms;
    json_object_update_new(
        line,
        json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "done_reason",
                  finish_reason_text(e->choices[0].finish), "total_duration", nanoseconds(ms),
                  "load_duration", (json_int_t)0, "prompt_eval_count", (json_int_t)s.prompt_tokens,
                  "prompt_eval_duration", nanoseconds(s.prefill_ms), "eval_count",
                  (json_int_t)s.reply_tokens, "eval_duration", nanoseconds(s.decode_ms)));
    json_object_set_new(line, "a_io", account_json(e->choices[0].run, (uint64_t)e->manner.seed));
    return line;
}

static json_t *whole(const exchange *e)
{
    const choice *c = &e->choices[0];
    json_t *thought = c->thought.length > 0 ? json_text(c->thought.data, c->thought.length) : NULL;
    json_t *line = line_json(e, json_text(c->text.data, c->text.length), thought, true);
    add_calls(c, line);
    return finish_line(e, line);
}

/* Ollama's own program asks for this before its first question. */
static json_t *loaded(const exchange *e)
{
    json_t *line = line_json(e, json_string(""), NULL, true);
    json_object_set_new(line, "done_reason", json_string("load"));
    return line;
}

static bool begin(exchange *e)
{
    e->last_event_ms = e->start_ms;
    return true;
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    (void)c;
    json_t *text = json_text(piece->text, piece->length);
    if (piece->part == REPLY_TEXT)
        return stream_add_line(e, line_json(e, text, NULL, false));
    if (piece->part == REPLY_THOUGHT)
        return stream_add_line(e, line_json(e, json_string(""), text, false));
    json_decref(text);
    return true;
}

static bool end_choice(exchange *e, choice *c)
{
    if (c->n_calls == 0)
        return true;
    json_t *line = line_json(e, json_string(""), NULL, false);
    add_calls(c, line);
    return stream_add_line(e, line);
}

static bool end(exchange *e)
{
    return stream_add_line(e, finish_line(e, line_json(e, json_string(""), NULL, true)));
}

/* An empty piece: the form has no comments. */
static bool keep_alive(exchange *e)
{
    return stream_add_line(e, line_json(e, json_string(""), NULL, false));
}

json_t *ollama_error_json(const api_error *error)
{
    json_was_short(); /* of what failed before, this error tells */
    return json_pack("{s:o}", "error", json_text(error->message, strlen(error->message)));
}

static bool stream_error(exchange *e, const api_error *error)
{
    return stream_add_line(e, ollama_error_json(error));
}

#define OLLAMA_API(which)                                                                          \
    {                                                                                              \
        .id_prefix = "ollama-", .stream_type = "application/x-ndjson", .form = &(which),           \
        .keeps_text = true, .whole = whole, .loaded = loaded, .begin = begin, .piece = add_piece,  \
        .choice_end = end_choice, .end = end, .keep_alive = keep_alive,                            \
        .error = ollama_error_json, .stream_error = stream_error,                                  \
    }

const api ollama_chat_api = OLLAMA_API(ollama_chat_form);
const api ollama_generate_api = OLLAMA_API(ollama_generate_form);

/* ---- models ---------------------------------------------------------------------------------- */

static json_t *details_json(const model *m)
{
    const char *family = m != NULL ? m->config.architecture : "auto";
    return json_pack("{s:s, s:s, s:s, s:[s], s:s, s:s}", "parent_model", "", "format", "gguf",
                     "family", family, "families", family, "parameter_size", "",
                     "quantization_level", "");
}

/* Its clients show some of the 64 digits and take them for a file's own: these tell models apart.
 */
static void write_digest(char digits[65], const char *name, const model *m)
{
    uint64_t own = 0xcbf29ce484222325u; /* FNV-1a */
    for (const char *c = name; *c != '\0'; c++)
        own = (own ^ (unsigned char)*c) * 0x100000001b3u;
    uint64_t of_file = m != NULL ? m->fingerprint : own;
    snprintf(digits, 65, "%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "%016" PRIx64, of_file, own,
             of_file, own);
}

static json_t *model_json_of(const exchange *e, const char *name, const model *m)
{
    char since[TIME_SIZE], digits[65];
    write_digest(digits, name, m);
    write_time(since, (time_t)e->server->created);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o}", "name", name, "model", name, "modified_at",
                     since, "size", (json_int_t)(m != NULL ? model_resident_bytes(m) : 0), "digest",
                     digits, "details", details_json(m));
}

bool ollama_tags(exchange *e)
{
    const orchestra *o = e->server->orchestra;
    json_t *list = json_array();
    json_array_append_new(list, model_json_of(e, "auto", NULL));
    for (size_t i = 0; i < orchestra_model_count(o); i++)
        json_array_append_new(list,
                              model_json_of(e, orchestra_model_name(o, i), orchestra_model(o, i)));
    return exchange_answer(e, 200, json_pack("{s:o}", "models", list));
}

#define NEVER "9999-12-31T23:59:59Z" /* when models here give up their memory */

/* Those whose weights are in this process. */
bool ollama_ps(exchange *e)
{
    const orchestra *o = e->server->orchestra;
    json_t *list = json_array();
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        const model *m = orchestra_model(o, i);
        if (m == NULL)
            continue;
        json_t *one = model_json_of(e, orchestra_model_name(o, i), m);
        size_t context = backend_context(orchestra_backend(e->server->orchestra, i));
        json_object_update_new(one,
                               json_pack("{s:s, s:I, s:I}", "expires_at", NEVER, "size_vram",
                                         (json_int_t)0, "context_length", (json_int_t)context));
        json_array_append_new(list, one);
    }
    return exchange_answer(e, 200, json_pack("{s:o}", "models", list));
}

bool ollama_version(exchange *e)
{
    return exchange_answer(e, 200, json_pack("{s:s}", "version", OLLAMA_VERSION));
}

/* The context's key begins with the architecture. */
static json_t *model_info_json(const model *m, size_t context)
{
    const char *family = m != NULL ? m->config.architecture : "auto";
    char key[64];
    snprintf(key, sizeof key, "%s.context_length", family);
    return json_pack("{s:s, s:I}", "general.architecture", family, key, (json_int_t)context);
}

/* Its clients ask what a model can do. */
json_t *ollama_show(exchange *e, json_t *body, api_error *error)
{
    const orchestra *o = e->server->orchestra;
    const char *asked = json_string_value(json_object_get(body, "model"));
    if (asked == NULL || asked[0] == '\0') /* its own command sends "" beside the older name */
        asked = json_string_value(json_object_get(body, "name"));
    const char *name = exchange_model(e, asked);
    const model *m = NULL;
    size_t context = 0;
    bool is_known = name != NULL && strcmp(name, "auto") == 0;
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        size_t holds = backend_context(orchestra_backend(e->server->orchestra, i));
        bool is_it = name != NULL && strcmp(orchestra_model_name(o, i), name) == 0;
        m = is_it ? orchestra_model(o, i) : m;
        is_known = is_known || is_it;
        context = is_it || (m == NULL && holds > context) ? holds : context;
    }
    if (!is_known) {
        api_error_set(error, 404, "model_not_found", "model", "model '%.100s' not found",
                      name != NULL ? name : "");
        return NULL;
    }
    char since[TIME_SIZE];
    write_time(since, (time_t)e->server->created);
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:[s, s]}", "modelfile", "", "parameters", "",
                     "template", "", "modified_at", since, "details", details_json(m), "model_info",
                     model_info_json(m, context), "capabilities", "completion", "tools");
}
