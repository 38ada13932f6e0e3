/* request_grammar.c: what a reply must match, by the names that OpenAI's, vLLM's and llama-server's
 * clients have for it. */
#include "server/request_parser.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

/* `text` is taken over; NULL: there was no memory. */
static bool keep(parser *p, const char *name, grammar_kind kind, char *text)
{
    reply_grammar *g = &p->out->request.grammar;
    if (text == NULL)
        return api_error_set(p->error, 503, "out_of_memory", name, "no memory for '%s'", name);
    if (p->grammar != NULL && (g->kind != kind || strcmp(g->text, text) != 0)) {
        free(text);
        return parser_refuse_difference(p, name, p->grammar);
    }
    free(p->out->grammar_text);
    p->out->grammar_text = text;
    p->grammar = name;
    *g = (reply_grammar){kind, text};
    return true;
}

/* ---- kinds ---------------------------------------------------------------------------------- */

/* Clients write schemas as JSON, or as a text that holds it. */
bool read_schema(parser *p, const char *name, json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL && !json_is_object(value) && !json_is_boolean(value))
        return parser_refuse(p, name, "must be a JSON Schema");
    return keep(p, name, GRAMMAR_JSON_SCHEMA,
                text != NULL ? strdup(text) : parser_write_json(value));
}

static bool keep_text(parser *p, const char *name, grammar_kind kind, json_t *value)
{
    const char *text = json_string_value(value);
    if (text == NULL || strlen(text) != json_string_length(value) || text[0] == '\0')
        return parser_refuse(p, name, "must be a string, not empty and without U+0000");
    return keep(p, name, kind, strdup(text));
}

bool read_grammar(parser *p, const char *name, json_t *value)
{
    const char *text = json_string_value(value);
    return keep_text(p, name, grammar_language(text != NULL ? text : ""), value);
}

bool read_guided_regex(parser *p, const char *name, json_t *value)
{
    return keep_text(p, name, GRAMMAR_REGEX, value);
}

bool read_guided_choice(parser *p, const char *name, json_t *value)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        return parser_refuse(p, name, "must be a list of strings");
    return keep(p, name, GRAMMAR_CHOICE, parser_write_json(value));
}

static bool keep_any_object(parser *p, const char *name)
{
    return keep(p, name, GRAMMAR_JSON_SCHEMA, strdup("{\"type\":\"object\"}"));
}

/* ---- objects of them ------------------------------------------------------------------------ */

typedef struct member {
    const char *key;
    field_reader *read; /* NULL: it is passed over */
} member;

/* Reads what the object has; anything but these members is refused by name. */
static bool read_members(parser *p, const char *name, json_t *object, const member *members)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const member *m = members;
        while (m->key != NULL && strcmp(m->key, key) != 0)
            m++;
        if (m->key == NULL)
            return api_error_set(p->error, 400, NULL, name, "'%s.%s' is not supported", name, key);
        if (m->read != NULL && !json_is_null(value) && !m->read(p, name, value))
            return false;
    }
    return true;
}

static bool read_flagged_object(parser *p, const char *name, json_t *value)
{
    return !json_is_true(value) || keep_any_object(p, name);
}

/* OpenAI's {name, description, schema, strict}; the schema is followed whether it is strict or not.
 */
static bool read_named_schema(parser *p, const char *name, json_t *value)
{
    static const member members[] = {
        {"name", NULL}, {"description", NULL}, {"strict", NULL}, {"schema", read_schema}, {0}};
    if (!json_is_object(value) || json_object_get(value, "schema") == NULL)
        return parser_refuse(p, name, "of type 'json_schema' must have a 'schema'");
    return read_members(p, name, value, members);
}

static bool read_format_object(parser *p, const char *name, json_t *value)
{
    static const member members[] = {{"type", NULL}, {"schema", read_schema}, {0}};
    return read_members(p, name, value, members) &&
           (p->grammar != NULL || keep_any_object(p, name));
}

static bool read_format_schema(parser *p, const char *name, json_t *value)
{
    static const member members[] = {{"type", NULL},
                                     {"json_schema", read_named_schema},
                                     {"name", NULL},
                                     {"description", NULL},
                                     {"strict", NULL},
                                     {"schema", read_schema},
                                     {0}};
    return read_members(p, name, value, members) &&
           (p->grammar != NULL || parser_refuse(p, name, "of type 'json_schema' has no schema"));
}

bool read_response_format(parser *p, const char *name, json_t *value)
{
    const char *type = json_string_value(json_object_get(value, "type"));
    if (type != NULL && strcmp(type, "text") == 0)
        return true;
    if (type != NULL && strcmp(type, "json_object") == 0)
        return read_format_object(p, name, value);
    if (type != NULL && strcmp(type, "json_schema") == 0)
        return read_format_schema(p, name, value);
    return parser_refuse(p, name, "must have the type 'text', 'json_object' or 'json_schema'");
}

/* vLLM's. */
bool read_structured_outputs(parser *p, const char *name, json_t *value)
{
    static const member members[] = {{"json", read_schema},
                                     {"regex", read_guided_regex},
                                     {"choice", read_guided_choice},
                                     {"grammar", read_grammar},
                                     {"json_object", read_flagged_object},
                                     {0}};
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object");
    return read_members(p, name, value, members);
}
