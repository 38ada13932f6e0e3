/* remote_scores.c: log-probabilities that a server tells with its tokens. It tells texts and no
 * ids: each text that came has a number here, which stands for the id in this process alone. */
#include <math.h>

#include "backend/remote.h"
#include "base/json.h"

/* Of all texts of a model; a vocabulary has a megabyte or two. */
#define TEXTS_LIMIT ((size_t)1 << 20)
#define BYTES_LIMIT ((size_t)64 << 20)
#define TOKEN_LIMIT ((size_t)4096) /* bytes of one */
#define TOLD_LIMIT                                                                                 \
    ((size_t)1 << 18) /* tokens of one answer, of 172 bytes each with those likeliest */

error_code remote_words_init(remote_words *w)
{
    *w = (remote_words){.numbers = json_object(), .texts = json_array()};
    pthread_mutex_init(&w->lock, NULL);
    return w->numbers != NULL && w->texts != NULL ? OK : ERR_MEMORY;
}

void remote_words_free(remote_words *w)
{
    json_decref(w->numbers);
    json_decref(w->texts);
    pthread_mutex_destroy(&w->lock);
}

static error_code add_word(remote_words *w, const buffer *text)
{
    size_t n = json_array_size(w->texts);
    if (n >= TEXTS_LIMIT || w->bytes + text->length > BYTES_LIMIT ||
        json_array_append_new(w->texts, json_stringn_nocheck(text->data, text->length)) != 0)
        return ERR_MEMORY;
    w->bytes += text->length;
    return json_object_setn_new_nocheck(w->numbers, text->data, text->length,
                                        json_integer((json_int_t)n)) == 0
               ? OK
               : ERR_MEMORY;
}

/* The token's bytes, where the server tells them: its text may have lost some. */
static error_code read_token(buffer *out, const json_t *token)
{
    size_t i;
    json_t *byte;
    const json_t *bytes = json_object_get(token, "bytes"), *text = json_object_get(token, "token");
    error_code code = OK;
    if (!json_is_array(bytes))
        return buffer_add(out, json_string_length(text) > 0 ? json_string_value(text) : "",
                          json_string_length(text));
    json_array_foreach(bytes, i, byte)
    {
        const char one = (char)json_integer_value(byte);
        if (code == OK)
            code = buffer_add(out, &one, 1);
    }
    return code == OK ? buffer_add(out, "", 0) : code;
}

/* False: no memory, or more words than a vocabulary has. */
static bool read_score(remote_words *w, const json_t *told, token_logprob *out)
{
    buffer text;
    buffer_init(&text, TOKEN_LIMIT);
    error_code code = read_token(&text, told);
    pthread_mutex_lock(&w->lock);
    const json_t *number = code == OK ? json_object_getn(w->numbers, text.data, text.length) : NULL;
    if (code == OK && number == NULL) {
        code = add_word(w, &text);
        number = json_object_getn(w->numbers, text.data, text.length);
    }
    *out = (token_logprob){(int32_t)json_integer_value(number),
                           (float)json_number_value(json_object_get(told, "logprob"))};
    pthread_mutex_unlock(&w->lock);
    buffer_free(&text);
    return code == OK;
}

void remote_scores_take(remote_call *c, const json_t *tokens)
{
    remote_words *w = &c->backend->words;
    for (size_t i = 0; i < json_array_size(tokens) && c->fault.code == OK; i++) {
        const json_t *told = json_array_get(tokens, i),
                     *top = json_object_get(told, "top_logprobs");
        scored_token s = {.score = {.token = 0}};
        token_logprob own;
        bool is_read = read_score(w, told, &own);
        s.score.token = own.token;
        s.score.logprob = own.logprob;
        for (size_t k = 0; k < c->scores.n_top; k++) {
            s.top[k] = (token_logprob){-1, -INFINITY};
            if (is_read && k < json_array_size(top))
                is_read = read_score(w, json_array_get(top, k), &s.top[k]);
            s.score.rank += s.top[k].logprob > own.logprob;
        }
        c->has_text = true;
        if (++c->n_told > TOLD_LIMIT)
            failure_set(&c->fault, ERR_IO, "the server of model '%s' told of more than %zu tokens",
                        c->backend->base.name, TOLD_LIMIT);
        else if (!is_read || score_list_add(&c->scores, &s) != OK)
            failure_set(&c->fault, ERR_MEMORY, "no memory for what the server told of its tokens");
    }
}

const char *remote_token_text(const backend *base, int32_t number, size_t *length)
{
    remote_words *w = &((remote_backend *)(uintptr_t)base)->words;
    pthread_mutex_lock(&w->lock);
    const json_t *text = number >= 0 ? json_array_get(w->texts, (size_t)number) : NULL;
    const char *bytes = text != NULL ? json_string_value(text) : "";
    *length = json_string_length(text);
    pthread_mutex_unlock(&w->lock);
    return bytes; /* texts stay */
}
