/* remote_request.c: a request as OpenAI's API has it, with the fields that vLLM, llama-server and
 * a-io read besides where the request asks for what they mean. */

#include "backend/remote.h"
#include "base/json.h"

#define BODY_LIMIT ((size_t)1 << 30)

/* All of these take the value over; what there was no memory for is told at the end. */
static void set(json_t *body, const char *name, json_t *value)
{
    json_object_set_new(body, name, value);
}

static json_t *parse(const char *text)
{
    return json_loads(text, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
}

static json_t *messages_of(const request *r)
{
    json_t *list = r->chat.messages_json != NULL ? parse(r->chat.messages_json) : json_array();
    for (size_t i = 0; r->chat.messages_json == NULL && i < r->n_messages; i++) {
        const chat_message *m = &r->messages[i];
        json_array_append_new(list, json_pack("{s:s, s:o}", "role", m->role, "content",
                                              json_text(m->content, m->content_length)));
    }
    if (r->chat.begun != NULL)
        json_array_append_new(list, json_pack("{s:s, s:o}", "role", "assistant", "content",
                                              json_text(r->chat.begun, r->chat.begun_length)));
    return list;
}

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

/* The messages' own text can be taken as it is: it may be long, and was read and written once. */
static bool is_spliced(const remote_backend *b, const request *r)
{
    return r->prompt == NULL && r->prompt_ids == NULL && r->chat.messages_json != NULL &&
           r->chat.begun == NULL && json_object_get(b->fields, "messages") == NULL;
}

static void add_conversation(json_t *body, const remote_backend *b, const request *r)
{
    if (!is_spliced(b, r))
        set(body, "messages", messages_of(r));
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

static void add_prompt(json_t *body, const request *r)
{
    json_t *prompt = r->prompt != NULL ? json_text(r->prompt, r->prompt_length) : json_array();
    for (size_t i = 0; r->prompt == NULL && i < r->n_prompt_ids; i++)
        json_array_append_new(prompt, json_integer(r->prompt_ids[i]));
    set(body, "prompt", prompt);
    if (r->suffix != NULL)
        set(body, "suffix", json_text(r->suffix, r->suffix_length));
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
    bool is_chat = r->prompt == NULL && r->prompt_ids == NULL;
    const char *what = r->kind == REQUEST_SCORE      ? "scores of texts"
                       : r->scores_prompt            ? "log-probabilities of a prompt"
                       : r->scores_drawn             ? "what tokens are drawn from"
                       : r->wants_scores && !is_chat ? "log-probabilities of completions"
                       : r->files_json != NULL       ? "files beside a hole"
                                                     : NULL;
    return what == NULL
               ? OK
               : failure_set(fail, ERR_UNSUPPORTED, "the server of model '%s' is not asked for %s",
                             b->base.name, what);
}

/* The body, an object that is not empty and is taken over, with messages that are not in it. */
static error_code write_text(json_t *body, const char *messages, char **out)
{
    buffer text;
    buffer_init(&text, BODY_LIMIT);
    error_code code = messages != NULL ? buffer_add_text(&text, "{\"messages\":") : OK;
    if (code == OK && messages != NULL)
        code = buffer_add_text(&text, messages);
    size_t rest = text.length;
    if (code == OK)
        code = json_write(&text, body);
    else
        json_decref(body);
    if (code != OK)
        buffer_free(&text);
    else if (messages != NULL)
        text.data[rest] = ','; /* it was the brace of what follows */
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
    if (r->prompt == NULL && r->prompt_ids == NULL)
        add_conversation(body, b, r);
    else
        add_prompt(body, r);
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
    code = write_text(body, is_spliced(b, r) ? r->chat.messages_json : NULL, out);
    return code == OK ? OK : failure_set(fail, code, "no memory for the request");
}
