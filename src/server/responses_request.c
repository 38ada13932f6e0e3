/*
 * responses_request.c: requests of OpenAI's responses. Items become the messages that a chat
 * completion would have: all that comes after is the same for both.
 */
#include "server/request_parser.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static bool refuse_item(parser *p, size_t index, const char *what)
{
    char param[32];
    snprintf(param, sizeof param, "input[%zu]", index);
    return parser_refuse(p, param, what);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

/* ---- items ----------------------------------------------------------------------------------- */

typedef struct conversation {
    json_t *messages; /* so far */
    json_t *turn;     /* the assistant's last message, while nobody else has spoken; or NULL */
    json_t *thought;  /* of the turn to come; the item's */
    json_t *found;    /* responses that items refer to, by their ids; or NULL */
} conversation;

/* Thoughts, text and calls of one turn are items of their own, and one message. */
static json_t *turn_of(conversation *c)
{
    if (c->turn == NULL) {
        c->turn = json_pack("{s:s, s:n}", "role", "assistant", "content");
        json_array_append_new(c->messages, c->turn);
    }
    if (c->thought != NULL)
        json_object_set(c->turn, "reasoning_content", c->thought);
    c->thought = NULL;
    return c->turn;
}

static void take_message(conversation *c, const json_t *item)
{
    json_t *role = json_object_get(item, "role"), *content = json_object_get(item, "content");
    bool is_reply = strcmp(text_of(item, "role"), "assistant") == 0;
    if (is_reply && (c->turn == NULL || json_is_null(json_object_get(c->turn, "content")))) {
        json_object_set(turn_of(c), "content", content);
        return;
    }
    c->turn = NULL;
    json_array_append_new(c->messages, json_pack("{s:O?, s:O?}", "role", role, "content", content));
}

/* New; NULL where there is no name. */
static json_t *full_name(const json_t *namespace, json_t *name)
{
    return json_is_string(namespace) && json_is_string(name)
               ? json_sprintf("%s" NAMESPACE_MARK "%s", json_string_value(namespace),
                              json_string_value(name))
               : json_incref(name);
}

static void take_call(conversation *c, const json_t *item)
{
    json_t *turn = turn_of(c), *calls = json_object_get(turn, "tool_calls");
    if (calls == NULL) {
        calls = json_array();
        json_object_set_new(turn, "tool_calls", calls);
    }
    json_t *name = full_name(json_object_get(item, "namespace"), json_object_get(item, "name"));
    json_array_append_new(calls, json_pack("{s:O?, s:s, s:{s:o?, s:O?}}", "id",
                                           json_object_get(item, "call_id"), "type", "function",
                                           "function", "name", name, "arguments",
                                           json_object_get(item, "arguments")));
}

static void take_output(conversation *c, const json_t *item)
{
    c->turn = NULL;
    json_array_append_new(c->messages, json_pack("{s:s, s:O?, s:O?}", "role", "tool",
                                                 "tool_call_id", json_object_get(item, "call_id"),
                                                 "content", json_object_get(item, "output")));
}

/* Of an item's id, whose middle is the reply's own: the response that told it, read once. */
static json_t *response_of(parser *p, conversation *c, const char *item_id)
{
    char id[RESPONSE_ID_SIZE];
    const char *own = strchr(item_id, '_');
    snprintf(id, sizeof id, "resp_%.*s", REPLY_ID_DIGITS, own != NULL ? own + 1 : "");
    if (c->found == NULL)
        c->found = parser_own(p, json_object());
    json_t *response = json_object_get(c->found, id);
    if (response != NULL || p->store == NULL)
        return response;
    response = response_store_response(p->store, id);
    return response != NULL && json_object_set_new(c->found, id, response) == 0 ? response : NULL;
}

/* What an earlier reply told under that id; or NULL, as it is once it was referred to: what is
 * referred to takes no more than what is remembered. */
static const json_t *find_item(parser *p, conversation *c, const char *id)
{
    json_t *list = json_object_get(response_of(p, c, id), "output"), *item;
    size_t i;
    json_array_foreach(list, i, item)
    {
        if (strcmp(text_of(item, "id"), id) != 0)
            continue;
        item = parser_own(p, json_incref(item));
        json_array_remove(list, i);
        return item;
    }
    return NULL;
}

static bool take_item(parser *p, conversation *c, size_t index, const json_t *item)
{
    if (strcmp(text_of(item, "type"), "item_reference") == 0) {
        const char *id = text_of(item, "id");
        item = find_item(p, c, id);
        if (item == NULL)
            return api_error_set(p->error, 404, NULL, "input",
                                 "'input[%zu]' refers to '%.80s', which is not remembered, or was "
                                 "referred to above",
                                 index, id);
    }
    const char *type = text_of(item, "type");
    if (!json_is_object(item))
        return refuse_item(p, index, "must be an object");
    if (type[0] == '\0' || strcmp(type, "message") == 0)
        take_message(c, item);
    else if (strcmp(type, "function_call") == 0)
        take_call(c, item);
    else if (strcmp(type, "function_call_output") == 0)
        take_output(c, item);
    else if (strcmp(type, "reasoning") == 0)
        c->thought = json_object_get(json_array_get(json_object_get(item, "content"), 0), "text");
    else
        return refuse_item(p, index,
                           "must be a message, a function_call, its function_call_output, a "
                           "reasoning item or an item_reference to one of them");
    return true;
}

static bool take_input(parser *p, conversation *c)
{
    size_t i;
    json_t *item;
    if (json_is_string(p->messages)) {
        json_array_append_new(c->messages,
                              json_pack("{s:s, s:O}", "role", "user", "content", p->messages));
        return true;
    }
    json_array_foreach(p->messages, i, item)
    {
        if (!take_item(p, c, i, item))
            return false;
    }
    return true;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool read_input(parser *p, const char *name, json_t *value)
{
    p->messages = value;
    return json_is_string(value) || json_array_size(value) > 0 ||
           parser_refuse(p, name, "must be a string or a list of items");
}

static bool read_instructions(parser *p, const char *name, json_t *value)
{
    p->system = value;
    return json_is_string(value) || parser_refuse(p, name, "must be a string");
}

static bool read_previous(parser *p, const char *name, json_t *value)
{
    p->previous = json_string_value(value);
    return p->previous != NULL || parser_refuse(p, name, "must be a string");
}

static bool read_store(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.is_stored);
}

static void add_function(json_t *tools, const json_t *tool, const json_t *namespace)
{
    json_t *name = full_name(namespace, json_object_get(tool, "name"));
    json_array_append_new(tools, json_pack("{s:s, s:{s:o?, s:O*, s:O*, s:O*}}", "type", "function",
                                           "function", "name", name, "description",
                                           json_object_get(tool, "description"), "parameters",
                                           json_object_get(tool, "parameters"), "strict",
                                           tool_strictness(tool)));
}

/* A namespace's functions, as Codex groups some of its own. */
static bool add_namespace(json_t *tools, const json_t *group)
{
    const json_t *name = json_object_get(group, "name"), *list = json_object_get(group, "tools");
    size_t i;
    json_t *tool;
    json_array_foreach(list, i, tool)
    {
        if (strcmp(text_of(tool, "type"), "function") != 0)
            return false;
        add_function(tools, tool, name);
    }
    return json_is_string(name) && json_is_array(list);
}

/* Codex says so of a search that is not to leave the house: nobody searches here. */
static bool is_no_search(const json_t *tool)
{
    return strcmp(text_of(tool, "type"), "web_search") == 0 &&
           json_is_false(json_object_get(tool, "external_web_access"));
}

static bool read_response_tools(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *tool, *tools = parser_own(p, json_array());
    if (!json_is_array(value))
        return parser_refuse(p, name, "must be a list");
    json_array_foreach(value, i, tool)
    {
        const char *type = text_of(tool, "type");
        bool taken = is_no_search(tool);
        if (strcmp(type, "namespace") == 0)
            taken = add_namespace(tools, tool);
        else if (strcmp(type, "function") == 0)
            add_function(tools, tool, NULL), taken = true;
        if (!taken)
            return api_error_set(p->error, 400, NULL, name,
                                 "'tools[%zu]' is of the type '%.64s', which this server does not "
                                 "have: tools are functions, and namespaces of functions",
                                 i, type);
    }
    return read_tools(p, name, tools);
}

/* {"type": "function", "name"} is the chat completions' with another wrapping. */
static bool read_response_choice(parser *p, const char *name, json_t *value)
{
    if (!json_is_object(value) || json_object_get(value, "name") == NULL)
        return read_tool_choice(p, name, value);
    return read_tool_choice(
        p, name,
        parser_own(p, json_pack("{s:s, s:{s:O}}", "type", "function", "function", "name",
                                json_object_get(value, "name"))));
}

static bool read_reasoning(parser *p, const char *name, json_t *value)
{
    json_t *effort = json_object_get(value, "effort");
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object");
    return effort == NULL || json_is_null(effort) || read_reasoning_effort(p, name, effort);
}

static bool read_text(parser *p, const char *name, json_t *value)
{
    const char *type = text_of(json_object_get(value, "format"), "type");
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object");
    return type[0] == '\0' || read_response_format(p, name, json_object_get(value, "format"));
}

static bool add_previous(parser *p, conversation *c)
{
    json_t *earlier = p->store != NULL && p->previous != NULL
                          ? response_store_messages(p->store, p->previous)
                          : NULL;
    if (p->previous != NULL && earlier == NULL)
        return api_error_set(p->error, 404, "previous_response_not_found", "previous_response_id",
                             "the response '%.48s' is not remembered", p->previous);
    json_array_extend(c->messages, earlier);
    json_decref(earlier);
    return true;
}

/* The instructions are this request's alone: they are not remembered. */
static bool finish_responses(parser *p)
{
    conversation c = {.messages = parser_own(p, json_array())};
    if (p->messages == NULL)
        return parser_refuse(p, "input", "is missing: a string or a list of items");
    if (!add_previous(p, &c) || !take_input(p, &c))
        return false;
    if (c.thought != NULL)
        turn_of(&c);
    if (p->out->manner.is_stored)
        p->out->conversation = json_copy(c.messages);
    if (p->system != NULL)
        json_array_insert_new(c.messages, 0,
                              json_pack("{s:s, s:O}", "role", "system", "content", p->system));
    return read_messages(p, "input", c.messages) && finish_chat(p);
}

static const request_field fields[] = {
    {.name = "model", .read = read_model},
    {.name = "input", .read = read_input},
    {.name = "instructions", .read = read_instructions},
    {.name = "previous_response_id", .read = read_previous},
    {.name = "store", .read = read_store},
    {.name = "max_output_tokens", .read = read_max_tokens},
    {.name = "temperature", .read = read_temperature},
    {.name = "top_p", .read = read_top_p},
    {.name = "stream", .read = read_stream},
    {.name = "stream_options", .read = read_stream_options},
    {.name = "tools", .read = read_response_tools},
    {.name = "tool_choice", .read = read_response_choice},
    {.name = "reasoning", .read = read_reasoning},
    {.name = "text", .read = read_text},
    {.name = "service_tier", .read = read_service_tier},
    {.name = "user", .read = read_user},
    {.name = "seed", .read = read_seed},
    {.name = "chat_template_kwargs", .read = read_template_variables},

    {.name = "metadata", .hint = field_is_object, .type = "an object"},
    {.name = "client_metadata", .hint = field_is_object, .type = "an object"},
    {.name = "include", .hint = field_is_list, .type = "a list"},
    {.name = "parallel_tool_calls", .read = read_parallel_calls},
    {.name = "max_tool_calls", .hint = field_is_number, .type = "a number"},
    {.name = "truncation", .hint = field_is_text, .type = "a string"},
    {.name = "prompt_cache_key", .hint = field_is_text, .type = "a string"},
    {.name = "prompt_cache_retention", .hint = field_is_text, .type = "a string"},
    {.name = "safety_identifier", .hint = field_is_text, .type = "a string"},
    {.name = "background", .only = {"false"}},
    {.name = "top_logprobs", .only = {"0"}},
    {.name = NULL},
};

const request_form responses_form = {
    .tables = {fields}, .finish = finish_responses, .is_stored = true};
