/* request_manner.c: how a chat request is answered: by whom, streamed or whole, up to what text. */
#include "server/request_parser.h"

#include <stdio.h>
#include <string.h>

bool read_model(parser *p, const char *name, json_t *value)
{
    if (!json_is_string(value) || json_string_length(value) == 0 ||
        strlen(json_string_value(value)) != json_string_length(value))
        return parser_refuse(p, name,
                             "must be 'auto' or the name of a model (GET /v1/models lists them)");
    p->out->model = json_string_value(value);
    return true;
}

bool read_user(parser *p, const char *name, json_t *value)
{
    if (!json_is_string(value))
        return parser_refuse(p, name, "must be a string");
    snprintf(p->out->manner.user, sizeof p->out->manner.user, "%s", json_string_value(value));
    for (char *c = p->out->manner.user; *c != '\0'; c++)
        if (*c < '!' || *c > '~')
            *c = '_'; /* one word of the log line */
    return true;
}

bool read_n(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, 1, REQUEST_MAX_REPLIES, &number))
        return false;
    p->out->manner.n = (size_t)number;
    return true;
}

bool read_stream(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.stream);
}

static bool read_stream_option(parser *p, const char *name, const char *key, json_t *option)
{
    bool is_usage = strcmp(key, "include_usage") == 0;
    bool is_continuous = strcmp(key, "continuous_usage_stats") == 0;
    bool is_neutral = strcmp(key, "include_obfuscation") == 0;
    if (json_is_null(option))
        return true;
    if ((!is_usage && !is_continuous && !is_neutral) || !json_is_boolean(option))
        return api_error_set(p->error, 400, NULL, name,
                             "'stream_options.%s' is not supported; the options are "
                             "'include_usage' and 'continuous_usage_stats', true or false",
                             key);
    if (is_usage)
        p->out->manner.include_usage = json_is_true(option);
    if (is_continuous)
        p->out->manner.continuous_usage = json_is_true(option);
    return true;
}

bool read_stream_options(parser *p, const char *name, json_t *value)
{
    if (!json_is_object(value))
        return parser_refuse(p, name, "must be an object such as {\"include_usage\": true}");
    const char *key;
    json_t *option;
    json_object_foreach(value, key, option)
    {
        if (!read_stream_option(p, name, key, option))
            return false;
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
    if (strlen(json_string_value(value)) != json_string_length(value))
        return parser_refuse(p, name, "cannot have U+0000");
    p->out->stops[r->n_stops++] = json_string_value(value);
    return true;
}

bool read_stop(parser *p, const char *name, json_t *value)
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

bool read_top_logprobs(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, 0, SCORE_MAX_TOP, &number))
        return false;
    p->out->request.n_top = (size_t)number;
    return true;
}

/* Of a chat: whether; how many more is another field. */
bool read_logprobs(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.wants_scores);
}

/* Of a completion: how many more than the token's own. */
bool read_text_logprobs(parser *p, const char *name, json_t *value)
{
    p->out->manner.wants_scores = true;
    return read_top_logprobs(p, name, value);
}

static bool wants_window(const sampling_params *s)
{
    return s->repetition_penalty != 1 || s->presence_penalty != 0 || s->frequency_penalty != 0;
}

bool finish_manner(parser *p)
{
    const reply_manner *m = &p->out->manner;
    if (p->has_stream_options && !m->stream)
        return parser_refuse(p, "stream_options", "is for requests with 'stream': true");
    if (p->out->request.n_top > 0 && !m->wants_scores)
        return parser_refuse(p, "top_logprobs", "is for requests with 'logprobs': true");
    if (p->has_window && wants_window(&p->out->request.sampling))
        return parser_refuse(p, "repeat_last_n",
                             "is only supported with the value -1 where there are penalties");
    p->out->request.wants_scores = m->wants_scores;
    p->out->request.scores_drawn = m->scores_drawn;
    p->out->request.scores_prompt = m->wants_scores && m->echo;
    size_t prompts = p->out->n_prompts > 0 ? p->out->n_prompts : 1;
    if (m->n * prompts > p->most)
        return api_error_set(p->error, 400, NULL, "n",
                             "%zu replies are asked for; at most %zu are given", m->n * prompts,
                             p->most);
    return true;
}
