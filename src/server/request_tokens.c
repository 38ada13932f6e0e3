/* request_tokens.c: what of a request is about one model's tokens, once it is known which. */
#include "server/openai.h"

#include <stdlib.h>
#include <string.h>

static bool told(const failure *fail, api_error *error)
{
    if (fail->code != OK)
        api_error_from_failure(error, fail);
    return fail->code == OK;
}

/* A text that begins a prompt has before it what begins every text. */
static bool mix(request_prompt *prompt, backend *b, api_error *error)
{
    failure fail = {.code = OK};
    token_list *to = &prompt->found;
    int32_t first = backend_first_token(b);
    if (json_is_string(json_array_get(prompt->mixed, 0)) && first >= 0)
        fail.code = token_list_add(to, first);
    size_t i;
    json_t *part;
    json_array_foreach(prompt->mixed, i, part)
    {
        if (fail.code != OK)
            break;
        if (json_is_string(part))
            backend_tokenize(b, json_string_value(part), json_string_length(part), true, to, &fail);
        else
            fail.code = token_list_add(to, (int32_t)json_integer_value(part));
    }
    prompt->ids = to->ids;
    prompt->n_ids = to->length;
    return told(&fail, error);
}

static bool add_word(chat_request *r, const token_list *tokens, float bias)
{
    sampling_params *sampling = &r->request.sampling;
    size_t n = sampling->n_biases + tokens->length;
    logit_bias *more = n <= SAMPLING_MAX_BIASES ? reallocarray(r->biases, n, sizeof *more) : NULL;
    if (more == NULL)
        return false;
    r->biases = more;
    sampling->biases = more;
    for (size_t i = 0; i < tokens->length; i++)
        more[sampling->n_biases++] = (logit_bias){tokens->ids[i], bias};
    return true;
}

/* Each of a word's tokens has the word's bias, as llama-server does it. */
static bool find_words(chat_request *r, backend *b, api_error *error)
{
    size_t i;
    json_t *pair;
    json_array_foreach(r->word_biases, i, pair)
    {
        token_list tokens = {0};
        failure fail = {.code = OK};
        json_t *word = json_array_get(pair, 0);
        backend_tokenize(b, json_string_value(word), json_string_length(word), false, &tokens,
                         &fail);
        bool fits = fail.code != OK ||
                    add_word(r, &tokens, (float)json_real_value(json_array_get(pair, 1)));
        token_list_free(&tokens);
        if (!fits)
            return api_error_set(error, 400, NULL, "logit_bias",
                                 "'logit_bias' is of more than %d tokens", SAMPLING_MAX_BIASES);
        if (!told(&fail, error))
            return false;
    }
    json_decref(r->word_biases);
    r->word_biases = NULL;
    return true;
}

bool chat_request_find_tokens(chat_request *r, backend *b, api_error *error)
{
    const char *what = r->word_biases != NULL ? "logit_bias" : NULL;
    for (size_t i = 0; i < r->n_prompts; i++)
        if (r->prompts[i].text == NULL)
            what = "prompt";
    if (what == NULL)
        return true;
    if (b == NULL)
        return api_error_set(error, 400, NULL, what,
                             "%s are those of one model: 'model' must name it",
                             r->word_biases != NULL ? "the tokens of words" : "token ids");
    for (size_t i = 0; i < r->n_prompts; i++)
        if (r->prompts[i].mixed != NULL && !mix(&r->prompts[i], b, error))
            return false;
    return find_words(r, b, error);
}
