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

/* Texts and tokens in turn: a list that is one prompt. */
static bool is_mixed(const json_t *value)
{
    size_t i, tokens = 0, texts = 0;
    json_t *one;
    json_array_foreach(value, i, one)
    {
        tokens += is_token(one);
        texts += json_is_string(one);
    }
    return tokens > 0 && tokens + texts == json_array_size(value);
}

/* {"prompt_string": TEXT}, or {"content": [{"type": "text", "text"}, …]}: the text, else NULL. */
static json_t *text_of_object(parser *p, json_t *value)
{
    json_t *text = json_object_get(value, "prompt_string");
    json_t *parts = json_object_get(value, "content"), *part;
    size_t i, length = 0;
    char *joined = NULL;
    if (json_object_size(value) != 1 || (text == NULL && json_array_size(parts) == 0))
        return NULL;
    if (text != NULL)
        return json_is_string(text) ? text : NULL;
    json_array_foreach(parts, i, part)
    {
        const char *type = json_string_value(json_object_get(part, "type"));
        json_t *one = json_object_get(part, "text");
        char *more = type != NULL && strcmp(type, "text") == 0 && json_is_string(one)
                         ? realloc(joined, length + json_string_length(one) + 1)
                         : NULL;
        if (more == NULL) {
            free(joined);
            return NULL;
        }
        joined = more;
        memcpy(joined + length, json_string_value(one), json_string_length(one));
        length += json_string_length(one);
    }
    text = parser_own(p, json_stringn(joined, length));
    free(joined);
    return text;
}

/* The prompt as a text or a list of tokens and texts; NULL: it is none. */
static json_t *one_prompt(parser *p, json_t *value)
{
    if (json_is_object(value))
        return text_of_object(p, value);
    return json_is_string(value) || is_token_list(value) || is_mixed(value) ? value : NULL;
}

bool read_raw_prompt(parser *p, const char *name, json_t *value)
{
    size_t i;
    json_t *one = one_prompt(p, value);
    p->prompt_name = name;
    p->prompt = parser_own(p, one != NULL ? json_pack("[O]", one) : json_array());
    bool is_known = one != NULL || json_array_size(value) > 0;
    if (one == NULL)
        json_array_foreach(value, i, one)
        {
            json_t *prompt = one_prompt(p, one);
            is_known = is_known && json_array_append(p->prompt, prompt) == 0;
        }
    return is_known || parser_refuse(p, name,
                                     "must be a string, a list of token ids and strings, or a list "
                                     "of such prompts");
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

/* Clients send "" where nothing stands behind the reply: no hole is meant. */
bool read_text_behind(parser *p, const char *name, json_t *value)
{
    if (!read_suffix(p, name, value))
        return false;
    p->suffix = json_string_length(value) > 0 ? value : NULL;
    return true;
}

bool read_best_of(parser *p, const char *name, json_t *value)
{
    (void)name;
    p->best_of = value;
    return true;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static bool take_ids(parser *p, request_prompt *out, const json_t *list)
{
    size_t n = json_array_size(list);
    int32_t *ids = parser_keep(p, "prompt", reallocarray(NULL, n, sizeof *ids));
    for (size_t i = 0; ids != NULL && i < n; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    out->ids = ids;
    out->n_ids = n;
    return ids != NULL;
}

static bool take_prompt(parser *p, request_prompt *out, const json_t *value)
{
    if (is_token_list(value))
        return take_ids(p, out, value);
    if (json_is_array(value)) {
        out->mixed = value;
        return true;
    }
    out->text = json_string_value(value);
    out->length = json_string_length(value);
    return true;
}

bool finish_prompt(parser *p)
{
    chat_request *out = p->out;
    if (p->prompt == NULL)
        return parser_refuse(p, "prompt", "is missing");
    size_t n = json_array_size(p->prompt);
    if (n > p->most)
        return api_error_set(p->error, 400, NULL, p->prompt_name,
                             "'%s' has %zu texts; at most %zu are taken", p->prompt_name, n,
                             p->most);
    out->prompts = calloc(n, sizeof *out->prompts);
    if (out->prompts == NULL)
        return parser_no_memory(p, "prompt");
    for (out->n_prompts = 0; out->n_prompts < n; out->n_prompts++)
        if (!take_prompt(p, &out->prompts[out->n_prompts],
                         json_array_get(p->prompt, out->n_prompts)))
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
