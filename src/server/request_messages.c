/* request_messages.c: the conversation of a chat request. */
#include "server/request_parser.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTENT_MAX_PARTS 1024

static bool refuse_message(parser *p, size_t index, const char *field, const char *what)
{
    char param[96];
    snprintf(param, sizeof param, "messages[%zu]%s%.40s", index, field[0] ? "." : "", field);
    return parser_refuse(p, param, what);
}

/* What says nothing to a model: who speaks, what to keep in a cache. */
static bool is_hint(const char *key)
{
    static const char *const hints[] = {"name", "id", "cache_control"};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++)
        if (strcmp(key, hints[i]) == 0)
            return true;
    return false;
}

static bool check_part(parser *p, size_t index, json_t *part)
{
    const char *key, *type = json_string_value(json_object_get(part, "type"));
    json_t *value;
    if (type == NULL || strcmp(type, "text") != 0)
        return refuse_message(p, index, "content",
                              "may only have parts of type 'text': the models read text");
    bool is_known = json_is_string(json_object_get(part, "text"));
    json_object_foreach(part, key, value)
    {
        is_known = is_known && (strcmp(key, "type") == 0 || strcmp(key, "text") == 0 ||
                                is_hint(key) || json_is_null(value));
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

static const char *message_role(json_t *role)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    const char *name = json_string_value(role);
    if (name != NULL && strcmp(name, "developer") == 0)
        return "system"; /* OpenAI's newer name for the same thing */
    for (size_t i = 0; name != NULL && i < sizeof roles / sizeof *roles; i++)
        if (strcmp(name, roles[i]) == 0)
            return roles[i];
    return NULL;
}

/* A client's library sends back the message it was given, with its empty fields. */
static bool check_message_field(parser *p, size_t index, const char *key, json_t *value)
{
    static const char *const lists[] = {"tool_calls", "annotations"};
    if (strcmp(key, "role") == 0 || strcmp(key, "content") == 0 || is_hint(key) ||
        json_is_null(value))
        return true;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (strcmp(key, lists[i]) == 0 && json_is_array(value) && json_array_size(value) == 0)
            return true;
    return refuse_message(p, index, key, "is not supported; a message has 'role' and 'content'");
}

static bool check_message(parser *p, size_t index, json_t *message)
{
    if (!json_is_object(message))
        return refuse_message(p, index, "", "must be an object with 'role' and 'content'");
    const char *key;
    json_t *value;
    json_object_foreach(message, key, value)
    {
        if (!check_message_field(p, index, key, value))
            return false;
    }
    if (message_role(json_object_get(message, "role")) == NULL)
        return refuse_message(p, index, "role",
                              "must be 'system', 'developer', 'user' or 'assistant'");
    json_t *content = json_object_get(message, "content");
    if (json_is_array(content))
        return check_parts(p, index, content);
    if (!json_is_string(content))
        return refuse_message(p, index, "content", "must be a string or a list of text parts");
    return true;
}

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

/* Both lengths are bounded by the body's: the sum cannot overflow. */
static bool make_messages(parser *p, json_t *list)
{
    chat_request *out = p->out;
    size_t n = json_array_size(list), joined_length = 0, i, k;
    json_t *message, *part;
    json_array_foreach(list, i, message)
    {
        joined_length += parts_length(json_object_get(message, "content"));
    }
    out->messages = calloc(n, sizeof *out->messages);
    out->joined = malloc(joined_length + 1);
    if (out->messages == NULL || out->joined == NULL)
        return api_error_set(p->error, 503, NULL, "messages", "no memory for the messages");
    char *end = out->joined;
    json_array_foreach(list, i, message)
    {
        json_t *content = json_object_get(message, "content");
        chat_message *m = &out->messages[i];
        m->role = message_role(json_object_get(message, "role"));
        m->content = json_string_value(content);
        m->content_length = json_string_length(content);
        if (!json_is_array(content))
            continue;
        m->content = end;
        json_array_foreach(content, k, part)
        {
            json_t *text = json_object_get(part, "text");
            memcpy(end, json_string_value(text), json_string_length(text));
            end += json_string_length(text);
        }
        m->content_length = (size_t)(end - m->content);
    }
    *end = '\0';
    out->request.messages = out->messages;
    out->request.n_messages = n;
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
    return make_messages(p, value);
}
