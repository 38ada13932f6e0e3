/* remote_request.c: a request as OpenAI's API has it, with the fields that vLLM, llama-server and
 * a-io read besides where the request asks for what they mean. */
#include "backend/remote.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/json_out.h"

#define BODY_LIMIT ((size_t)1 << 30)
#define USUAL_REST ((size_t)1 << 10) /* bytes of a body without its prompt */

/* A body that is being written. */
typedef struct body {
    json_out out;
    const json_t
        *own; /* the model's fields, which come in place of others of their names; or NULL */
} body;

static bool takes(const body *b, const char *name)
{
    return json_object_get(b->own, name) == NULL;
}

static void put_count(body *b, const char *name, int64_t count)
{
    if (takes(b, name))
        json_out_count(&b->out, name, count);
}

static void put_real(body *b, const char *name, float number)
{
    if (takes(b, name))
        json_out_real(&b->out, name, (double)number);
}

static void put_flag(body *b, const char *name, bool flag)
{
    if (takes(b, name))
        json_out_flag(&b->out, name, flag);
}

static void put_text(body *b, const char *name, const char *text, size_t length)
{
    if (takes(b, name))
        json_out_text(&b->out, name, text, length);
}

/* As it stands. */
static void put_json(body *b, const char *name, const char *json)
{
    if (takes(b, name))
        json_out_raw(&b->out, name, json, strlen(json));
}

/* Taken over. */
static void put_value(body *b, const char *name, json_t *value)
{
    if (takes(b, name))
        json_out_value(&b->out, name, value);
    else
        json_decref(value);
}

static json_t *parse(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static bool is_chat(const request *r)
{
    return r->prompt == NULL && r->prompt_ids == NULL;
}

/* ---- the prompt, which may be long and is written once --------------------------------------- */

static size_t prompt_bytes(const request *r)
{
    size_t n = r->prompt_length;
    for (size_t i = 0; r->prompt == NULL && i < r->n_messages; i++)
        n += r->messages[i].content_length;
    return n;
}

static void put_message(json_out *o, const char *role, const char *content, size_t length)
{
    json_out_open(o, NULL, '{');
    json_out_text(o, "role", role, strlen(role));
    json_out_text(o, "content", content, length);
    json_out_close(o, '}');
}

/* Templates here read a call's arguments as the object that they are, OpenAI's API as its text.
 * False: no memory. */
static bool write_arguments(json_t *message)
{
    size_t i;
    json_t *call;
    json_array_foreach(json_object_get(message, "tool_calls"), i, call)
    {
        json_t *function = json_object_get(call, "function");
        const json_t *arguments = json_object_get(function, "arguments");
        if (arguments == NULL || json_is_string(arguments))
            continue;
        char *text = json_print(arguments, JSON_ENCODE_ANY);
        if (text == NULL)
            return false;
        json_object_set_new(function, "arguments", json_text(text, strlen(text)));
        free(text);
    }
    return true;
}

/* The list anew where calls were made in it, to be freed; else NULL: most have none, and are taken
 * as they are. A quote within a text has a backslash before it. */
static error_code write_calls(const char *list, char **out)
{
    size_t i;
    json_t *message;
    *out = NULL;
    if (list == NULL || strstr(list, "\"tool_calls\"") == NULL)
        return OK;
    bool whole = true;
    json_t *messages = parse(list);
    json_array_foreach(messages, i, message)
    {
        whole = whole && write_arguments(message);
    }
    *out = whole ? json_print(messages, JSON_COMPACT) : NULL;
    json_decref(messages);
    return *out != NULL ? OK : ERR_MEMORY;
}

/* The list as it was read, where that is the text of one, and a reply that has begun. */
static void put_messages(json_out *o, const char *name, const request *r)
{
    char *anew;
    error_code code = write_calls(r->chat.messages_json, &anew);
    if (o->code == OK)
        o->code = code;
    const char *list = anew != NULL ? anew : r->chat.messages_json;
    size_t inner = list != NULL ? strlen(list) - 2 : 0; /* without its brackets */
    json_out_open(o, name, '[');
    if (inner > 0)
        json_out_raw(o, NULL, list + 1, inner);
    for (size_t i = 0; list == NULL && i < r->n_messages; i++)
        put_message(o, r->messages[i].role, r->messages[i].content, r->messages[i].content_length);
    if (r->chat.begun != NULL)
        put_message(o, "assistant", r->chat.begun, r->chat.begun_length);
    json_out_close(o, ']');
    free(anew);
}

static void put_ids(json_out *o, const char *name, const request *r)
{
    json_out_open(o, name, '[');
    for (size_t i = 0; i < r->n_prompt_ids; i++)
        json_out_count(o, NULL, r->prompt_ids[i]);
    json_out_close(o, ']');
}

static void put_prompt(body *b, const char *name, const request *r)
{
    if (!takes(b, name))
        return;
    if (is_chat(r))
        put_messages(&b->out, name, r);
    else if (r->prompt != NULL)
        json_out_text(&b->out, name, r->prompt, r->prompt_length);
    else
        put_ids(&b->out, name, r);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void add_tools(body *b, const request_chat *c)
{
    if (c->tools_json == NULL)
        return;
    put_value(b, "tools", parse(c->tools_json));
    if (c->must_call && c->called != NULL)
        put_value(b, "tool_choice",
                  json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", c->called));
    else if (c->must_call)
        put_value(b, "tool_choice", json_string("required"));
    if (c->calls_once)
        put_flag(b, "parallel_tool_calls", false);
}

static void add_conversation(body *b, const request *r)
{
    add_tools(b, &r->chat);
    if (r->chat.begun != NULL) { /* vLLM's two */
        put_flag(b, "continue_final_message", true);
        put_flag(b, "add_generation_prompt", false);
    }
    if (r->chat.documents_json != NULL)
        put_value(b, "documents", parse(r->chat.documents_json));
    if (r->chat.variables_json != NULL)
        put_value(b, "chat_template_kwargs", parse(r->chat.variables_json));
}

static json_t *biases_json(const sampling_params *s)
{
    json_t *biases = json_object();
    for (size_t i = 0; i < s->n_biases; i++) {
        char token[16];
        snprintf(token, sizeof token, "%d", s->biases[i].token);
        json_object_set_new(biases, token, json_real((double)s->biases[i].bias));
    }
    return biases;
}

/* What changes nothing is left out: not every server knows each of these fields. */
static void add_sampling(body *b, const sampling_params *s)
{
    put_real(b, "temperature", s->temperature);
    put_count(b, "seed", (int64_t)((s->seed + s->choice) & INT64_MAX));
    if (s->top_p < 1)
        put_real(b, "top_p", s->top_p);
    if (s->top_k > 0)
        put_count(b, "top_k", s->top_k);
    if (s->min_p > 0)
        put_real(b, "min_p", s->min_p);
    if (s->repetition_penalty < 1 || s->repetition_penalty > 1) {
        put_real(b, "repetition_penalty", s->repetition_penalty);
        put_real(b, "repeat_penalty", s->repetition_penalty); /* llama-server's name of it */
    }
    if (s->presence_penalty < 0 || s->presence_penalty > 0)
        put_real(b, "presence_penalty", s->presence_penalty);
    if (s->frequency_penalty < 0 || s->frequency_penalty > 0)
        put_real(b, "frequency_penalty", s->frequency_penalty);
    if (s->n_biases > 0)
        put_value(b, "logit_bias", biases_json(s));
}

static void add_limits(body *b, const request *r)
{
    if (r->max_tokens > 0)
        put_count(b, "max_tokens", (int64_t)r->max_tokens);
    if (r->min_tokens == SIZE_MAX)
        put_flag(b, "ignore_eos", true);
    else if (r->min_tokens > 0)
        put_count(b, "min_tokens", (int64_t)r->min_tokens);
    json_t *stops = r->n_stops > 0 ? json_array() : NULL;
    for (size_t i = 0; i < r->n_stops; i++)
        json_array_append_new(stops, json_string(r->stops[i]));
    if (stops != NULL)
        put_value(b, "stop", stops);
}

static void add_scores(body *b, const request *r, size_t n_top)
{
    if (n_top > 0 || r->wants_scores)
        put_flag(b, "logprobs", true);
    if (n_top > 0)
        put_count(b, "top_logprobs", (int64_t)n_top);
}

static void add_grammar(body *b, const reply_grammar *g)
{
    if (g->text != NULL)
        put_value(b, "response_format",
                  json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema",
                            "name", "reply", "strict", 1, "schema", parse(g->text)));
}

/* The model's own fields, as they stand in the text of their object. */
static void add_own(body *b)
{
    char *text = json_object_size(b->own) > 0 ? json_print(b->own, JSON_COMPACT) : NULL;
    if (text != NULL)
        json_out_raw(&b->out, NULL, text + 1, strlen(text) - 2);
    else if (json_object_size(b->own) > 0)
        b->out.code = ERR_MEMORY;
    free(text);
}

static error_code check(const remote_backend *b, const request *r, failure *fail)
{
    const char *what = r->kind == REQUEST_SCORE         ? "scores of texts"
                       : r->scores_prompt               ? "log-probabilities of a prompt"
                       : r->scores_drawn                ? "what tokens are drawn from"
                       : r->wants_scores && !is_chat(r) ? "log-probabilities of completions"
                       : r->files_json != NULL          ? "files beside a hole"
                                                        : NULL;
    return what == NULL
               ? OK
               : failure_set(fail, ERR_UNSUPPORTED, "the server of model '%s' is not asked for %s",
                             b->base.name, what);
}

static error_code check_grammar(const remote_backend *b, const reply_grammar *g, failure *fail)
{
    if (g->text == NULL || g->kind == GRAMMAR_JSON_SCHEMA)
        return OK;
    return failure_set(fail, ERR_UNSUPPORTED,
                       "the server of model '%s' is asked for JSON Schemas only, not for other "
                       "grammars",
                       b->base.name);
}

static void write_body(body *b, const char *asked, const request *r, size_t n_top)
{
    json_out_open(&b->out, NULL, '{');
    put_text(b, "model", asked, strlen(asked));
    put_flag(b, "stream", true);
    put_json(b, "stream_options", "{\"include_usage\":true}");
    if (is_chat(r))
        add_conversation(b, r);
    else if (r->suffix != NULL)
        put_text(b, "suffix", r->suffix, r->suffix_length);
    add_sampling(b, &r->sampling);
    add_limits(b, r);
    add_scores(b, r, n_top);
    add_grammar(b, &r->grammar);
    add_own(b);
    put_prompt(b, is_chat(r) ? "messages" : "prompt", r);
    json_out_close(&b->out, '}');
}

error_code remote_request_write(const remote_backend *b, const request *r, size_t n_top,
                                buffer *out, failure *fail)
{
    error_code code = check(b, r, fail);
    if (code == OK)
        code = check_grammar(b, &r->grammar, fail);
    if (code != OK)
        return code;
    buffer_init(out, BODY_LIMIT);
    body made = {.out = {.to = out, .code = buffer_reserve(out, prompt_bytes(r) + USUAL_REST)},
                 .own = b->fields};
    write_body(&made, b->config->remote.model, r, n_top);
    if (made.out.code == OK)
        return OK;
    buffer_free(out);
    return failure_set(fail, made.out.code, "no memory for the request");
}
