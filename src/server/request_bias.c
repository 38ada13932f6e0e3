/*
 * request_bias.c: biases of tokens: {"ID": bias, …} as OpenAI writes them, [[ID, bias], …] as
 * llama-server does, which knows words in place of ids and false for never.
 */
#include "server/request_parser.h"

#include <stdlib.h>
#include <string.h>

#define BIAS_MOST 100.0 /* what SAMPLING's check allows: bans a token, in practice */

static bool read_bias(parser *p, const char *name, json_t *value, float *out)
{
    *out = (float)-BIAS_MOST;
    return json_is_false(value) || parser_read_float(p, name, value, -BIAS_MOST, BIAS_MOST, out);
}

static void add_token(parser *p, int32_t token, float bias)
{
    sampling_params *sampling = &p->out->request.sampling;
    p->out->biases[sampling->n_biases++] = (logit_bias){token, bias};
}

static bool add_word(parser *p, const char *name, json_t *word, float bias)
{
    json_t **words = &p->out->word_biases;
    if (json_string_length(word) == 0)
        return parser_refuse(p, name, "has neither a token id nor a text where one must be");
    if (*words == NULL)
        *words = json_array();
    return json_array_append_new(*words, json_pack("[O, f]", word, (double)bias)) == 0 ||
           parser_no_memory(p, name);
}

/* Digits are an id, never a word. */
static bool read_key(parser *p, const char *name, const char *key, float bias)
{
    bool is_id = key[0] != '\0' && strspn(key, "0123456789") == strlen(key);
    if (!is_id)
        return add_word(p, name, parser_own(p, json_string(key)), bias);
    long id = strtol(key, NULL, 10);
    if (id > INT32_MAX)
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' has the key '%s', which is not a token id", name, key);
    add_token(p, (int32_t)id, bias);
    return true;
}

static bool read_object(parser *p, const char *name, json_t *value)
{
    const char *key;
    json_t *number;
    json_object_foreach(value, key, number)
    {
        float bias;
        if (!read_bias(p, name, number, &bias) || !read_key(p, name, key, bias))
            return false;
    }
    return true;
}

static bool read_pairs(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *pair;
    json_array_foreach(value, i, pair)
    {
        float bias;
        json_t *of = json_array_get(pair, 0);
        json_int_t id = json_integer_value(of);
        if (json_array_size(pair) != 2)
            return parser_refuse(p, name, "must be a list of pairs: a token id or text, a bias");
        if (!read_bias(p, name, json_array_get(pair, 1), &bias))
            return false;
        if (json_is_integer(of) && id >= 0 && id <= INT32_MAX)
            add_token(p, (int32_t)id, bias);
        else if (!add_word(p, name, of, bias))
            return false;
    }
    return true;
}

bool read_logit_bias(parser *p, const char *name, json_t *value)
{
    size_t n = json_is_object(value) ? json_object_size(value) : json_array_size(value);
    if ((!json_is_object(value) && !json_is_array(value)) || n > SAMPLING_MAX_BIASES)
        return api_error_set(p->error, 400, NULL, name,
                             "'%s' must be an object, or a list of pairs, of at most %d token ids "
                             "with their biases",
                             name, SAMPLING_MAX_BIASES);
    if (n == 0)
        return true;
    free(p->out->biases);
    p->out->biases = reallocarray(NULL, n, sizeof *p->out->biases);
    if (p->out->biases == NULL)
        return parser_no_memory(p, name);
    p->out->request.sampling.biases = p->out->biases;
    return json_is_object(value) ? read_object(p, name, value) : read_pairs(p, name, value);
}
