/* openai_chat.c: replies as OpenAI's chat completions. */
#include "server/exchange.h"

#include <string.h>

#include "base/json.h"

void openai_open_reply(json_out *o, const exchange *e, const char *object)
{
    const char *answers = run_plan(e->choices[0].run)->model;
    json_out_open(o, NULL, '{');
    json_out_word(o, "id", e->reply_id);
    json_out_word(o, "object", object);
    json_out_count(o, "created", e->created);
    json_out_text(o, "model", answers, strlen(answers));
    json_out_word(o, "system_fingerprint", SYSTEM_FINGERPRINT);
    if (e->manner.service_tier != NULL)
        json_out_word(o, "service_tier", e->manner.service_tier);
}

/* As OpenAI does: the last event has it, those before it null. */
static void write_usage(json_out *o, const exchange *e)
{
    const reply_stats stats = replies_stats(e);
    if (e->manner.include_usage && e->manner.continuous_usage)
        usage_write(o, "usage", &stats);
    else if (e->manner.include_usage)
        json_out_word(o, "usage", NULL);
}

void openai_close_chunk(json_out *o, const exchange *e, const char *finish)
{
    reply_stats so_far;
    json_out_close(o, ']');
    if (finish != NULL && replies_are_told(e))
        replies_write_account(e, o);
    else if (replies_tell_timings(e, &so_far))
        timings_write(o, "timings", &so_far);
    write_usage(o, e);
    json_out_close(o, '}');
}

bool openai_end_stream(exchange *e, const char *object)
{
    const reply_stats stats = replies_stats(e);
    if (e->manner.include_usage) {
        json_out o = stream_open(e);
        openai_open_reply(&o, e, object);
        json_out_raw(&o, "choices", "[]", 2);
        usage_write(&o, "usage", &stats);
        timings_write(&o, "timings", &stats);
        json_out_close(&o, '}');
        if (!stream_close(&o))
            return false;
    }
    return stream_add_text(e, "data: [DONE]\n\n");
}

static json_t *call_json(const reply_call *call)
{
    return json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", call->id, "type", "function", "function",
                     "name", json_text(call->name.data, call->name.length), "arguments",
                     json_text(call->arguments.data, call->arguments.length));
}

static json_t *calls_json(const choice *c)
{
    json_t *calls = json_array();
    for (size_t i = 0; i < c->n_calls; i++)
        json_array_append_new(calls, call_json(&c->calls[i]));
    return calls;
}

static void write_message(json_out *o, const choice *c)
{
    json_out_open(o, "message", '{');
    json_out_word(o, "role", "assistant");
    if (c->n_calls > 0 && c->text.length == 0)
        json_out_word(o, "content", NULL);
    else
        json_out_text(o, "content", c->text.data, c->text.length);
    json_out_word(o, "refusal", NULL);
    if (c->thought.length > 0)
        json_out_text(o, "reasoning_content", c->thought.data, c->thought.length);
    if (c->n_calls > 0)
        json_out_value(o, "tool_calls", calls_json(c));
    json_out_close(o, '}');
}

static void write_whole(const exchange *e, json_out *o)
{
    const reply_stats stats = replies_stats(e);
    openai_open_reply(o, e, "chat.completion");
    json_out_open(o, "choices", '[');
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        json_out_open(o, NULL, '{');
        json_out_count(o, "index", (int64_t)c->index);
        write_message(o, c);
        json_out_value(o, "logprobs", logprobs_chat(e, c));
        json_out_word(o, "finish_reason", choice_finish_text(c));
        json_out_close(o, '}');
    }
    json_out_close(o, ']');
    usage_write(o, "usage", &stats);
    replies_write_account(e, o);
    json_out_close(o, '}');
}

/* ---- streams --------------------------------------------------------------------------------- */

#define CHUNK "chat.completion.chunk"

static void open_chunk(json_out *o, const exchange *e, const choice *c)
{
    openai_open_reply(o, e, CHUNK);
    json_out_open(o, "choices", '[');
    json_out_open(o, NULL, '{');
    json_out_count(o, "index", (int64_t)c->index);
}

/* What follows its delta; `finish` NULL: the choice goes on. */
static void close_chunk(json_out *o, const exchange *e, choice *c, const char *finish)
{
    json_out_value(o, "logprobs", logprobs_chat(e, c));
    json_out_word(o, "finish_reason", finish);
    json_out_close(o, '}');
    openai_close_chunk(o, e, finish);
}

/* `delta`: its text. */
static bool add_chunk(exchange *e, choice *c, const char *delta, const char *finish)
{
    json_out o = stream_open(e);
    open_chunk(&o, e, c);
    json_out_raw(&o, "delta", delta, strlen(delta));
    close_chunk(&o, e, c, finish);
    return stream_close(&o);
}

static bool begin(exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++)
        if (!add_chunk(e, &e->choices[i], "{\"role\":\"assistant\",\"content\":null}", NULL))
            return false;
    return true;
}

static json_t *delta_json(const choice *c, const reply_piece *piece)
{
    json_int_t index = (json_int_t)piece->call;
    json_t *text = json_text(piece->text, piece->length);
    switch (piece->part) {
    case REPLY_TEXT:
        return json_pack("{s:o}", "content", text);
    case REPLY_THOUGHT:
        return json_pack("{s:o}", "reasoning_content", text);
    case REPLY_CALL:
        return json_pack("{s:[{s:I, s:s, s:s, s:{s:o, s:s}}]}", "tool_calls", "index", index, "id",
                         c->calls[piece->call].id, "type", "function", "function", "name", text,
                         "arguments", "");
    default:
        return json_pack("{s:[{s:I, s:{s:o}}]}", "tool_calls", "index", index, "function",
                         "arguments", text);
    }
}

/* Nothing but the text is another one in each of its events. */
static bool is_plain(const exchange *e, const reply_piece *piece)
{
    const reply_manner *m = &e->manner;
    return piece->part == REPLY_TEXT && !m->wants_scores && !m->continuous_usage &&
           !m->tells_timings;
}

static bool make_frame(exchange *e, choice *c)
{
    json_out o = stream_open_frame(e);
    open_chunk(&o, e, c);
    json_out_open(&o, "delta", '{');
    json_out_text(&o, "content", STREAM_HOLE, sizeof STREAM_HOLE - 1);
    json_out_close(&o, '}');
    close_chunk(&o, e, c, NULL);
    return stream_close_frame(e, c, &o);
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    if (is_plain(e, piece))
        return (stream_has_frame(e, c) || make_frame(e, c)) &&
               stream_add_framed(e, piece->text, piece->length);
    json_out o = stream_open(e);
    open_chunk(&o, e, c);
    json_out_value(&o, "delta", delta_json(c, piece));
    close_chunk(&o, e, c, NULL);
    return stream_close(&o);
}

static bool end_choice(exchange *e, choice *c)
{
    return add_chunk(e, c, "{}", choice_finish_text(c));
}

static bool end(exchange *e)
{
    return openai_end_stream(e, CHUNK);
}

const api openai_chat_api = {
    .id_prefix = "chatcmpl-",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &openai_chat_form,
    .write_whole = write_whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
};
