/* request_prompt.c: raw prompts: texts, or tokens; and what stands behind a hole to be filled. */
#include "server/request_parser.h"

#include <stdlib.h>
#include <string.h>

static bool is_token(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 &&
           json_integer_value(value) <= INT32_MAX;
}

static bool is_token_list(const json_t *value)
{
    bool all = json_array_size(value) > 0;
    for (size_t i = 0; all && i < json_array_size(value); i++)
        all = is_token(json_array_get(value, i));
    return all;
}

bool read_raw_prompt(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *one;
    bool is_known = json_is_string(value) || json_array_size(value) > 0;
    if (is_known && !json_is_string(value) && !is_token_list(value))
        json_array_foreach(value, i, one)
        {
            is_known = is_known && (json_is_string(one) || is_token_list(one));
        }
    p->prompt = value;
    return is_known ||
           parser_refuse(p, name, "must be a string, a list of token ids, or a list of either");
}

bool read_echo(parser *p, const char *name, json_t *value)
{
    return parser_read_flag(p, name, value, &p->out->manner.echo);
}

bool read_suffix(parser *p, const char *name, json_t *value)
{
    if (!json_is_string(value))
        return parser_refuse(p, name, "must be a string");
    p->suffix = value;
    return true;
}

bool read_best_of(parser *p, const char *name, json_t *value)
{
    (void)name;
    p->best_of = value;
    return true;
}

/* ---- all of it --------------------------------------------------------------------------------
 */

static bool take_ids(parser *p, request_prompt *out, const json_t *list)
{
    size_t n = json_array_size(list);
    int32_t *ids = parser_keep(p, "prompt", malloc(n * sizeof *ids));
    for (size_t i = 0; ids != NULL && i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    out->ids = ids;
    out->n_ids = n;
    return ids != NULL;
}

static bool take_prompt(parser *p, request_prompt *out, const json_t *value)
{
    if (!json_is_string(value))
        return take_ids(p, out, value);
    out->text = json_string_value(value);
    out->length = json_string_length(value);
    return true;
}

bool finish_prompt(parser *p)
{
    chat_request *out = p->out;
    if (p->prompt == NULL)
        return parser_refuse(p, "prompt", "is missing");
    bool is_one = json_is_string(p->prompt) || is_token_list(p->prompt);
    size_t n = is_one ? 1 : json_array_size(p->prompt);
    if (n > REQUEST_MAX_REPLIES)
        return api_error_set(p->error, 400, NULL, "prompt",
                             "'prompt' has %zu prompts; at most %d are taken", n,
                             REQUEST_MAX_REPLIES);
    out->prompts = calloc(n, sizeof *out->prompts);
    if (out->prompts == NULL)
        return parser_no_memory(p, "prompt");
    for (out->n_prompts = 0; out->n_prompts < n; out->n_prompts++)
        if (!take_prompt(p, &out->prompts[out->n_prompts],
                         is_one ? p->prompt : json_array_get(p->prompt, out->n_prompts)))
            return false;
    if (p->suffix != NULL) {
        out->request.suffix = json_string_value(p->suffix);
        out->request.suffix_length = json_string_length(p->suffix);
    }
    if (p->best_of != NULL &&
        (!json_is_number(p->best_of) || json_number_value(p->best_of) != (double)out->manner.n))
        return parser_refuse(p, "best_of", "must be what 'n' is: all replies are given");
    return true;
}
