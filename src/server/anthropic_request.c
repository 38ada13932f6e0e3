/*
 * anthropic_request.c: Anthropic's messages. Blocks become the messages that OpenAI would write:
 * all that comes after is the same for both.
 */
#include "server/request_parser.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

static bool refuse(parser *p, size_t index, const char *what)
{
    char param[48];
    snprintf(param, sizeof param, "messages[%zu].content", index);
    return parser_refuse(p, param, what);
}

static const char *type_of(const json_t *block)
{
    const char *type = json_string_value(json_object_get(block, "type"));
    return type != NULL ? type : "";
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* What of one message was found in its blocks. */
typedef struct blocks {
    json_t *texts, *calls; /* parts and calls in OpenAI's form */
    json_t *thought;       /* the block's own */
} blocks;

static json_t *call_of(const json_t *block)
{
    json_t *input = json_object_get(block, "input");
    return json_pack("{s:O?, s:s, s:{s:O?, s:o}}", "id", json_object_get(block, "id"), "type",
                     "function", "function", "name", json_object_get(block, "name"), "arguments",
                     json_is_object(input) ? json_incref(input) : json_object());
}

static bool add_result(parser *p, size_t index, json_t *list, const json_t *block)
{
    json_t *content = json_object_get(block, "content");
    json_t *id = json_object_get(block, "tool_use_id");
    if (!json_is_string(id))
        return refuse(p, index, "has a tool_result without a 'tool_use_id'");
    bool is_empty = content == NULL || json_is_null(content) ||
                    (json_is_array(content) && json_array_size(content) == 0);
    json_array_append_new(list,
                          json_pack("{s:s, s:O, s:o}", "role", "tool", "tool_call_id", id,
                                    "content", is_empty ? json_string("") : json_incref(content)));
    return true;
}

/* A tool's result is a message of its own, before what the user says. */
static bool take_block(parser *p, size_t index, json_t *list, json_t *block, blocks *found)
{
    const char *type = type_of(block);
    if (strcmp(type, "tool_result") == 0)
        return add_result(p, index, list, block);
    if (strcmp(type, "text") == 0)
        return json_array_append(found->texts, block) == 0 || parser_no_memory(p, "messages");
    if (strcmp(type, "tool_use") == 0)
        return json_array_append_new(found->calls, call_of(block)) == 0 ||
               parser_no_memory(p, "messages");
    if (strcmp(type, "thinking") == 0)
        found->thought = json_object_get(block, "thinking");
    return strcmp(type, "thinking") == 0 || strcmp(type, "redacted_thinking") == 0 ||
           refuse(p, index,
                  "may only have blocks of the types text, tool_use, tool_result and thinking: the "
                  "models read text");
}

static void add_found(json_t *list, json_t *role, const blocks *found)
{
    bool has_calls = json_array_size(found->calls) > 0;
    if (json_array_size(found->texts) == 0 && !has_calls)
        return;
    json_t *message = json_pack("{s:O, s:O}", "role", role, "content", found->texts);
    if (json_array_size(found->texts) == 0)
        json_object_set_new(message, "content", json_null());
    if (has_calls)
        json_object_set(message, "tool_calls", found->calls);
    if (json_is_string(found->thought))
        json_object_set(message, "reasoning_content", found->thought);
    json_array_append_new(list, message);
}

static bool add_message(parser *p, size_t index, json_t *list, json_t *message)
{
    json_t *content = json_object_get(message, "content"), *role = json_object_get(message, "role");
    size_t i;
    json_t *block;
    if (!json_is_array(content))
        return json_array_append(list, message) == 0 || parser_no_memory(p, "messages");
    blocks found = {.texts = json_array(), .calls = json_array()};
    bool is_read = true;
    json_array_foreach(content, i, block)
    {
        is_read = is_read && take_block(p, index, list, block, &found);
    }
    if (is_read)
        add_found(list, role, &found);
    json_decref(found.texts);
    json_decref(found.calls);
    return is_read;
}

/* ---- fields ---------------------------------------------------------------------------------- */

static bool read_anthropic_messages(parser *p, const char *name, json_t *value)
{
    p->messages = value;
    return json_is_array(value) || parser_refuse(p, name, "must be a list of messages");
}

static bool read_system(parser *p, const char *name, json_t *value)
{
    p->system = value;
    return json_is_string(value) || json_is_array(value) ||
           parser_refuse(p, name, "must be a string or a list of text blocks");
}

static bool read_anthropic_tools(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *tool, *tools = parser_own(p, json_array());
    if (!json_is_array(value))
        return parser_refuse(p, name, "must be a list");
    json_array_foreach(value, i, tool)
    {
        const char *type = type_of(tool);
        if (type[0] != '\0' && strcmp(type, "custom") != 0)
            return api_error_set(p->error, 400, NULL, name,
                                 "'tools[%zu]' is of the type '%.64s', which this server does not "
                                 "have: tools have 'name', 'description' and 'input_schema'",
                                 i, type);
        json_array_append_new(tools,
                              json_pack("{s:s, s:{s:O?, s:O*, s:O*, s:O*}}", "type", "function",
                                        "function", "name", json_object_get(tool, "name"),
                                        "description", json_object_get(tool, "description"),
                                        "parameters", json_object_get(tool, "input_schema"),
                                        "strict", tool_strictness(tool)));
    }
    return read_tools(p, name, tools);
}

/* {"type": "auto"} …: OpenAI's by other names. */
static bool read_anthropic_choice(parser *p, const char *name, json_t *value)
{
    const char *type = type_of(value);
    json_t *choice = strcmp(type, "any") == 0 ? json_string("required")
                     : strcmp(type, "tool") == 0
                         ? json_pack("{s:s, s:{s:O?}}", "type", "function", "function", "name",
                                     json_object_get(value, "name"))
                         : json_string(type);
    json_t *once = json_object_get(value, "disable_parallel_tool_use");
    return read_tool_choice(p, name, parser_own(p, choice)) &&
           read_parallel_calls(p, name, json_boolean(!json_is_true(once)));
}

static bool read_thinking(parser *p, const char *name, json_t *value)
{
    const char *type = type_of(value);
    bool is_off = strcmp(type, "disabled") == 0;
    if (!is_off && strcmp(type, "enabled") != 0 && strcmp(type, "adaptive") != 0)
        return parser_refuse(p, name, "must have the type 'enabled', 'adaptive' or 'disabled'");
    return parser_set_variable(p, "enable_thinking", json_boolean(!is_off));
}

static bool read_output_config(parser *p, const char *name, json_t *value)
{
    const char *key;
    json_t *setting;
    json_object_foreach(value, key, setting)
    {
        bool is_format = strcmp(key, "format") == 0;
        if (strcmp(key, "effort") != 0 && !is_format && !json_is_null(setting))
            return parser_refuse(p, name, "is only supported with 'effort' and 'format'");
        if (is_format && !json_is_null(setting) && !read_response_format(p, name, setting))
            return false;
    }
    json_t *effort = json_object_get(value, "effort");
    return effort == NULL || json_is_null(effort) || read_reasoning_effort(p, name, effort);
}

static bool read_anthropic_tier(parser *p, const char *name, json_t *value)
{
    const char *tier = json_string_value(value);
    return (tier != NULL && (strcmp(tier, "auto") == 0 || strcmp(tier, "standard_only") == 0)) ||
           parser_refuse(p, name, "must be 'auto' or 'standard_only'");
}

static bool read_metadata(parser *p, const char *name, json_t *value)
{
    json_t *user = json_object_get(value, "user_id");
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object");
    return user == NULL || json_is_null(user) || read_user(p, name, user);
}

static bool finish_anthropic(parser *p)
{
    size_t i;
    json_t *message, *given = p->messages, *list = parser_own(p, json_array());
    if (given == NULL)
        return parser_refuse(p, "messages", "is missing: a list of {\"role\", \"content\"}");
    if (p->system != NULL && (json_is_string(p->system) || json_array_size(p->system) > 0))
        json_array_append_new(list,
                              json_pack("{s:s, s:O}", "role", "system", "content", p->system));
    json_array_foreach(given, i, message)
    {
        if (!add_message(p, i, list, message))
            return false;
    }
    const json_t *last = json_array_get(list, json_array_size(list) - 1);
    const char *role = json_string_value(json_object_get(last, "role"));
    p->continues = role != NULL && strcmp(role, "assistant") == 0 &&
                   json_object_get(last, "tool_calls") == NULL && json_array_size(list) > 1;
    return read_messages(p, "messages", list) && finish_chat(p);
}

static const request_field fields[] = {
    {.name = "model", .read = read_model},
    {.name = "messages", .read = read_anthropic_messages},
    {.name = "system", .read = read_system},
    {.name = "max_tokens", .read = read_max_tokens},
    {.name = "stop_sequences", .read = read_stop},
    {.name = "stream", .read = read_stream},
    {.name = "temperature", .read = read_temperature},
    {.name = "top_p", .read = read_top_p},
    {.name = "top_k", .read = read_top_k},
    {.name = "tools", .read = read_anthropic_tools},
    {.name = "tool_choice", .read = read_anthropic_choice},
    {.name = "thinking", .read = read_thinking},
    {.name = "output_config", .read = read_output_config},
    {.name = "metadata", .read = read_metadata},
    {.name = "service_tier", .read = read_anthropic_tier},
    {.name = "seed", .read = read_seed},
    {.name = "chat_template_kwargs", .read = read_template_variables},

    {.name = "cache_control", .hint = field_is_object, .type = "an object"},
    {.name = "context_management", .hint = field_is_object, .type = "an object"},
    {.name = "inference_geo", .hint = field_is_text, .type = "a string"},
    {.name = "mcp_servers", .only = {"[]"}},
    {.name = NULL},
};

const request_form anthropic_form = {.tables = {fields}, .finish = finish_anthropic};
