/* logprobs.c: the log-probabilities of a reply's tokens, as OpenAI's chats and completions tell
 * them. */
#include "server/exchange.h"

#include <math.h>
#include <string.h>

#include "base/json.h"

backend *choice_backend(const exchange *e, const choice *c)
{
    orchestra *o = e->server->orchestra;
    size_t found = orchestra_find_model(o, run_plan(c->run)->model);
    return orchestra_backend(o, found != SIZE_MAX ? found : 0);
}

static json_t *bytes_json(const char *text, size_t length)
{
    json_t *list = json_array();
    for (size_t i = 0; i < length; i++)
        json_array_append_new(list, json_integer((unsigned char)text[i]));
    return list;
}

/* JSON has no infinity: what is impossible is as improbable as OpenAI says it. */
static double told(float logprob)
{
    return logprob > -9999 ? (double)logprob : -9999;
}

static json_t *token_json(const backend *b, int32_t token, float logprob)
{
    size_t length;
    const char *text = backend_token_text(b, token, &length);
    json_t *one = json_pack("{s:o, s:f, s:o}", "token", json_text(text, length), "logprob",
                            told(logprob), "bytes", bytes_json(text, length));
    if (backend_has_ids(b))
        json_object_set_new(one, "id", json_integer(token));
    return one;
}

json_t *logprobs_chat(const exchange *e, choice *c)
{
    const score_list *s = &c->scores;
    if (!e->manner.wants_scores || (e->manner.stream && s->length == 0))
        return json_null();
    const backend *b = choice_backend(e, c);
    json_t *content = json_array();
    for (size_t i = 0; i < s->length; i++) {
        json_t *one = token_json(b, s->items[i].token, s->items[i].logprob), *top = json_array();
        for (size_t k = 0; k < s->n_top; k++) {
            const token_logprob *t = &s->top[i * s->n_top + k];
            if (t->token >= 0) /* a server may tell fewer */
                json_array_append_new(top, token_json(b, t->token, t->logprob));
        }
        json_object_set_new(one, "top_logprobs", top);
        json_array_append_new(content, one);
    }
    score_list_clear(&c->scores);
    return json_pack("{s:o, s:n}", "content", content, "refusal");
}

/* ---- completions ----------------------------------------------------------------------------- */

typedef struct text_lists {
    json_t *tokens, *logprobs, *top, *offsets;
} text_lists;

static void add_token(text_lists *l, const backend *b, choice *c, int32_t token, json_t *logprob,
                      json_t *top)
{
    size_t length;
    const char *text = backend_token_text(b, token, &length);
    json_array_append_new(l->tokens, json_text(text, length));
    json_array_append_new(l->logprobs, logprob);
    json_array_append_new(l->top, top);
    json_array_append_new(l->offsets, json_integer((json_int_t)c->scored_bytes));
    c->scored_bytes += length;
}

static json_t *top_json(const backend *b, const score_list *s, size_t i)
{
    json_t *top = json_object();
    size_t length;
    const char *own = backend_token_text(b, s->items[i].token, &length);
    json_t *key = json_text(own, length);
    json_object_set_new(top, json_string_value(key), json_real(told(s->items[i].logprob)));
    json_decref(key);
    for (size_t k = 0; k < s->n_top; k++) {
        const token_logprob *t = &s->top[i * s->n_top + k];
        const char *text = backend_token_text(b, t->token, &length);
        key = json_text(text, length);
        if (json_object_get(top, json_string_value(key)) == NULL)
            json_object_set_new(top, json_string_value(key), json_real(told(t->logprob)));
        json_decref(key);
    }
    return top;
}

json_t *logprobs_text(const exchange *e, choice *c)
{
    const score_list *s = &c->scores;
    if (!e->manner.wants_scores || (e->manner.stream && s->length == 0))
        return json_null();
    const backend *b = choice_backend(e, c);
    text_lists l = {json_array(), json_array(), json_array(), json_array()};
    /* Nothing precedes the prompt's first token, so that it has no probability. */
    if (e->manner.echo && !c->has_first) {
        c->has_first = true;
        add_token(&l, b, c, run_style(c->run).first_token, json_null(), json_null());
    }
    for (size_t i = 0; i < s->length; i++)
        add_token(&l, b, c, s->items[i].token, json_real(told(s->items[i].logprob)),
                  top_json(b, s, i));
    score_list_clear(&c->scores);
    return json_pack("{s:o, s:o, s:o, s:o}", "tokens", l.tokens, "token_logprobs", l.logprobs,
                     "top_logprobs", l.top, "text_offset", l.offsets);
}

/* ---- llama-server's -------------------------------------------------------------------------- */

static json_t *native_token(const exchange *e, const backend *b, int32_t token, float logprob)
{
    size_t length;
    const char *text = backend_token_text(b, token, &length);
    bool is_drawn = e->manner.scores_drawn;
    return json_pack("{s:i, s:o, s:o, s:f}", "id", (int)token, "token", json_text(text, length),
                     "bytes", bytes_json(text, length), is_drawn ? "prob" : "logprob",
                     is_drawn ? exp((double)logprob) : told(logprob));
}

json_t *logprobs_native(const exchange *e, const choice *c, size_t n)
{
    const score_list *s = &c->scores;
    const backend *b = choice_backend(e, c);
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *one = native_token(e, b, s->items[i].token, s->items[i].logprob);
        json_t *top = json_array();
        for (size_t k = 0; k < s->n_top; k++) {
            const token_logprob *t = &s->top[i * s->n_top + k];
            if (!e->manner.scores_drawn || isfinite(t->logprob))
                json_array_append_new(top, native_token(e, b, t->token, t->logprob));
        }
        json_object_set_new(one, e->manner.scores_drawn ? "top_probs" : "top_logprobs", top);
        json_array_append_new(list, one);
    }
    return list;
}
