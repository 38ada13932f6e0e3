#include "server/openai.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CONTENT_MAX_PARTS 1024

typedef struct parser {
    chat_request *out;
    api_error *error;
    json_t *max_tokens; /* what set it, to compare a second name of the same thing with */
    json_t *lookup;
    const char *priority, *deadline; /* the field or header that said it first, or NULL */
    json_t *tier;
    bool has_seed;
    bool has_stream_options;
} parser;

static bool refuse(parser *p, const char *param, const char *what)
{
    return api_error_set(p->error, 400, NULL, param, "'%s' %s", param, what);
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool read_float(parser *p, const char *name, json_t *value, double low, double high,
                       bool above_low, float *out)
{
    double number = json_number_value(value);
    bool in_range =
        json_is_number(value) && number <= high && (above_low ? number > low : number >= low);
    if (!in_range)
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' must be a number %s %g and at most %g", name,
                             above_low ? "above" : "of at least", low, high);
    *out = (float)number;
    return true;
}

static bool read_integer(parser *p, const char *name, json_t *value, int64_t low, int64_t high,
                         int64_t *out)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < low || number > high)
        return api_error_set(p->error, 400, NULL, name, "'%s' must be an integer from %lld to %lld",
                             name, (long long)low, (long long)high);
    *out = number;
    return true;
}

static bool read_temperature(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_TEMPERATURE;
    return read_float(p, name, value, 0, 100, false, &p->out->request.sampling.temperature);
}

static bool read_top_p(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_TOP_P;
    return read_float(p, name, value, 0, 1, true, &p->out->request.sampling.top_p);
}

static bool read_min_p(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_MIN_P;
    return read_float(p, name, value, 0, 1, false, &p->out->request.sampling.min_p);
}

static bool read_repetition_penalty(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_REPETITION_PENALTY;
    return read_float(p, name, value, 0, 100, true, &p->out->request.sampling.repetition_penalty);
}

static bool read_presence_penalty(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_PRESENCE_PENALTY;
    return read_float(p, name, value, -2, 2, false, &p->out->request.sampling.presence_penalty);
}

static bool read_frequency_penalty(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_FREQUENCY_PENALTY;
    return read_float(p, name, value, -2, 2, false, &p->out->request.sampling.frequency_penalty);
}

static bool read_top_k(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!read_integer(p, name, value, 0, INT32_MAX, &number))
        return false;
    p->out->request.sampling.top_k = (uint32_t)number;
    p->out->sampling_given |= CONFIG_TOP_K;
    return true;
}

static bool read_seed(parser *p, const char *name, json_t *value)
{
    if (!read_integer(p, name, value, INT64_MIN, INT64_MAX, &p->out->seed))
        return false;
    p->has_seed = true;
    return true;
}

static bool read_max_tokens(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!read_integer(p, name, value, 1, INT32_MAX, &number))
        return false;
    if (p->max_tokens != NULL && !json_equal(p->max_tokens, value))
        return refuse(p, name,
                      "and the other name of the same limit differ; send one of "
                      "'max_tokens' and 'max_completion_tokens'");
    p->max_tokens = value;
    p->out->request.max_tokens = (size_t)number;
    return true;
}

static bool read_lookup(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!read_integer(p, name, value, 0, LOOKUP_MAX_DRAFT, &number))
        return false;
    if (p->lookup != NULL && !json_equal(p->lookup, value))
        return refuse(p, name,
                      "and the other name of the same setting differ; send one of "
                      "'prompt_lookup_num_tokens' and 'speculative.n_max'");
    p->lookup = value;
    p->out->has_lookup = true;
    p->out->lookup = (lookup_setting){.mode = number == 0 ? LOOKUP_OFF : LOOKUP_FIXED,
                                      .length = (uint32_t)number};
    return true;
}

/* ---- priority and deadline ------------------------------------------------------------------ */

#define PRIORITY_HEADER "x-a-io-priority"
#define DEADLINE_HEADER "x-a-io-deadline-ms"

static bool refuse_difference(parser *p, const char *name, const char *other)
{
    return api_error_set(p->error, 400, NULL, name, "'%s' and '%s' differ; send one of them", name,
                         other);
}

static bool set_priority(parser *p, const char *name, sequence_priority priority)
{
    request *r = &p->out->request;
    if (p->priority != NULL && r->priority != priority)
        return refuse_difference(p, name, p->priority);
    p->priority = name;
    r->priority = priority;
    return true;
}

static bool set_priority_text(parser *p, const char *name, const char *text)
{
    bool batch = text != NULL && strcmp(text, "batch") == 0;
    if (!batch && (text == NULL || strcmp(text, "interactive") != 0))
        return refuse(p, name, "must be 'interactive' or 'batch'");
    return set_priority(p, name, batch ? SEQUENCE_BATCH : SEQUENCE_INTERACTIVE);
}

/* vLLM's is a number of which the lower goes first: two classes can honour two of them. */
static bool read_priority(parser *p, const char *name, json_t *value)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        return set_priority_text(p, name, json_string_value(value));
    if (number != 0 && number != 1)
        return refuse(p, name, "has two classes: 'interactive' (or 0) goes before 'batch' (or 1)");
    return set_priority(p, name, number == 0 ? SEQUENCE_INTERACTIVE : SEQUENCE_BATCH);
}

static bool read_service_tier(parser *p, const char *name, json_t *value)
{
    const char *tier = json_is_string(value) ? json_string_value(value) : "";
    p->tier = value;
    if (strcmp(tier, "auto") == 0 || strcmp(tier, "default") == 0)
        return true; /* whatever is done without it */
    if (strcmp(tier, "priority") == 0)
        return set_priority(p, name, SEQUENCE_INTERACTIVE);
    if (strcmp(tier, "flex") == 0)
        return set_priority(p, name, SEQUENCE_BATCH);
    return refuse(p, name, "must be 'auto', 'default', 'priority' (interactive) or 'flex' (batch)");
}

/* The tier that the reply is given in. */
static const char *tier_text(const parser *p)
{
    if (p->tier == NULL)
        return NULL;
    if (p->out->request.priority == SEQUENCE_BATCH)
        return "flex";
    return strcmp(json_string_value(p->tier), "priority") == 0 ? "priority" : "default";
}

static bool set_deadline(parser *p, const char *name, double deadline_ms)
{
    request *r = &p->out->request;
    if (p->deadline != NULL && r->deadline_ms != deadline_ms)
        return refuse_difference(p, name, p->deadline);
    p->deadline = name;
    r->deadline_ms = deadline_ms;
    return true;
}

static bool read_deadline(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    return read_integer(p, name, value, 0, INT32_MAX, &number) &&
           set_deadline(p, name, (double)number);
}

static bool read_deadline_header(parser *p, const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || number > INT32_MAX)
        return api_error_set(p->error, 400, NULL, DEADLINE_HEADER,
                             "'%s' must be an integer from 0 to %d", DEADLINE_HEADER, INT32_MAX);
    return set_deadline(p, DEADLINE_HEADER, (double)number);
}

static bool read_headers(parser *p, const request_text *text)
{
    return (text->priority == NULL || set_priority_text(p, PRIORITY_HEADER, text->priority)) &&
           (text->deadline_ms == NULL || read_deadline_header(p, text->deadline_ms));
}

/* ---- strings and flags ---------------------------------------------------------------------- */

static bool read_model(parser *p, const char *name, json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) == 0)
        return refuse(p, name, "must be 'auto' or the name of a model (GET /v1/models lists them)");
    p->out->model = json_string_value(value);
    return true;
}

static bool read_user(parser *p, const char *name, json_t *value)
{
    if (!json_is_string(value))
        return refuse(p, name, "must be a string");
    snprintf(p->out->user, sizeof p->out->user, "%s", json_string_value(value));
    for (char *c = p->out->user; *c != '\0'; c++)
        if (*c < '!' || *c > '~')
            *c = '_'; /* one word of the log line */
    return true;
}

static bool read_stream(parser *p, const char *name, json_t *value)
{
    if (!json_is_boolean(value))
        return refuse(p, name, "must be true or false");
    p->out->stream = json_is_true(value);
    return true;
}

static bool read_stream_options(parser *p, const char *name, json_t *value)
{
    if (!json_is_object(value))
        return refuse(p, name, "must be an object such as {\"include_usage\": true}");
    const char *key;
    json_t *option;
    json_object_foreach(value, key, option)
    {
        bool is_usage = strcmp(key, "include_usage") == 0;
        bool is_neutral = strcmp(key, "include_obfuscation") == 0 && !json_is_true(option);
        if ((!is_usage && !is_neutral) || (!json_is_boolean(option) && !json_is_null(option)))
            return api_error_set(p->error, 400, NULL, name,
                                 "'stream_options.%s' is not supported; the one option is "
                                 "'include_usage', true or false",
                                 key);
        if (is_usage)
            p->out->include_usage = json_is_true(option);
    }
    p->has_stream_options = true;
    return true;
}

static bool add_stop(parser *p, const char *name, json_t *value)
{
    request *r = &p->out->request;
    if (!json_is_string(value) || json_string_length(value) == 0 || r->n_stops == REQUEST_MAX_STOPS)
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' must be a string or a list of at most %d strings, none of them "
                             "empty",
                             name, REQUEST_MAX_STOPS);
    p->out->stops[r->n_stops++] = json_string_value(value);
    return true;
}

static bool read_stop(parser *p, const char *name, json_t *value)
{
    if (!json_is_array(value))
        return add_stop(p, name, value);
    size_t i;
    json_t *stop;
    json_array_foreach(value, i, stop)
    {
        if (!add_stop(p, name, stop))
            return false;
    }
    return true;
}

static bool read_logit_bias(parser *p, const char *name, json_t *value)
{
    size_t n = json_object_size(value);
    if (!json_is_object(value) || n > SAMPLING_MAX_BIASES)
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' must be an object of at most %d token ids with their biases",
                             name, SAMPLING_MAX_BIASES);
    if (n == 0)
        return true;
    p->out->biases = malloc(n * sizeof *p->out->biases);
    if (p->out->biases == NULL)
        return api_error_set(p->error, 503, NULL, name, "no memory for '%s'", name);
    sampling_params *sampling = &p->out->request.sampling;
    sampling->biases = p->out->biases;
    const char *key;
    json_t *bias;
    json_object_foreach(value, key, bias)
    {
        char *end;
        long token = strtol(key, &end, 10);
        if (key[0] < '0' || key[0] > '9' || *end != '\0' || token > INT32_MAX)
            return api_error_set(p->error, 400, NULL, name,
                                 "'%s' has the key '%s', which is not a token id", name, key);
        logit_bias *b = &p->out->biases[sampling->n_biases++];
        b->token = (int32_t)token;
        if (!read_float(p, name, bias, -100, 100, false, &b->bias))
            return false;
    }
    return true;
}

/* ---- messages ------------------------------------------------------------------------------- */

static bool refuse_message(parser *p, size_t index, const char *field, const char *what)
{
    char param[96];
    snprintf(param, sizeof param, "messages[%zu]%s%.40s", index, field[0] ? "." : "", field);
    return refuse(p, param, what);
}

static bool check_parts(parser *p, size_t index, json_t *parts)
{
    size_t i;
    json_t *part;
    if (json_array_size(parts) == 0 || json_array_size(parts) > CONTENT_MAX_PARTS)
        return refuse_message(p, index, "content", "must have from 1 to 1024 parts");
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        if (type == NULL || strcmp(type, "text") != 0)
            return refuse_message(p, index, "content",
                                  "may only have parts of type 'text': the models read text");
        if (!json_is_string(json_object_get(part, "text")) || json_object_size(part) != 2)
            return refuse_message(p, index, "content",
                                  "must have parts of the form {\"type\": \"text\", \"text\": …}");
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
    static const char *const empty_ones[] = {"refusal", "tool_calls",  "function_call",
                                             "audio",   "annotations", "name"};
    if (strcmp(key, "role") == 0 || strcmp(key, "content") == 0)
        return true;
    for (size_t i = 0; i < sizeof empty_ones / sizeof *empty_ones; i++)
        if (strcmp(key, empty_ones[i]) == 0 &&
            (json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0)))
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

static bool read_messages(parser *p, const char *name, json_t *value)
{
    if (!json_is_array(value) || json_array_size(value) == 0)
        return refuse(p, name, "must be a list of at least one message");
    size_t i;
    json_t *message;
    json_array_foreach(value, i, message)
    {
        if (!check_message(p, i, message))
            return false;
    }
    return make_messages(p, value);
}

/* ---- the table of fields -------------------------------------------------------------------- */

static const struct field {
    const char *name;
    bool (*read)(parser *p, const char *name, json_t *value);
} fields[] = {
    {"messages", read_messages},
    {"model", read_model},
    {"stream", read_stream},
    {"stream_options", read_stream_options},
    {"max_tokens", read_max_tokens},
    {"max_completion_tokens", read_max_tokens},
    {"temperature", read_temperature},
    {"top_p", read_top_p},
    {"top_k", read_top_k},
    {"min_p", read_min_p},
    {"presence_penalty", read_presence_penalty},
    {"frequency_penalty", read_frequency_penalty},
    {"repetition_penalty", read_repetition_penalty},
    {"logit_bias", read_logit_bias},
    {"stop", read_stop},
    {"seed", read_seed},
    {"prompt_lookup_num_tokens", read_lookup},
    {"speculative.n_max", read_lookup},
    {"priority", read_priority},
    {"service_tier", read_service_tier},
    {"deadline_ms", read_deadline},
    {"user", read_user},
};

/* Fields of which one value asks for what is done anyway. */
static const struct neutral {
    const char *name;
    const char *value; /* JSON */
} neutrals[] = {
    {"n", "1"},
    {"logprobs", "false"},
    {"top_logprobs", "0"},
    {"store", "false"},
    {"metadata", "{}"},
    {"tools", "[]"},
    {"tool_choice", "\"none\""},
    {"tool_choice", "\"auto\""},
    {"functions", "[]"},
    {"function_call", "\"none\""},
    {"function_call", "\"auto\""},
    {"response_format", "{\"type\":\"text\"}"},
    {"modalities", "[\"text\"]"},
    {"reasoning_effort", "\"none\""},
};

static bool read_neutral(parser *p, const char *name, json_t *value)
{
    const char *wanted = NULL;
    for (size_t i = 0; i < sizeof neutrals / sizeof *neutrals; i++) {
        if (strcmp(name, neutrals[i].name) != 0)
            continue;
        wanted = neutrals[i].value;
        json_t *neutral = json_loads(wanted, JSON_DECODE_ANY, NULL);
        bool same = json_equal(neutral, value) == 1;
        json_decref(neutral);
        if (same || json_is_null(value))
            return true;
    }
    if (wanted != NULL)
        return api_error_set(p->error, 400, NULL, name, "'%s' is only supported with the value %s",
                             name, wanted);
    return api_error_set(p->error, 400, NULL, name,
                         "unknown field '%s': nothing is accepted and ignored", name);
}

static bool read_field(parser *p, const char *name, json_t *value)
{
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (strcmp(name, fields[i].name) == 0)
            return json_is_null(value) || fields[i].read(p, name, value);
    return read_neutral(p, name, value);
}

static bool read_fields(parser *p)
{
    const char *key;
    json_t *value;
    json_object_foreach(p->out->body, key, value)
    {
        if (!read_field(p, key, value))
            return false;
    }
    if (p->out->messages == NULL)
        return refuse(p, "messages", "is missing: a list of {\"role\", \"content\"}");
    if (p->has_stream_options && !p->out->stream)
        return refuse(p, "stream_options", "is for requests with 'stream': true");
    return true;
}

static bool draw_seed(parser *p)
{
    uint32_t seed; /* 32 bits survive every client's JSON numbers, so that it can be sent back */
    if (!p->has_seed) {
        if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
            return api_error_set(p->error, 500, NULL, "seed", "cannot draw a seed; send one");
        p->out->seed = seed;
    }
    p->out->request.sampling.seed = (uint64_t)p->out->seed;
    return true;
}

json_t *request_object(const char *body, size_t length, api_error *e)
{
    json_error_t error;
    json_t *object = json_loadb(body == NULL ? "" : body, length, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        api_error_set(e, 400, "invalid_json", "",
                      "the body is not valid JSON: %s (line %d, column %d)", error.text, error.line,
                      error.column);
    } else if (!json_is_object(object)) {
        json_decref(object);
        object = NULL;
        api_error_set(e, 400, "invalid_json", "", "the body must be a JSON object");
    }
    return object;
}

bool chat_request_parse(chat_request *out, const request_text *text,
                        const request_defaults *defaults, api_error *e)
{
    *out = (chat_request){.request.sampling = sampling_defaults(),
                          .request.max_tokens = defaults->max_tokens,
                          .request.priority = defaults->priority,
                          .request.deadline_ms = defaults->deadline_ms};
    out->body = request_object(text->body, text->length, e);
    if (out->body == NULL)
        return false;
    parser p = {.out = out, .error = e};
    if (!read_headers(&p, text) || !read_fields(&p) || !draw_seed(&p)) {
        chat_request_free(out);
        return false;
    }
    out->request.stops = out->stops;
    out->service_tier = tier_text(&p);
    return true;
}

void chat_request_free(chat_request *r)
{
    json_decref(r->body);
    free(r->messages);
    free(r->joined);
    free(r->biases);
    r->body = NULL;
    r->messages = NULL;
    r->joined = NULL;
    r->biases = NULL;
}
