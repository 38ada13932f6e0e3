/* request_tools.c: tools, and what else a template is told of a request. */
#include "server/request_parser.h"

#include <string.h>

/* ---- tools ----------------------------------------------------------------------------------- */

static bool is_absent(const json_t *value)
{
    return value == NULL || json_is_null(value);
}

static bool is_function(const json_t *function)
{
    json_t *parameters = json_object_get(function, "parameters");
    json_t *strict = json_object_get(function, "strict");
    return json_string_length(json_object_get(function, "name")) > 0 &&
           (is_absent(parameters) || json_is_object(parameters)) &&
           (is_absent(strict) || json_is_boolean(strict));
}

static bool is_strict(const json_t *tool)
{
    return json_is_true(json_object_get(json_object_get(tool, "function"), "strict"));
}

json_t *tool_strictness(const json_t *tool)
{
    json_t *strict = json_object_get(tool, "strict");
    return is_absent(strict) || json_is_false(strict) ? NULL : strict;
}

bool read_tools(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *tool;
    if (!json_is_array(value))
        return parser_refuse(p, name, "must be a list");
    json_array_foreach(value, i, tool)
    {
        const char *type = json_string_value(json_object_get(tool, "type"));
        if (type == NULL || strcmp(type, "function") != 0 ||
            !is_function(json_object_get(tool, "function")))
            return api_error_set(p->error, 400, NULL, name,
                                 "'%s[%zu]' must be {\"type\": \"function\", \"function\": "
                                 "{\"name\", \"description\", \"parameters\", \"strict\"}}",
                                 name, i);
        p->binds_calls = p->binds_calls || is_strict(tool);
    }
    p->tools = value;
    return true;
}

/* OpenAI's older form: functions without a wrapper. */
bool read_functions(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *function, *tools = parser_own(p, json_array());
    json_array_foreach(value, i, function)
    {
        json_array_append_new(tools,
                              json_pack("{s:s, s:O}", "type", "function", "function", function));
    }
    return json_is_array(value) ? read_tools(p, name, tools)
                                : parser_refuse(p, name, "must be a list");
}

/* The function's name of {"type": "function", "function": {"name"}}, or of the older {"name"}. */
static const char *chosen_function(json_t *choice)
{
    json_t *function = json_object_get(choice, "function");
    return json_string_value(json_object_get(function != NULL ? function : choice, "name"));
}

bool read_tool_choice(parser *p, const char *name, json_t *value)
{
    request_chat *chat = &p->out->request.chat;
    const char *choice = json_is_string(value) ? json_string_value(value) : "";
    chat->called = chosen_function(value);
    chat->must_call = chat->called != NULL || strcmp(choice, "required") == 0;
    chat->calls_once = chat->calls_once || chat->called != NULL;
    p->hides_tools = strcmp(choice, "none") == 0;
    if (chat->must_call)
        p->tool_choice = name;
    return chat->must_call || p->hides_tools || strcmp(choice, "auto") == 0 ||
           parser_refuse(p, name, "must be 'auto', 'none', 'required' or name a function");
}

/* False: a reply that must call does it once. Without that, it is for the model to decide. */
bool read_parallel_calls(parser *p, const char *name, json_t *value)
{
    bool are_parallel = true;
    if (!parser_read_flag(p, name, value, &are_parallel))
        return false;
    p->out->request.chat.calls_once = p->out->request.chat.calls_once || !are_parallel;
    return true;
}

static bool is_text(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type"), *one;
    const json_t *all = json_object_get(schema, "enum");
    size_t i;
    if (type != NULL)
        return json_is_string(type) && strcmp(json_string_value(type), "string") == 0;
    json_array_foreach(all, i, one)
    {
        if (!json_is_string(one))
            return false;
    }
    return json_array_size(all) > 0;
}

/* Models that write calls as elements leave it to the schema what a parameter's text is. */
static json_t *texts_of(const json_t *tools)
{
    json_t *all = json_object(), *tool, *schema;
    const char *key;
    size_t i;
    json_array_foreach(tools, i, tool)
    {
        const json_t *function = json_object_get(tool, "function");
        json_t *texts = json_object(),
               *list = json_object_get(json_object_get(function, "parameters"), "properties");
        json_object_foreach(list, key, schema)
        {
            if (is_text(schema))
                json_object_set_new(texts, key, json_true());
        }
        json_object_set_new(all, json_string_value(json_object_get(function, "name")), texts);
    }
    return all;
}

bool finish_tools(parser *p)
{
    chat_request *out = p->out;
    request_chat *chat = &out->request.chat;
    if (chat->must_call && json_array_size(p->tools) == 0)
        return parser_refuse(p, p->tool_choice, "asks for a call, but there are no tools");
    if (chat->must_call && p->grammar != NULL)
        return parser_refuse_difference(p, p->tool_choice, p->grammar);
    if (json_array_size(p->tools) > 0 && !p->hides_tools) {
        chat->tools_json = parser_keep_json(p, "tools", p->tools);
        out->texts = texts_of(p->tools);
        out->manner.takes_calls = true;
        out->manner.binds_calls = chat->binds_calls = p->binds_calls && p->grammar == NULL;
        if (chat->tools_json == NULL)
            return false;
    }
    if (p->variables != NULL)
        chat->variables_json = parser_keep_json(p, "chat_template_kwargs", p->variables);
    return p->variables == NULL || chat->variables_json != NULL;
}

/* ---- what the template is told --------------------------------------------------------------- */

bool parser_set_variable(parser *p, const char *name, json_t *value)
{
    if (p->variables == NULL)
        p->variables = json_object();
    return json_object_set_new(p->variables, name, value) == 0 || parser_no_memory(p, name);
}

bool read_template_variables(parser *p, const char *name, json_t *value)
{
    const char *key;
    json_t *variable;
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object of what the chat template is told");
    json_object_foreach(value, key, variable)
    {
        if (!parser_set_variable(p, key, json_incref(variable)))
            return false;
    }
    return true;
}

bool read_reasoning_effort(parser *p, const char *name, json_t *value)
{
    const char *effort = json_string_value(value);
    if (effort == NULL)
        return parser_refuse(p, name, "must be a string");
    return parser_set_variable(p, "reasoning_effort", json_incref(value)) &&
           (strcmp(effort, "none") != 0 || parser_set_variable(p, "enable_thinking", json_false()));
}

bool read_reasoning_format(parser *p, const char *name, json_t *value)
{
    static const char *const apart[] = {"auto", "deepseek", "deepseek-legacy"};
    const char *format = json_string_value(value);
    p->out->manner.keeps_thoughts = false;
    if (format != NULL && strcmp(format, "none") == 0)
        return true;
    for (size_t i = 0; format != NULL && i < sizeof apart / sizeof *apart; i++)
        p->out->manner.keeps_thoughts |= strcmp(format, apart[i]) == 0;
    return p->out->manner.keeps_thoughts ||
           parser_refuse(p, name, "must be 'auto', 'deepseek' or 'none'");
}

bool read_documents(parser *p, const char *name, json_t *value)
{
    if (!json_is_array(value))
        return parser_refuse(p, name, "must be a list");
    p->out->request.chat.documents_json = parser_keep_json(p, name, value);
    return p->out->request.chat.documents_json != NULL;
}

/* ---- a reply that is begun ------------------------------------------------------------------- */

bool read_continue(parser *p, const char *name, json_t *value)
{
    bool continues = false;
    if (!parser_read_flag(p, name, value, &continues))
        return false;
    p->continues = p->continues || continues;
    return true;
}

bool read_generation_prompt(parser *p, const char *name, json_t *value)
{
    bool begins = true;
    if (!parser_read_flag(p, name, value, &begins))
        return false;
    p->continues = p->continues || !begins;
    p->begins = begins;
    return true;
}
