/* responses.c: replies as OpenAI's responses: items, one after another. */
#include "server/exchange.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define ITEM_ID_SIZE 64

/* ---- items ----------------------------------------------------------------------------------- */

static void item_id(const exchange *e, const char *kind, size_t index, char id[ITEM_ID_SIZE])
{
    snprintf(id, ITEM_ID_SIZE, "%s_%s%zu", kind, e->reply_id + strlen("resp_"), index);
}

static json_t *part_json(reply_part part, const char *text, size_t length)
{
    return part == REPLY_THOUGHT
               ? json_pack("{s:s, s:o}", "type", "reasoning_text", "text", json_text(text, length))
               : json_pack("{s:s, s:o, s:[], s:[]}", "type", "output_text", "text",
                           json_text(text, length), "annotations", "logprobs");
}

/* `content` (a part, taken over) may be NULL. */
static json_t *message_json(const exchange *e, size_t index, const char *status, json_t *content)
{
    char id[ITEM_ID_SIZE];
    item_id(e, "msg", index, id);
    json_t *list = json_array();
    if (content != NULL)
        json_array_append_new(list, content);
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "message", "status", status,
                     "role", "assistant", "content", list);
}

static json_t *thought_json(const exchange *e, size_t index, const char *status, json_t *content)
{
    char id[ITEM_ID_SIZE];
    item_id(e, "rs", index, id);
    json_t *list = json_array();
    if (content != NULL)
        json_array_append_new(list, content);
    return json_pack("{s:s, s:s, s:s, s:[], s:o, s:n}", "id", id, "type", "reasoning", "status",
                     status, "summary", "content", list, "encrypted_content");
}

/* Puts a call's name there, and the namespace that the function is of, if any. */
static json_t *with_name(json_t *to, const reply_call *call)
{
    static const char mark[] = NAMESPACE_MARK;
    const char *name = call->name.data, *end = name + call->name.length;
    const char *found = name != NULL ? memmem(name, call->name.length, mark, strlen(mark)) : NULL;
    if (found != NULL)
        json_object_set_new(to, "namespace", json_text(name, (size_t)(found - name)));
    const char *own = found != NULL ? found + strlen(mark) : name;
    json_object_set_new(to, "name", json_text(own, (size_t)(end - own)));
    return to;
}

static json_t *call_json(const exchange *e, size_t index, const char *status,
                         const reply_call *call)
{
    char id[ITEM_ID_SIZE];
    item_id(e, "fc", index, id);
    return with_name(json_pack("{s:s, s:s, s:s, s:s, s:o}", "id", id, "type", "function_call",
                               "status", status, "call_id", call->id, "arguments",
                               json_text(call->arguments.data, call->arguments.length)),
                     call);
}

/* Of a whole reply. */
static json_t *items_json(const exchange *e)
{
    const choice *c = &e->choices[0];
    json_t *items = json_array();
    size_t n = 0;
    if (c->thought.length > 0)
        json_array_append_new(
            items, thought_json(e, n++, "completed",
                                part_json(REPLY_THOUGHT, c->thought.data, c->thought.length)));
    if (c->text.length > 0 || c->n_calls == 0)
        json_array_append_new(
            items,
            message_json(e, n++, "completed", part_json(REPLY_TEXT, c->text.data, c->text.length)));
    for (size_t i = 0; i < c->n_calls; i++)
        json_array_append_new(items, call_json(e, n++, "completed", &c->calls[i]));
    return items;
}

/* ---- the response ---------------------------------------------------------------------------- */

static json_t *response_usage_json(const exchange *e)
{
    const reply_stats stats = replies_stats(e);
    json_int_t input = (json_int_t)stats.prompt_tokens, output = (json_int_t)stats.reply_tokens;
    return json_pack("{s:I, s:{s:I}, s:I, s:{s:I}, s:I}", "input_tokens", input,
                     "input_tokens_details", "cached_tokens", (json_int_t)stats.cached_tokens,
                     "output_tokens", output, "output_tokens_details", "reasoning_tokens",
                     (json_int_t)0, "total_tokens", input + output);
}

/* `items` is taken over. */
static json_t *response_json(const exchange *e, const char *status, json_t *items)
{
    bool is_cut = strcmp(status, "incomplete") == 0;
    return json_pack("{s:s, s:s, s:I, s:s, s:n, s:o, s:n, s:s, s:o, s:b, s:s, s:[], s:s, s:b, "
                     "s:{s:{s:s}}, s:s*, "
                     "s:{}}",
                     "id", e->reply_id, "object", "response", "created_at", (json_int_t)e->created,
                     "status", status, "error", "incomplete_details",
                     is_cut ? json_pack("{s:s}", "reason", "max_output_tokens") : json_null(),
                     "instructions", "model", run_plan(e->choices[0].run)->model, "output", items,
                     "parallel_tool_calls", 1, "tool_choice", "auto", "tools", "truncation",
                     "disabled", "store", (int)e->manner.is_stored, "text", "format", "type",
                     "text", "service_tier", e->manner.service_tier, "metadata");
}

static const char *status_of(const exchange *e)
{
    return e->choices[0].finish == END_LENGTH ? "incomplete" : "completed";
}

/* The reply as the message that a later request goes on with. */
static json_t *turn_json(const choice *c)
{
    json_t *calls = json_array(), *turn;
    for (size_t i = 0; i < c->n_calls; i++)
        json_array_append_new(
            calls, json_pack("{s:s, s:s, s:{s:o, s:o}}", "id", c->calls[i].id, "type", "function",
                             "function", "name",
                             json_text(c->calls[i].name.data, c->calls[i].name.length), "arguments",
                             json_text(c->calls[i].arguments.data, c->calls[i].arguments.length)));
    turn = json_pack("{s:s, s:o}", "role", "assistant", "content",
                     json_text(c->text.data, c->text.length));
    if (c->n_calls > 0)
        json_object_set(turn, "tool_calls", calls);
    json_decref(calls);
    return turn;
}

static json_t *finish_response(const exchange *e, json_t *items)
{
    json_t *response = response_json(e, status_of(e), items);
    json_object_set_new(response, "usage", response_usage_json(e));
    if (e->conversation != NULL) {
        json_t *messages = json_copy(e->conversation);
        json_array_append_new(messages, turn_json(&e->choices[0]));
        response_store_put(e->server->responses, e->reply_id, messages, json_incref(response));
    }
    json_object_set_new(response, "a_io",
                        account_json(e->choices[0].run, (uint64_t)e->manner.seed));
    return response;
}

static json_t *whole(const exchange *e)
{
    return finish_response(e, items_json(e));
}

/* ---- streams --------------------------------------------------------------------------------- */

/* `event` is taken over. */
static bool add_event(exchange *e, const char *type, json_t *event)
{
    json_object_set_new(event, "type", json_string(type));
    json_object_set_new(event, "sequence_number", json_integer((json_int_t)e->n_events++));
    return stream_add_event(e, type, event);
}

static bool begin(exchange *e)
{
    e->items = json_array();
    return add_event(
               e, "response.created",
               json_pack("{s:o}", "response", response_json(e, "in_progress", json_array()))) &&
           add_event(e, "response.in_progress",
                     json_pack("{s:o}", "response", response_json(e, "in_progress", json_array())));
}

/* What is open of it so far. */
static const buffer *open_text(const choice *c)
{
    return c->open == REPLY_THOUGHT ? &c->thought : &c->text;
}

static json_t *open_item(const exchange *e, const choice *c, const char *status, json_t *content)
{
    size_t index = c->n_opened - 1;
    if (c->open == REPLY_CALL)
        return call_json(e, index, status, &c->calls[c->open_call]);
    return c->open == REPLY_THOUGHT ? thought_json(e, index, status, content)
                                    : message_json(e, index, status, content);
}

/* An event about the item that is open: `more` (taken over) and where it stands. */
static bool add_item_event(exchange *e, const choice *c, const char *type, json_t *more)
{
    char id[ITEM_ID_SIZE];
    item_id(e,
            c->open == REPLY_CALL      ? "fc"
            : c->open == REPLY_THOUGHT ? "rs"
                                       : "msg",
            c->n_opened - 1, id);
    json_object_set_new(more, "item_id", json_string(id));
    json_object_set_new(more, "output_index", json_integer((json_int_t)c->n_opened - 1));
    if (c->open != REPLY_CALL)
        json_object_set_new(more, "content_index", json_integer(0));
    return add_event(e, type, more);
}

static bool add_item(exchange *e, const choice *c, const char *type, json_t *item)
{
    return add_event(
        e, type,
        json_pack("{s:I, s:o}", "output_index", (json_int_t)c->n_opened - 1, "item", item));
}

static bool close_text(exchange *e, const choice *c)
{
    const buffer *text = open_text(c);
    size_t length = text->length - c->opened_at;
    const char *begin = length > 0 ? text->data + c->opened_at : "";
    const char *done =
        c->open == REPLY_THOUGHT ? "response.reasoning_text.done" : "response.output_text.done";
    json_t *item = open_item(e, c, "completed", part_json(c->open, begin, length));
    json_array_append(e->items, item);
    return add_item_event(e, c, done, json_pack("{s:o}", "text", json_text(begin, length))) &&
           add_item_event(e, c, "response.content_part.done",
                          json_pack("{s:o}", "part", part_json(c->open, begin, length))) &&
           add_item(e, c, "response.output_item.done", item);
}

static bool close_call(exchange *e, const choice *c)
{
    const reply_call *call = &c->calls[c->open_call];
    json_t *item = open_item(e, c, "completed", NULL);
    json_array_append(e->items, item);
    return add_item_event(
               e, c, "response.function_call_arguments.done",
               with_name(json_pack("{s:o}", "arguments",
                                   json_text(call->arguments.data, call->arguments.length)),
                         call)) &&
           add_item(e, c, "response.output_item.done", item);
}

static bool close_item(exchange *e, choice *c)
{
    if (!c->is_open)
        return true;
    c->is_open = false;
    return c->open == REPLY_CALL ? close_call(e, c) : close_text(e, c);
}

/* `kept`: bytes of the piece that opens it, which are among the kept text already. */
static bool open_new(exchange *e, choice *c, reply_part part, size_t kept)
{
    c->is_open = true;
    c->open = part;
    c->n_opened++;
    if (part == REPLY_CALL)
        c->open_call = c->n_calls - 1;
    else
        c->opened_at = open_text(c)->length - kept;
    return add_item(e, c, "response.output_item.added", open_item(e, c, "in_progress", NULL)) &&
           (part == REPLY_CALL ||
            add_item_event(e, c, "response.content_part.added",
                           json_pack("{s:o}", "part", part_json(part, "", 0))));
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    static const char *const deltas[] = {
        [REPLY_TEXT] = "response.output_text.delta",
        [REPLY_THOUGHT] = "response.reasoning_text.delta",
        [REPLY_ARGUMENTS] = "response.function_call_arguments.delta",
    };
    bool is_call = piece->part == REPLY_CALL || piece->part == REPLY_ARGUMENTS;
    if (piece->part == REPLY_CALL)
        return close_item(e, c) && open_new(e, c, REPLY_CALL, 0);
    if (!is_call && (!c->is_open || c->open != piece->part) &&
        !(close_item(e, c) && open_new(e, c, piece->part, piece->length)))
        return false;
    json_t *delta = json_pack("{s:o}", "delta", json_text(piece->text, piece->length));
    if (piece->part == REPLY_TEXT)
        json_object_set_new(delta, "logprobs", json_array());
    return add_item_event(e, c, deltas[piece->part], delta);
}

static bool end_choice(exchange *e, choice *c)
{
    return (c->n_opened > 0 || open_new(e, c, REPLY_TEXT, 0)) && close_item(e, c);
}

static bool end(exchange *e)
{
    json_t *response = finish_response(e, json_incref(e->items));
    const char *type =
        e->choices[0].finish == END_LENGTH ? "response.incomplete" : "response.completed";
    return add_event(e, type, json_pack("{s:o}", "response", response));
}

static bool stream_error(exchange *e, const api_error *error)
{
    return add_event(e, "error",
                     json_pack("{s:s?, s:o, s:s}", "code", error->code, "message",
                               json_text(error->message, strlen(error->message)), "param",
                               error->param));
}

const api responses_api = {
    .id_prefix = "resp_",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &responses_form,
    .keeps_text = true,
    .whole = whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
    .stream_error = stream_error,
};

/* ---- remembered responses -------------------------------------------------------------------- */

static bool answer_unknown(exchange *e)
{
    api_error error;
    api_error_set(&error, 404, NULL, "response_id", "the response '%.48s' is not remembered",
                  e->argument);
    return exchange_answer_error(e, &error);
}

bool response_get(exchange *e)
{
    json_t *response = response_store_response(e->server->responses, e->argument);
    return response != NULL ? exchange_answer(e, 200, response) : answer_unknown(e);
}

bool response_delete(exchange *e)
{
    if (!response_store_remove(e->server->responses, e->argument))
        return answer_unknown(e);
    return exchange_answer(
        e, 200,
        json_pack("{s:s, s:s, s:b}", "id", e->argument, "object", "response", "deleted", 1));
}
