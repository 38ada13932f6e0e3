/* request_messages.c: the conversation of a chat request. */
#include "server/request_parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define CONTENT_MAX_PARTS 1024

static bool refuse_message(parser *p, size_t index, const char *field, const char *what)
{
    char param[96];
    snprintf(param, sizeof param, "messages[%zu]%s%.40s", index, field[0] ? "." : "", field);
    return parser_refuse(p, param, what);
}

static bool is_one_of(const char *text, const char *const *list, size_t n)
{
    for (size_t i = 0; text != NULL && i < n; i++)
        if (strcmp(text, list[i]) == 0)
            return true;
    return false;
}

#define IS_ONE_OF(text, list) is_one_of(text, list, sizeof(list) / sizeof *(list))

/* What says nothing to a model: who speaks, what to keep in a cache. */
static bool is_hint(const char *key)
{
    static const char *const hints[] = {"name", "id", "cache_control", "annotations", "citations"};
    return IS_ONE_OF(key, hints);
}

/* ---- checking -------------------------------------------------------------------------------- */

static bool check_part(parser *p, size_t index, json_t *part)
{
    static const char *const types[] = {"text", "input_text", "output_text"};
    const char *key;
    json_t *value;
    if (!IS_ONE_OF(json_string_value(json_object_get(part, "type")), types))
        return refuse_message(p, index, "content",
                              "may only have parts of type 'text': the models read text");
    bool is_known = json_is_string(json_object_get(part, "text"));
    json_object_foreach(part, key, value)
    {
        is_known = is_known && (strcmp(key, "type") == 0 || strcmp(key, "text") == 0 ||
                                is_hint(key) || json_is_null(value) || json_is_array(value));
    }
    return is_known ||
           refuse_message(p, index, "content",
                          "must have parts of the form {\"type\": \"text\", \"text\": …}");
}

static bool check_parts(parser *p, size_t index, json_t *parts)
{
    size_t i;
    json_t *part;
    if (json_array_size(parts) == 0 || json_array_size(parts) > CONTENT_MAX_PARTS)
        return refuse_message(p, index, "content", "must have from 1 to 1024 parts");
    json_array_foreach(parts, i, part)
    {
        if (!check_part(p, index, part))
            return false;
    }
    return true;
}

static const char *message_role(const json_t *message)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *name = json_string_value(json_object_get(message, "role"));
    if (name != NULL && strcmp(name, "developer") == 0)
        return "system"; /* OpenAI's newer name for the same thing */
    return IS_ONE_OF(name, roles) ? name : NULL;
}

static bool is_from(const json_t *message, const char *role)
{
    const char *name = message_role(message);
    return name != NULL && strcmp(name, role) == 0;
}

static bool check_call(parser *p, size_t index, json_t *call)
{
    json_t *function = json_object_get(call, "function");
    if (json_is_string(json_object_get(function, "name")) &&
        (json_is_string(json_object_get(function, "arguments")) ||
         json_is_object(json_object_get(function, "arguments"))))
        return true;
    return refuse_message(p, index, "tool_calls",
                          "must have calls of the form {\"id\", \"type\": \"function\", "
                          "\"function\": {\"name\", \"arguments\"}}");
}

static bool check_calls(parser *p, size_t index, const json_t *message, json_t *calls)
{
    size_t i;
    json_t *call;
    if (!json_is_array(calls) || (json_array_size(calls) > 0 && !is_from(message, "assistant")))
        return refuse_message(p, index, "tool_calls", "must be a list, of an assistant's message");
    json_array_foreach(calls, i, call)
    {
        if (!check_call(p, index, call))
            return false;
    }
    return true;
}

/* A client's library sends back the message it was given, with its empty fields. */
static bool check_message_field(parser *p, size_t index, const json_t *message, const char *key,
                                json_t *value)
{
    static const char *const texts[] = {"reasoning_content", "reasoning", "thinking",
                                        "tool_call_id", "tool_name"};
    static const char *const read[] = {"role", "content"};
    bool is_empty = json_is_array(value) && json_array_size(value) == 0;
    if (IS_ONE_OF(key, read) || is_hint(key) || json_is_null(value) || is_empty)
        return true;
    if (strcmp(key, "tool_calls") == 0)
        return check_calls(p, index, message, value);
    if (IS_ONE_OF(key, texts))
        return json_is_string(value) || refuse_message(p, index, key, "must be a string");
    return refuse_message(p, index, key, "is not supported; a message has 'role' and 'content'");
}

static bool has_calls(const json_t *message)
{
    return json_array_size(json_object_get(message, "tool_calls")) > 0;
}

static bool check_message(parser *p, size_t index, json_t *message)
{
    if (!json_is_object(message))
        return refuse_message(p, index, "", "must be an object with 'role' and 'content'");
    const char *key;
    json_t *value;
    json_object_foreach(message, key, value)
    {
        if (!check_message_field(p, index, message, key, value))
            return false;
    }
    if (message_role(message) == NULL)
        return refuse_message(p, index, "role",
                              "must be 'system', 'developer', 'user', 'assistant' or 'tool'");
    json_t *content = json_object_get(message, "content");
    if (json_is_array(content) && (json_array_size(content) > 0 || !has_calls(message)))
        return check_parts(p, index, content);
    if (!json_is_string(content) && !has_calls(message))
        return refuse_message(p, index, "content", "must be a string or a list of text parts");
    return true;
}

bool read_messages(parser *p, const char *name, json_t *value)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        return parser_refuse(p, name, "must be a list of at least one message");
    size_t i;
    json_t *message;
    json_array_foreach(value, i, message)
    {
        if (!check_message(p, i, message))
            return false;
    }
    p->messages = value;
    return true;
}

/* ---- texts ----------------------------------------------------------------------------------- */

static size_t parts_length(json_t *content)
{
    size_t i, length = 0;
    json_t *part;
    json_array_foreach(content, i, part)
    {
        length += json_string_length(json_object_get(part, "text"));
    }
    return length;
}

/* Writes the message's text behind *end, when it came in parts. */
static chat_message make_message(const json_t *message, char **end)
{
    size_t k;
    json_t *part, *content = json_object_get(message, "content");
    chat_message m = {.role = message_role(message), .content = ""};
    if (json_is_string(content)) {
        m.content = json_string_value(content);
        m.content_length = json_string_length(content);
    }
    if (!json_is_array(content))
        return m;
    m.content = *end;
    json_array_foreach(content, k, part)
    {
        json_t *text = json_object_get(part, "text");
        memcpy(*end, json_string_value(text), json_string_length(text));
        *end += json_string_length(text);
    }
    m.content_length = (size_t)(*end - m.content);
    return m;
}

/* Both lengths are bounded by the body's: the sum cannot overflow. */
static bool make_messages(parser *p)
{
    chat_request *out = p->out;
    size_t n = json_array_size(p->messages), joined_length = 0, i;
    json_t *message;
    json_array_foreach(p->messages, i, message)
    {
        joined_length += parts_length(json_object_get(message, "content"));
    }
    out->messages = calloc(n, sizeof *out->messages);
    out->joined = malloc(joined_length + 1);
    if (out->messages == NULL || out->joined == NULL)
        return parser_no_memory(p, "messages");
    char *end = out->joined;
    json_array_foreach(p->messages, i, message)
    {
        out->messages[i] = make_message(message, &end);
    }
    *end = '\0';
    out->request.messages = out->messages;
    out->request.n_messages = n;
    return true;
}

/* ---- what plain messages do not hold --------------------------------------------------------- */

static const char *thought_of(const json_t *message)
{
    static const char *const keys[] = {"reasoning_content", "reasoning", "thinking"};
    const char *thought = NULL;
    for (size_t i = 0; thought == NULL && i < sizeof keys / sizeof *keys; i++)
        thought = json_string_value(json_object_get(message, keys[i]));
    return thought;
}

static bool is_plain(const json_t *message)
{
    return !is_from(message, "tool") && !has_calls(message) && thought_of(message) == NULL;
}

/* Templates write arguments as the objects that they are. */
static json_t *template_call(parser *p, const json_t *call)
{
    const json_t *function = json_object_get(call, "function");
    json_t *arguments = json_object_get(function, "arguments"), *value = NULL;
    error_code code = OK;
    json_error_t error;
    if (json_is_string(arguments))
        value = json_read(json_string_value(arguments), json_string_length(arguments),
                          JSON_ALLOW_NUL | JSON_DECODE_ANY, &error, &code);
    p->lacks_memory = p->lacks_memory || (value == NULL && code == ERR_MEMORY);
    return json_pack("{s:s, s:O?, s:{s:O, s:o}}", "type", "function", "id",
                     json_object_get(call, "id"), "function", "name",
                     json_object_get(function, "name"), "arguments",
                     value != NULL ? value : json_incref(arguments));
}

/* The name of the function whose call a tool's message answers. */
static json_t *called_name(const json_t *messages, size_t before, const char *id)
{
    for (size_t i = before; id != NULL && i-- > 0;) {
        size_t k;
        json_t *call, *calls = json_object_get(json_array_get(messages, i), "tool_calls");
        json_array_foreach(calls, k, call)
        {
            const char *other = json_string_value(json_object_get(call, "id"));
            if (other != NULL && strcmp(other, id) == 0)
                return json_object_get(json_object_get(call, "function"), "name");
        }
    }
    return NULL;
}

static json_t *template_message(parser *p, size_t index, const chat_message *plain)
{
    const json_t *messages = p->messages;
    const json_t *message = json_array_get(messages, index);
    json_t *made = json_pack("{s:s, s:o}", "role", plain->role, "content",
                             json_text(plain->content, plain->content_length));
    json_t *id = json_object_get(message, "tool_call_id"), *name = json_object_get(message, "name");
    const char *thought = thought_of(message);
    if (thought != NULL)
        json_object_set_new(made, "reasoning_content", json_text(thought, strlen(thought)));
    if (json_is_string(id))
        json_object_set(made, "tool_call_id", id);
    if (is_from(message, "tool") && !json_is_string(name))
        name = json_object_get(message, "tool_name");
    if (is_from(message, "tool") && !json_is_string(name))
        name = called_name(messages, index, json_string_value(id));
    if (json_is_string(name))
        json_object_set(made, "name", name);
    if (!has_calls(message))
        return made;
    json_t *calls = json_array(), *call;
    size_t k;
    json_array_foreach(json_object_get(message, "tool_calls"), k, call)
    {
        json_array_append_new(calls, template_call(p, call));
    }
    json_object_set_new(made, "tool_calls", calls);
    return made;
}

/* The first `n` messages, as templates read them. */
static bool write_messages(parser *p, size_t n)
{
    chat_request *out = p->out;
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, template_message(p, i, &out->messages[i]));
    out->request.chat.messages_json = parser_keep_json(p, "messages", list);
    json_decref(list);
    return out->request.chat.messages_json != NULL;
}

/* The last message is no turn of its own, but the beginning of the reply. */
static bool begin_reply(parser *p)
{
    request *r = &p->out->request;
    const chat_message *last = &r->messages[r->n_messages - 1];
    if (r->n_messages < 2 || !is_from(json_array_get(p->messages, r->n_messages - 1), "assistant"))
        return parser_refuse(p, "messages",
                             "must end with an assistant's message behind another "
                             "one, for the reply to go on with");
    r->chat.begun = last->content;
    r->chat.begun_length = last->content_length;
    r->n_messages--;
    return true;
}

bool finish_chat(parser *p)
{
    if (p->messages == NULL)
        return parser_refuse(p, "messages", "is missing: a list of {\"role\", \"content\"}");
    if (p->continues && p->begins)
        return parser_refuse_difference(p, "add_generation_prompt", "continue_final_message");
    if (!make_messages(p) || (p->continues && !begin_reply(p)))
        return false;
    bool is_all_plain = true;
    size_t n = p->out->request.n_messages;
    for (size_t i = 0; i < n; i++)
        is_all_plain = is_all_plain && is_plain(json_array_get(p->messages, i));
    return (is_all_plain || write_messages(p, n)) && finish_tools(p);
}
