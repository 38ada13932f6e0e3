/*
 * request_fields.c: the table of fields (promise 2): each is read, or is a hint that cannot change
 * the text and is passed over, or is refused by name. null is absence, whatever the name.
 */
#include "server/request_parser.h"

#include <string.h>

#include "base/json.h"

/* What a hint must look like: a client that is mistaken should hear of it. */
static bool is_text(const json_t *value)
{
    return json_is_string(value);
}

static bool is_flag(const json_t *value)
{
    return json_is_boolean(value);
}

static bool is_object(const json_t *value)
{
    return json_is_object(value);
}

typedef struct field {
    const char *name;
    field_reader *read;
    bool (*hint)(const json_t *value); /* instead of `read` */
    const char *type;                  /* of a hint, for the message */
    const char *only[3];               /* instead of both: JSON that asks for what is done anyway */
} field;

static const field fields[] = {
    {.name = "messages", .read = read_messages},
    {.name = "model", .read = read_model},
    {.name = "stream", .read = read_stream},
    {.name = "stream_options", .read = read_stream_options},
    {.name = "max_tokens", .read = read_max_tokens},
    {.name = "max_completion_tokens", .read = read_max_tokens},
    {.name = "temperature", .read = read_temperature},
    {.name = "top_p", .read = read_top_p},
    {.name = "top_k", .read = read_top_k},
    {.name = "min_p", .read = read_min_p},
    {.name = "presence_penalty", .read = read_presence_penalty},
    {.name = "frequency_penalty", .read = read_frequency_penalty},
    {.name = "repetition_penalty", .read = read_repetition_penalty},
    {.name = "logit_bias", .read = read_logit_bias},
    {.name = "stop", .read = read_stop},
    {.name = "seed", .read = read_seed},
    {.name = "prompt_lookup_num_tokens", .read = read_lookup},
    {.name = "speculative.n_max", .read = read_lookup},
    {.name = "priority", .read = read_priority},
    {.name = "service_tier", .read = read_service_tier},
    {.name = "deadline_ms", .read = read_deadline},
    {.name = "user", .read = read_user},
    {.name = "response_format", .read = read_response_format},
    {.name = "json_schema", .read = read_schema},
    {.name = "grammar", .read = read_grammar},
    {.name = "guided_json", .read = read_schema},
    {.name = "guided_regex", .read = read_guided_regex},
    {.name = "guided_choice", .read = read_guided_choice},
    {.name = "guided_grammar", .read = read_grammar},
    {.name = "structured_outputs", .read = read_structured_outputs},

    {.name = "metadata", .hint = is_object, .type = "an object"},
    {.name = "store", .hint = is_flag, .type = "true or false"},
    {.name = "prompt_cache_key", .hint = is_text, .type = "a string"},
    {.name = "prompt_cache_retention", .hint = is_text, .type = "a string"},
    {.name = "prompt_cache_options", .hint = is_object, .type = "an object"},
    {.name = "safety_identifier", .hint = is_text, .type = "a string"},
    {.name = "parallel_tool_calls", .hint = is_flag, .type = "true or false"},
    {.name = "verbosity", .hint = is_text, .type = "a string"},

    {.name = "n", .only = {"1"}},
    {.name = "logprobs", .only = {"false"}},
    {.name = "top_logprobs", .only = {"0"}},
    {.name = "tools", .only = {"[]"}},
    {.name = "tool_choice", .only = {"\"none\"", "\"auto\""}},
    {.name = "functions", .only = {"[]"}},
    {.name = "function_call", .only = {"\"none\"", "\"auto\""}},
    {.name = "modalities", .only = {"[\"text\"]"}},
    {.name = "reasoning_effort", .only = {"\"none\""}},
};
#define N_FIELDS (sizeof fields / sizeof *fields)

size_t request_field_count(void)
{
    return N_FIELDS;
}

const char *request_field_name(size_t index)
{
    return fields[index].name;
}

/* 1 and 1.0 are one number. */
static bool is_same(const json_t *value, const char *text)
{
    json_t *wanted = json_loads(text, JSON_DECODE_ANY, NULL);
    bool same = json_is_number(wanted)
                    ? json_is_number(value) && json_number_value(wanted) == json_number_value(value)
                    : json_equal(wanted, value) == 1;
    json_decref(wanted);
    return same;
}

static bool read_only(parser *p, const field *f, const json_t *value)
{
    for (size_t i = 0; f->only[i] != NULL; i++)
        if (is_same(value, f->only[i]))
            return true;
    if (json_was_short())
        return api_error_set(p->error, 503, "out_of_memory", f->name, "no memory for '%s'", f->name);
    bool is_one = f->only[1] == NULL;
    return api_error_set(
        p->error, 400, NULL, f->name, "'%s' is only supported with the value%s %s%s%s", f->name,
        is_one ? "" : "s", f->only[0], is_one ? "" : " and ", is_one ? "" : f->only[1]);
}

static bool read_known(parser *p, const field *f, json_t *value)
{
    if (f->read != NULL)
        return f->read(p, f->name, value);
    if (f->hint == NULL)
        return read_only(p, f, value);
    return f->hint(value) ||
           api_error_set(p->error, 400, NULL, f->name, "'%s' must be %s", f->name, f->type);
}

static bool read_field(parser *p, const char *name, json_t *value)
{
    if (json_is_null(value))
        return true;
    for (size_t i = 0; i < N_FIELDS; i++)
        if (strcmp(name, fields[i].name) == 0)
            return read_known(p, &fields[i], value);
    return api_error_set(p->error, 400, NULL, name,
                         "unknown field '%s': nothing is accepted and ignored", name);
}

bool read_fields(parser *p)
{
    const char *key;
    json_t *value;
    json_object_foreach(p->out->body, key, value)
    {
        if (!read_field(p, key, value))
            return false;
    }
    if (p->out->messages == NULL)
        return parser_refuse(p, "messages", "is missing: a list of {\"role\", \"content\"}");
    if (p->has_stream_options && !p->out->stream)
        return parser_refuse(p, "stream_options", "is for requests with 'stream': true");
    return true;
}
