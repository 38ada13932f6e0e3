/*
 * score.c: POST /v1/score: how probable a model finds a text that is given: of a completion that
 * follows a conversation or a prompt, or of the prompt itself. One prefill, nothing is generated.
 */
#include "server/exchange.h"
#include "server/request_parser.h"

#include <math.h>

/* ---- the request ----------------------------------------------------------------------------- */

static bool read_completion(parser *p, const char *name, json_t *value)
{
    if (json_string_length(value) == 0)
        return parser_refuse(p, name, "must be a string, and not an empty one");
    p->out->request.completion = json_string_value(value);
    p->out->request.completion_length = json_string_length(value);
    return true;
}

static const request_field score_fields[] = {
    {.name = "model", .read = read_model},
    {.name = "messages", .read = read_messages},
    {.name = "prompt", .read = read_raw_prompt},
    {.name = "completion", .read = read_completion},
    {.name = "top_logprobs", .read = read_top_logprobs},
    {.name = "chat_template_kwargs", .read = read_template_variables},
    {.name = "priority", .read = read_priority},
    {.name = "deadline_ms", .read = read_deadline},
    {.name = "user", .read = read_user},
    {.name = "metadata", .hint = field_is_object, .type = "an object"},
    {.name = NULL},
};

static bool finish_score(parser *p)
{
    request *r = &p->out->request;
    p->out->manner.wants_scores = true;
    r->kind = REQUEST_SCORE;
    r->max_tokens = 0;
    if (p->messages != NULL && p->prompt != NULL)
        return parser_refuse_difference(p, "prompt", "messages");
    if (p->messages == NULL)
        return finish_prompt(p);
    if (r->completion == NULL)
        return parser_refuse(p, "completion", "is missing: what the model is to judge");
    return finish_chat(p);
}

const request_form score_form = {.tables = {score_fields}, .finish = finish_score};

/* ---- the reply ------------------------------------------------------------------------------- */

/* A prompt's: {index, tokens, total, mean}; the total is the text's log-probability, in nats. */
static json_t *choice_json(const exchange *e, choice *c)
{
    double total = 0;
    size_t n = c->scores.length;
    for (size_t i = 0; i < n; i++)
        total += (double)c->scores.items[i].logprob;
    if (!isfinite(total)) /* JSON has no infinity */
        total = -9999.0 * (double)n;
    json_t *ranks = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(ranks, json_integer((json_int_t)c->scores.items[i].rank));
    json_t *scores = logprobs_chat(e, c);
    json_t *tokens = json_incref(json_object_get(scores, "content"));
    size_t i;
    json_t *token;
    json_array_foreach(tokens, i, token) json_object_set(token, "rank", json_array_get(ranks, i));
    json_decref(ranks);
    json_decref(scores);
    return json_pack("{s:I, s:o, s:f, s:f}", "index", (json_int_t)c->index, "tokens", tokens,
                     "total", total, "mean", n > 0 ? total / (double)n : 0.0);
}

static json_t *whole(const exchange *e)
{
    const reply_stats stats = replies_stats(e);
    json_t *data = json_array();
    for (size_t i = 0; i < e->n_choices; i++)
        json_array_append_new(data, choice_json(e, &e->choices[i]));
    return json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:o}", "id", e->reply_id, "object", "score",
                     "created", (json_int_t)e->created, "model", run_plan(e->choices[0].run)->model,
                     "data", data, "usage", usage_json(&stats), "a_io",
                     account_json(e->choices[0].run, (uint64_t)e->manner.seed));
}

/* Nothing of it is streamed: the form has no such field. */
const api score_api = {.id_prefix = "score-", .form = &score_form, .whole = whole};
