/* remote_request.c: a request as OpenAI's API has it, with the fields that vLLM, llama-server and
 * a-io read besides where the request asks for what they mean. */
#include "backend/remote.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define BODY_LIMIT ((size_t)1 << 30)
#define USUAL_REST ((size_t)1 << 10) /* bytes of a body without its prompt */

/* All of these take the value over; what there was no memory for is told at the end. */
static void set(json_t *body, const char *name, json_t *value)
{
    json_object_set_new(body, name, value);
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

static error_code add_message(buffer *out, const char *role, const char *content, size_t length)
{
    bool is_first = out->data[out->length - 1] == '[';
    error_code code = buffer_add_text(out, is_first ? "{\"role\":" : ",{\"role\":");
    if (code == OK)
        code = json_write_text(out, role, strlen(role));
    if (code == OK)
        code = buffer_add_text(out, ",\"content\":");
    if (code == OK)
        code = json_write_text(out, content, length);
    return code == OK ? buffer_add_text(out, "}") : code;
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
        set(function, "arguments", json_text(text, strlen(text)));
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

/* A list, as it was read where that is the text of one, and a reply that has begun. */
static error_code add_messages(buffer *out, const request *r)
{
    char *anew;
    error_code code = write_calls(r->chat.messages_json, &anew);
    const char *list = anew != NULL ? anew : r->chat.messages_json;
    if (code == OK)
        code = buffer_add(out, list != NULL ? list : "[", list != NULL ? strlen(list) - 1 : 1);
    for (size_t i = 0; code == OK && list == NULL && i < r->n_messages; i++)
        code = add_message(out, r->messages[i].role, r->messages[i].content,
                           r->messages[i].content_length);
    if (code == OK && r->chat.begun != NULL)
        code = add_message(out, "assistant", r->chat.begun, r->chat.begun_length);
    free(anew);
    return code == OK ? buffer_add_text(out, "]") : code;
}

static error_code add_ids(buffer *out, const request *r)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < r->n_prompt_ids; i++)
        code = buffer_add_format(out, "%c%d", i == 0 ? '[' : ',', (int)r->prompt_ids[i]);
    return code == OK ? buffer_add_text(out, r->n_prompt_ids > 0 ? "]" : "[]") : code;
}

static error_code add_prompt(buffer *out, const request *r)
{
    return is_chat(r)          ? add_messages(out, r)
           : r->prompt != NULL ? json_write_text(out, r->prompt, r->prompt_length)
                               : add_ids(out, r);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void add_tools(json_t *body, const request_chat *c)
{
    if (c->tools_json == NULL)
        return;
    set(body, "tools", parse(c->tools_json));
    if (c->must_call && c->called != NULL)
        set(body, "tool_choice",
            json_pack("{s:s, s:{s:s}}", "type", "function", "function", "name", c->called));
    else if (c->must_call)
        set(body, "tool_choice", json_string("required"));
    if (c->calls_once)
        set(body, "parallel_tool_calls", json_false());
}

static void add_conversation(json_t *body, const request *r)
{
    add_tools(body, &r->chat);
    if (r->chat.begun != NULL) { /* vLLM's two */
        set(body, "continue_final_message", json_true());
        set(body, "add_generation_prompt", json_false());
    }
    if (r->chat.documents_json != NULL)
        set(body, "documents", parse(r->chat.documents_json));
    if (r->chat.variables_json != NULL)
        set(body, "chat_template_kwargs", parse(r->chat.variables_json));
}

/* What changes nothing is left out: not every server knows each of these fields. */
static void add_sampling(json_t *body, const sampling_params *s)
{
    set(body, "temperature", json_real((double)s->temperature));
    set(body, "seed", json_integer((json_int_t)((s->seed + s->choice) & INT64_MAX)));
    if (s->top_p < 1)
        set(body, "top_p", json_real((double)s->top_p));
    if (s->top_k > 0)
        set(body, "top_k", json_integer(s->top_k));
    if (s->min_p > 0)
        set(body, "min_p", json_real((double)s->min_p));
    if (s->repetition_penalty < 1 || s->repetition_penalty > 1)
        set(body, "repetition_penalty", json_real((double)s->repetition_penalty));
    if (s->presence_penalty < 0 || s->presence_penalty > 0)
        set(body, "presence_penalty", json_real((double)s->presence_penalty));
    if (s->frequency_penalty < 0 || s->frequency_penalty > 0)
        set(body, "frequency_penalty", json_real((double)s->frequency_penalty));
    json_t *biases = s->n_biases > 0 ? json_object() : NULL;
    for (size_t i = 0; i < s->n_biases; i++) {
        char token[16];
        snprintf(token, sizeof token, "%d", s->biases[i].token);
        set(biases, token, json_real((double)s->biases[i].bias));
    }
    if (biases != NULL)
        set(body, "logit_bias", biases);
}

static void add_limits(json_t *body, const request *r)
{
    if (r->max_tokens > 0)
        set(body, "max_tokens", json_integer((json_int_t)r->max_tokens));
    if (r->min_tokens == SIZE_MAX)
        set(body, "ignore_eos", json_true());
    else if (r->min_tokens > 0)
        set(body, "min_tokens", json_integer((json_int_t)r->min_tokens));
    json_t *stops = r->n_stops > 0 ? json_array() : NULL;
    for (size_t i = 0; i < r->n_stops; i++)
        json_array_append_new(stops, json_string(r->stops[i]));
    if (stops != NULL)
        set(body, "stop", stops);
}

static error_code add_grammar(json_t *body, const remote_backend *b, const reply_grammar *g,
                              failure *fail)
{
    if (g->text == NULL)
        return OK;
    if (g->kind != GRAMMAR_JSON_SCHEMA)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "the server of model '%s' is asked for JSON Schemas only, not for other "
                           "grammars",
                           b->base.name);
    set(body, "response_format",
        json_pack("{s:s, s:{s:s, s:b, s:o}}", "type", "json_schema", "json_schema", "name", "reply",
                  "strict", 1, "schema", parse(g->text)));
    return OK;
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

/* The body but for its prompt, which is not empty and taken over, and behind it the prompt, unless
 * the model's own fields have another. */
static error_code write_text(const remote_backend *b, const request *r, json_t *rest, char **out)
{
    const char *name = is_chat(r) ? "messages" : "prompt";
    bool has_own = json_object_get(b->fields, name) != NULL;
    buffer text;
    buffer_init(&text, BODY_LIMIT);
    error_code code = buffer_reserve(&text, prompt_bytes(r) + USUAL_REST);
    if (code == OK)
        code = json_write(&text, rest);
    else
        json_decref(rest);
    if (code == OK && !has_own) {
        text.data[text.length - 1] = ','; /* it was a brace */
        code = buffer_add_format(&text, "\"%s\":", name);
        if (code == OK)
            code = add_prompt(&text, r);
        if (code == OK)
            code = buffer_add_text(&text, "}");
    }
    if (code != OK)
        buffer_free(&text);
    *out = text.data;
    return code;
}

error_code remote_request_write(const remote_backend *b, const request *r, size_t n_top, char **out,
                                failure *fail)
{
    error_code code = check(b, r, fail);
    if (code != OK)
        return code;
    json_t *body = json_pack("{s:s, s:b, s:{s:b}}", "model", b->config->remote.model, "stream", 1,
                             "stream_options", "include_usage", 1);
    if (is_chat(r))
        add_conversation(body, r);
    else if (r->suffix != NULL)
        set(body, "suffix", json_text(r->suffix, r->suffix_length));
    add_sampling(body, &r->sampling);
    add_limits(body, r);
    if (n_top > 0 || r->wants_scores)
        set(body, "logprobs", json_true());
    if (n_top > 0)
        set(body, "top_logprobs", json_integer((json_int_t)n_top));
    code = add_grammar(body, b, &r->grammar, fail);
    if (b->fields != NULL)
        json_object_update(body, b->fields);
    if (code != OK) {
        json_decref(body);
        return code;
    }
    code = write_text(b, r, body, out);
    return code == OK ? OK : failure_set(fail, code, "no memory for the request");
}
