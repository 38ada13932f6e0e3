/* remote_answer.c: an answer's events: its text with thoughts and calls marked, its end, its
 * numbers. */
#include <math.h>
#include <string.h>

#include "backend/remote.h"
#include "base/clock.h"
#include "base/json.h"

/* No UTF-8, which what is read from JSON is: no server's text can be taken for them. */
#define CALL_MARK "\xFF\xA1"
#define CALL_END_MARK "\xFF\xA2"

const chat_form remote_form = {.name = "remote",
                               .shown = CALL_MARK,
                               .syntax = CALL_OBJECT,
                               .begin = CALL_MARK,
                               .dropped = {CALL_END_MARK}};
const chat_thoughts remote_thoughts = {"<think>", "</think>"};

static void add(remote_call *c, const char *text, size_t length)
{
    c->has_text = true;
    if (buffer_add(&c->text, text, length) != OK && c->fault.code == OK)
        failure_set(&c->fault, ERR_MEMORY, "no memory for the answer");
}

static void add_quoted(remote_call *c, const json_t *text)
{
    error_code code = json_write_text(&c->text, json_string_value(text), json_string_length(text));
    if (code != OK && c->fault.code == OK)
        failure_set(&c->fault, ERR_MEMORY, "no memory for the answer");
}

static void add_text(remote_call *c, const char *text)
{
    add(c, text, strlen(text));
}

/* Ends what was being written, and begins the next. */
static void change_part(remote_call *c, remote_part to)
{
    if (c->part == to && to != REMOTE_CALL)
        return;
    if (c->part == REMOTE_THOUGHT)
        add_text(c, remote_thoughts.end);
    if (c->part == REMOTE_CALL)
        add_text(c, c->has_arguments ? "}" CALL_END_MARK : "{}}" CALL_END_MARK);
    if (to == REMOTE_THOUGHT)
        add_text(c, remote_thoughts.begin);
    c->part = to;
}

static void take_text(remote_call *c, const json_t *text, remote_part part)
{
    size_t length = json_string_length(text);
    if (length == 0)
        return;
    change_part(c, part);
    add(c, json_string_value(text), length);
}

/* {"name": …, "arguments": …}: the arguments come in pieces of JSON. */
static void take_call(remote_call *c, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    const json_t *name = json_object_get(function, "name");
    const json_t *arguments = json_object_get(function, "arguments");
    json_int_t index = json_integer_value(json_object_get(call, "index"));
    bool is_new = c->part != REMOTE_CALL || index != c->call_index;
    if (is_new && json_string_length(name) > 0) {
        change_part(c, REMOTE_CALL);
        c->call_index = index;
        c->has_arguments = false;
        add_text(c, CALL_MARK "{\"name\":");
        add_quoted(c, name);
        add_text(c, ",\"arguments\":");
    }
    if (c->part != REMOTE_CALL || json_string_length(arguments) == 0)
        return;
    c->has_arguments = true;
    add(c, json_string_value(arguments), json_string_length(arguments));
}

static void take_delta(remote_call *c, const json_t *delta)
{
    const json_t *calls = json_object_get(delta, "tool_calls");
    const json_t *thought = json_object_get(delta, "reasoning_content");
    if (thought == NULL)
        thought = json_object_get(delta, "reasoning");
    if (c->is_parted)
        take_text(c, thought, REMOTE_THOUGHT);
    take_text(c, json_object_get(delta, "content"), REMOTE_TEXT);
    for (size_t i = 0; i < json_array_size(calls); i++)
        take_call(c, json_array_get(calls, i));
}

/* Servers differ in the space before the first word of an answer. */
static bool is_label(const char *token, const char *label)
{
    return strcmp(token + strspn(token, " "), label + strspn(label, " ")) == 0;
}

/* The likeliest tokens in place of the first one: a list of {"token", "logprob"}. */
static void take_probe(remote_probe *p, const json_t *top)
{
    for (size_t i = 0; !p->is_told && i < json_array_size(top); i++) {
        const json_t *one = json_array_get(top, i);
        const char *token = json_string_value(json_object_get(one, "token"));
        double logprob = json_number_value(json_object_get(one, "logprob"));
        for (size_t k = 0; token != NULL && k < p->n_labels; k++)
            if (is_label(token, p->labels[k])) /* "code" and " code" together */
                p->logprobs[k] = (float)log(exp((double)p->logprobs[k]) + exp(logprob));
    }
    p->is_told = true;
}

static void end_answer(remote_call *c, bool is_cut)
{
    change_part(c, REMOTE_TEXT);
    c->status.finish = is_cut ? END_LENGTH : END_STOP;
    c->is_whole = true;
}

static void take_choice(remote_call *c, const json_t *choice)
{
    const json_t *finish = json_object_get(choice, "finish_reason");
    const json_t *tokens = json_object_get(json_object_get(choice, "logprobs"), "content");
    if (c->probe != NULL && json_array_size(tokens) > 0)
        take_probe(c->probe, json_object_get(json_array_get(tokens, 0), "top_logprobs"));
    if (c->wants_scores)
        remote_scores_take(c, tokens);
    if (c->is_chat)
        take_delta(c, json_object_get(choice, "delta"));
    else
        take_text(c, json_object_get(choice, "text"), REMOTE_TEXT);
    if (json_is_string(finish))
        end_answer(c, strcmp(json_string_value(finish), "length") == 0);
}

static size_t count(const json_t *usage, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(usage, name));
    return n > 0 ? (size_t)n : 0;
}

static void note_usage(remote_call *c, size_t prompt, size_t told, size_t cached)
{
    reply_stats *s = &c->status.stats;
    c->has_usage = true;
    s->prompt_tokens = prompt;
    s->reply_tokens = told;
    s->cached_tokens = cached;
    s->estimated_tokens = 0;
}

/* What an answer that ends before its numbers has cost all the same: a piece of text is a token at
 * least. */
static void estimate_usage(remote_call *c, bool has_more)
{
    reply_stats *s = &c->status.stats;
    if (c->has_usage)
        return;
    s->prompt_tokens = c->prompt_tokens;
    s->reply_tokens += has_more;
    s->estimated_tokens = s->prompt_tokens + s->reply_tokens;
}

static void take_usage(remote_call *c, const json_t *usage)
{
    note_usage(c, count(usage, "prompt_tokens"), count(usage, "completion_tokens"),
               count(json_object_get(usage, "prompt_tokens_details"), "cached_tokens"));
}

static void take_times(remote_call *c)
{
    reply_stats *s = &c->status.stats;
    double since_ms = clock_ms() - c->submitted_ms;
    if (s->prefill_ms == 0)
        s->prefill_ms = since_ms;
    s->decode_ms = since_ms - s->prefill_ms;
}

/* Most events are a piece of text and no more, and one is the end. */
static bool take_plain(remote_call *c, const char *data, size_t length)
{
    event_end end;
    size_t before = c->text.length;
    if (!c->is_chat || c->part != REMOTE_TEXT ||
        !event_text_take(&c->frame, data, length, &c->text, &end))
        return false;
    c->has_text = c->has_text || c->text.length > before;
    take_times(c);
    estimate_usage(c, c->text.length > before);
    if (end.is_told)
        end_answer(c, end.is_cut);
    if (end.has_usage)
        note_usage(c, end.prompt_tokens, end.reply_tokens, end.cached_tokens);
    return true;
}

void remote_answer_take(remote_call *c, const char *data, size_t length)
{
    if (c->fault.code != OK || event_stream_is_end(data, length) || take_plain(c, data, length))
        return;
    error_code code;
    json_error_t error;
    json_t *event = json_read(data, length, JSON_ALLOW_NUL, &error, &code);
    const json_t *fault = json_object_get(event, "error");
    const json_t *choice = json_array_get(json_object_get(event, "choices"), 0);
    if (event == NULL)
        failure_set(&c->fault, code == ERR_MEMORY ? ERR_MEMORY : ERR_IO,
                    "the server of model '%s' sent what is no JSON", c->backend->base.name);
    else if (json_is_object(fault))
        failure_set(&c->fault, ERR_IO, "the server of model '%s': %.300s", c->backend->base.name,
                    json_is_string(json_object_get(fault, "message"))
                        ? json_string_value(json_object_get(fault, "message"))
                        : "it failed");
    if (choice != NULL) {
        size_t before = c->text.length;
        take_times(c);
        take_choice(c, choice);
        estimate_usage(c, c->text.length > before);
    }
    if (json_is_object(json_object_get(event, "usage")))
        take_usage(c, json_object_get(event, "usage"));
    json_decref(event);
}
