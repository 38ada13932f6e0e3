/* anthropic.c: replies as Anthropic's messages. */
#include "server/exchange.h"

#include <string.h>

#include "base/json.h"

static const char *stop_reason(const choice *c)
{
    if (c->n_calls > 0 && c->finish == END_STOP)
        return "tool_use";
    if (c->finish == END_LENGTH)
        return "max_tokens";
    return run_stop(c->run) != NULL ? "stop_sequence" : "end_turn";
}

/* What came from the cache is not among the input, as Anthropic counts. */
static json_t *input_usage_json(const exchange *e)
{
    reply_stats stats = replies_stats(e);
    if (stats.prompt_tokens == 0) /* it has not begun: nothing is known of the cache */
        stats.prompt_tokens = run_style(e->choices[0].run).prompt_tokens;
    return json_pack("{s:I, s:I, s:I, s:I}", "input_tokens",
                     (json_int_t)(stats.prompt_tokens - stats.cached_tokens),
                     "cache_creation_input_tokens", (json_int_t)0, "cache_read_input_tokens",
                     (json_int_t)stats.cached_tokens, "output_tokens",
                     (json_int_t)stats.reply_tokens);
}

/* `reason` NULL: it has not ended. */
static json_t *message_json(const exchange *e, json_t *content, const char *reason)
{
    const run *r = e->choices[0].run;
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:o}", "id", e->reply_id, "type",
                     "message", "role", "assistant", "model", run_plan(r)->model, "content",
                     content, "stop_reason", reason, "stop_sequence",
                     reason != NULL ? run_stop(r) : NULL, "usage", input_usage_json(e));
}

static json_t *input_json(const reply_call *call)
{
    error_code code;
    json_error_t error;
    json_t *input = json_read(call->arguments.data == NULL ? "" : call->arguments.data,
                              call->arguments.length, JSON_ALLOW_NUL, &error, &code);
    return input != NULL ? input : json_object(); /* it was cut */
}

static json_t *whole(const exchange *e)
{
    const choice *c = &e->choices[0];
    json_t *content = json_array();
    if (c->thought.length > 0)
        json_array_append_new(content, json_pack("{s:s, s:o, s:s}", "type", "thinking", "thinking",
                                                 json_text(c->thought.data, c->thought.length),
                                                 "signature", ""));
    if (c->text.length > 0 || c->n_calls == 0)
        json_array_append_new(content, json_pack("{s:s, s:o}", "type", "text", "text",
                                                 json_text(c->text.data, c->text.length)));
    for (size_t i = 0; i < c->n_calls; i++) {
        const reply_call *call = &c->calls[i];
        json_array_append_new(content,
                              json_pack("{s:s, s:s, s:o, s:o}", "type", "tool_use", "id", call->id,
                                        "name", json_text(call->name.data, call->name.length),
                                        "input", input_json(call)));
    }
    json_t *body = message_json(e, content, stop_reason(c));
    json_object_set_new(body, "a_io", account_json(c->run, (uint64_t)e->manner.seed));
    return body;
}

/* ---- streams --------------------------------------------------------------------------------- */

static bool begin(exchange *e)
{
    return stream_add_event(e, "message_start",
                            json_pack("{s:s, s:o}", "type", "message_start", "message",
                                      message_json(e, json_array(), NULL)));
}

static bool close_block(exchange *e, choice *c)
{
    if (!c->is_open)
        return true;
    c->is_open = false;
    return stream_add_event(e, "content_block_stop",
                            json_pack("{s:s, s:I}", "type", "content_block_stop", "index",
                                      (json_int_t)(c->n_opened - 1)));
}

static json_t *block_json(const choice *c, const reply_piece *piece)
{
    if (piece->part == REPLY_CALL)
        return json_pack("{s:s, s:s, s:o, s:{}}", "type", "tool_use", "id",
                         c->calls[piece->call].id, "name", json_text(piece->text, piece->length),
                         "input");
    return piece->part == REPLY_THOUGHT
               ? json_pack("{s:s, s:s, s:s}", "type", "thinking", "thinking", "", "signature", "")
               : json_pack("{s:s, s:s}", "type", "text", "text", "");
}

static bool open_block(exchange *e, choice *c, const reply_piece *piece)
{
    if (!close_block(e, c))
        return false;
    c->is_open = true;
    c->open = piece->part;
    return stream_add_event(e, "content_block_start",
                            json_pack("{s:s, s:I, s:o}", "type", "content_block_start", "index",
                                      (json_int_t)c->n_opened++, "content_block",
                                      block_json(c, piece)));
}

static json_t *delta_json(const reply_piece *piece)
{
    json_t *text = json_text(piece->text, piece->length);
    switch (piece->part) {
    case REPLY_TEXT:
        return json_pack("{s:s, s:o}", "type", "text_delta", "text", text);
    case REPLY_THOUGHT:
        return json_pack("{s:s, s:o}", "type", "thinking_delta", "thinking", text);
    default:
        return json_pack("{s:s, s:o}", "type", "input_json_delta", "partial_json", text);
    }
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    if (piece->part == REPLY_CALL)
        return open_block(e, c, piece);
    bool goes_on = c->is_open && (c->open == piece->part || piece->part == REPLY_ARGUMENTS);
    return (goes_on || open_block(e, c, piece)) &&
           stream_add_event(e, "content_block_delta",
                            json_pack("{s:s, s:I, s:o}", "type", "content_block_delta", "index",
                                      (json_int_t)(c->n_opened - 1), "delta", delta_json(piece)));
}

/* A message without any content has an empty text, as a whole one has. */
static bool end_choice(exchange *e, choice *c)
{
    const reply_piece nothing = {.part = REPLY_TEXT};
    return (c->n_opened > 0 || open_block(e, c, &nothing)) && close_block(e, c);
}

static bool end(exchange *e)
{
    const choice *c = &e->choices[0];
    json_t *last =
        json_pack("{s:s, s:{s:s, s:s?}, s:o, s:o}", "type", "message_delta", "delta", "stop_reason",
                  stop_reason(c), "stop_sequence", run_stop(c->run), "usage", input_usage_json(e),
                  "a_io", account_json(c->run, (uint64_t)e->manner.seed));
    return stream_add_event(e, "message_delta", last) &&
           stream_add_event(e, "message_stop", json_pack("{s:s}", "type", "message_stop"));
}

static bool keep_alive(exchange *e)
{
    return stream_add_event(e, "ping", json_pack("{s:s}", "type", "ping"));
}

/* ---- errors ---------------------------------------------------------------------------------- */

static json_t *error_json(const api_error *error)
{
    const char *type = error->status == 413   ? "request_too_large"
                       : error->status == 501 ? "invalid_request_error"
                       : error->status == 503 ? "overloaded_error"
                       : error->status == 500 ? "api_error"
                       : error->status == 429 ? "rate_limit_error"
                                              : error->type;
    json_was_short(); /* of what failed before, this error tells */
    return json_pack("{s:s, s:{s:s, s:o}}", "type", "error", "error", "type", type, "message",
                     json_text(error->message, strlen(error->message)));
}

static bool stream_error(exchange *e, const api_error *error)
{
    return stream_add_event(e, "error", error_json(error));
}

const api anthropic_api = {
    .id_prefix = "msg_",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &anthropic_form,
    .whole = whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
    .keep_alive = keep_alive,
    .error = error_json,
    .stream_error = stream_error,
};
