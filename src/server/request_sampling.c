/* request_sampling.c: numbers of a chat request: sampling, seed, limits, lookup. */
#include "server/request_parser.h"

bool read_temperature(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_TEMPERATURE;
    return parser_read_float(p, name, value, 0, 100, &p->out->request.sampling.temperature);
}

bool read_top_p(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_TOP_P;
    return parser_read_float(p, name, value, 1e-6, 1, &p->out->request.sampling.top_p);
}

bool read_min_p(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_MIN_P;
    return parser_read_float(p, name, value, 0, 1, &p->out->request.sampling.min_p);
}

bool read_repetition_penalty(parser *p, const char *name, json_t *value)
{
    float penalty = 1;
    if (!parser_read_float(p, name, value, 0.01, 100, &penalty))
        return false;
    sampling_params *sampling = &p->out->request.sampling;
    if (p->repetition != NULL && sampling->repetition_penalty != penalty)
        return parser_refuse_difference(p, name, p->repetition);
    p->repetition = name;
    p->out->sampling_given |= CONFIG_REPETITION_PENALTY;
    sampling->repetition_penalty = penalty;
    return true;
}

bool read_presence_penalty(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_PRESENCE_PENALTY;
    return parser_read_float(p, name, value, -2, 2, &p->out->request.sampling.presence_penalty);
}

bool read_frequency_penalty(parser *p, const char *name, json_t *value)
{
    p->out->sampling_given |= CONFIG_FREQUENCY_PENALTY;
    return parser_read_float(p, name, value, -2, 2, &p->out->request.sampling.frequency_penalty);
}

bool read_top_k(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, -1, INT32_MAX, &number))
        return false;
    p->out->request.sampling.top_k = number > 0 ? (uint32_t)number : 0; /* -1, like 0: off */
    p->out->sampling_given |= CONFIG_TOP_K;
    return true;
}

bool read_seed(parser *p, const char *name, json_t *value)
{
    if (!parser_read_integer(p, name, value, INT64_MIN, INT64_MAX, &p->out->manner.seed))
        return false;
    p->has_seed = true;
    return true;
}

/* -1, as llama-server's clients say it: as much as the context holds. */
bool read_max_tokens(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, -1, INT32_MAX, &number))
        return false;
    if (number == 0)
        return parser_refuse(p, name, "must be at least 1, or -1 for no limit");
    size_t limit = number > 0 ? (size_t)number : 0;
    if (p->limit != NULL && p->out->request.max_tokens != limit)
        return parser_refuse_difference(p, name, p->limit);
    p->limit = name;
    p->out->request.max_tokens = limit;
    return true;
}

/* Ollama's and llama-server's name for it. -1 and -2: as much as the context holds. */
bool read_num_predict(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, -2, INT32_MAX, &number))
        return false;
    return read_max_tokens(p, name, parser_own(p, json_integer(number == -2 ? -1 : number)));
}

bool read_min_tokens(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, 0, INT32_MAX, &number))
        return false;
    if (p->out->request.min_tokens != SIZE_MAX)
        p->out->request.min_tokens = (size_t)number;
    return true;
}

bool read_ignore_end(parser *p, const char *name, json_t *value)
{
    bool ignores = false;
    if (!parser_read_flag(p, name, value, &ignores))
        return false;
    if (ignores)
        p->out->request.min_tokens = SIZE_MAX;
    return true;
}

bool read_lookup(parser *p, const char *name, json_t *value)
{
    int64_t number = 0;
    if (!parser_read_integer(p, name, value, 0, WISH_MAX_DRAFT, &number))
        return false;
    if (p->lookup != NULL && p->out->lookup.length != (uint32_t)number)
        return parser_refuse_difference(p, name, p->lookup);
    p->lookup = name;
    p->out->has_lookup = true;
    p->out->lookup =
        (lookup_wish){.mode = number == 0 ? WISH_OFF : WISH_FIXED, .length = (uint32_t)number};
    return true;
}
