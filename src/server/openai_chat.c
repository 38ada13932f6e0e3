/* openai_chat.c: replies as OpenAI's chat completions. */
#include "server/exchange.h"

#include "base/json.h"

static const run *first_run(const exchange *e)
{
    return e->choices[0].run;
}

static json_t *head_json(const exchange *e, const char *object)
{
    json_t *head =
        json_pack("{s:s, s:s, s:I, s:s, s:s, s:s*}", "id", e->reply_id, "object", object, "created",
                  (json_int_t)e->created, "model", run_plan(first_run(e))->model,
                  "system_fingerprint", SYSTEM_FINGERPRINT, "service_tier", e->manner.service_tier);
    return head;
}

static json_t *text_or_null(const buffer *text, bool is_null)
{
    return is_null ? json_null() : json_text(text->data, text->length);
}

static json_t *call_json(const reply_call *call)
{
    return json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", call->id, "type", "function", "function",
                     "name", json_text(call->name.data, call->name.length), "arguments",
                     json_text(call->arguments.data, call->arguments.length));
}

static json_t *message_json(const choice *c)
{
    json_t *message =
        json_pack("{s:s, s:o, s:n}", "role", "assistant", "content",
                  text_or_null(&c->text, c->n_calls > 0 && c->text.length == 0), "refusal");
    if (c->thought.length > 0)
        json_object_set_new(message, "reasoning_content",
                            json_text(c->thought.data, c->thought.length));
    if (c->n_calls == 0)
        return message;
    json_t *calls = json_array();
    for (size_t i = 0; i < c->n_calls; i++)
        json_array_append_new(calls, call_json(&c->calls[i]));
    json_object_set_new(message, "tool_calls", calls);
    return message;
}

static json_t *whole(const exchange *e)
{
    const reply_stats stats = replies_stats(e);
    json_t *body = head_json(e, "chat.completion"), *choices = json_array();
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        json_array_append_new(choices,
                              json_pack("{s:I, s:o, s:o, s:s}", "index", (json_int_t)c->index,
                                        "message", message_json(c), "logprobs", logprobs_chat(e, c),
                                        "finish_reason", choice_finish_text(c)));
    }
    json_object_set_new(body, "choices", choices);
    json_object_set_new(body, "usage", usage_json(&stats));
    return body;
}

/* ---- streams --------------------------------------------------------------------------------- */

/* `delta` is taken over. */
static json_t *chunk_json(const exchange *e, choice *c, json_t *delta, const char *finish)
{
    json_t *chunk = head_json(e, "chat.completion.chunk");
    json_object_set_new(chunk, "choices",
                        json_pack("[{s:I, s:o, s:o, s:s?}]", "index", (json_int_t)c->index, "delta",
                                  delta, "logprobs", logprobs_chat(e, c), "finish_reason", finish));
    return chunk;
}

static json_t *with_usage(const exchange *e, json_t *chunk)
{
    const reply_stats stats = replies_stats(e);
    if (e->manner.include_usage && e->manner.continuous_usage)
        json_object_set_new(chunk, "usage", usage_json(&stats));
    else if (e->manner.include_usage)
        json_object_set_new(chunk, "usage", json_null()); /* as OpenAI does: the last one has it */
    return chunk;
}

static bool add_chunk(exchange *e, json_t *chunk)
{
    replies_add_timings(e, chunk);
    return stream_add_event(e, NULL, with_usage(e, chunk));
}

static bool begin(exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++) {
        json_t *delta = json_pack("{s:s, s:n}", "role", "assistant", "content");
        if (!add_chunk(e, chunk_json(e, &e->choices[i], delta, NULL)))
            return false;
    }
    return true;
}

static json_t *piece_json(const choice *c, const reply_piece *piece)
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

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    static const reply_piece hole = {
        .part = REPLY_TEXT, .text = STREAM_HOLE, .length = sizeof STREAM_HOLE - 1};
    if (!is_plain(e, piece))
        return add_chunk(e, chunk_json(e, c, piece_json(c, piece), NULL));
    if (!stream_has_frame(e, c) &&
        !stream_make_frame(e, c, with_usage(e, chunk_json(e, c, piece_json(c, &hole), NULL))))
        return false;
    return stream_add_framed(e, piece->text, piece->length);
}

static bool end_choice(exchange *e, choice *c)
{
    json_t *last = chunk_json(e, c, json_object(), choice_finish_text(c));
    if (!replies_are_told(e))
        return add_chunk(e, last);
    return stream_add_accounted(e, with_usage(e, last));
}

static bool end(exchange *e)
{
    if (e->manner.include_usage) {
        const reply_stats stats = replies_stats(e);
        json_t *usage = head_json(e, "chat.completion.chunk");
        json_object_set_new(usage, "choices", json_array());
        json_object_set_new(usage, "usage", usage_json(&stats));
        json_object_set_new(usage, "timings", timings_json(&stats));
        if (!stream_add_event(e, NULL, usage))
            return false;
    }
    return stream_add_text(e, "data: [DONE]\n\n");
}

const api openai_chat_api = {
    .id_prefix = "chatcmpl-",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &openai_chat_form,
    .is_accounted = true,
    .whole = whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
};
