/* native.c: replies as llama-server's own forms write them: /completion and /infill. */
#include "server/exchange.h"

#include <string.h>

#include "base/json.h"

/* Replies have no slot of their own that a client could ask for again. */
#define NO_SLOT (-1)

static json_t *tokens_json(const token_list *list, size_t begin, size_t n)
{
    json_t *made = json_array();
    for (size_t i = begin; i < begin + n; i++)
        json_array_append_new(made, json_integer(list->ids[i]));
    return made;
}

/* ---- the end of a reply ---------------------------------------------------------------------- */

/* Whether it ended because the context was full. */
static bool is_truncated(const exchange *e, const choice *c)
{
    const reply_stats *s = &run_receipt(c->run)->reply;
    return c->finish == END_LENGTH &&
           s->prompt_tokens + s->reply_tokens >= backend_context(choice_backend(e, c));
}

static const char *stop_type(const choice *c)
{
    return c->finish == END_LENGTH ? "limit" : run_stop(c->run) != NULL ? "word" : "eos";
}

/* The tokens that end a reply, as what may never follow. */
static void ban_ends(const exchange *e, const choice *c, json_t *settings)
{
    token_list ends = {0};
    json_t *biases = json_object_get(settings, "logit_bias");
    if (json_is_true(json_object_get(settings, "ignore_eos")))
        backend_end_tokens(choice_backend(e, c), &ends);
    for (size_t i = 0; i < ends.length; i++)
        json_array_append_new(biases, json_pack("{s:i, s:n}", "token", (int)ends.ids[i], "bias"));
    token_list_free(&ends);
}

static json_t *settings_json(const exchange *e, const choice *c)
{
    json_t *settings = json_deep_copy(json_object_get(e->told, "settings"));
    json_object_set_new(settings, "seed", json_integer(e->manner.seed));
    json_object_set_new(settings, "n_ctx",
                        json_integer((json_int_t)backend_context(choice_backend(e, c))));
    ban_ends(e, c, settings);
    return settings;
}

/* Only what the request names: a field, or "object/field", which then stands under that name. */
static json_t *chosen_fields(const exchange *e, json_t *whole)
{
    size_t i;
    json_t *name, *fields = json_object_get(e->told, "fields"), *chosen;
    if (fields == NULL)
        return whole;
    chosen = json_object();
    json_array_foreach(fields, i, name)
    {
        const char *key = json_string_value(name), *slash = strchr(key, '/');
        json_t *value = json_object_get(whole, key);
        if (value == NULL && slash != NULL) {
            json_t *outer = json_object_getn(whole, key, (size_t)(slash - key));
            value = json_object_get(outer, slash + 1);
        }
        if (value != NULL)
            json_object_set(chosen, key, value);
    }
    json_decref(whole);
    return chosen;
}

static json_t *piece_json(const choice *c, json_t *text, json_t *tokens, bool is_end)
{
    const reply_stats *s = &run_receipt(c->run)->reply;
    return json_pack("{s:I, s:o, s:o, s:b, s:i, s:I, s:I}", "index", (json_int_t)c->index,
                     "content", text, "tokens", tokens, "stop", (int)is_end, "id_slot", NO_SLOT,
                     "tokens_predicted", (json_int_t)s->reply_tokens, "tokens_evaluated",
                     (json_int_t)s->prompt_tokens);
}

/* `all` is the reply's text, wherever it was told. */
static json_t *end_json(const exchange *e, choice *c, json_t *text, const buffer *all)
{
    const reply_stats *s = &run_receipt(c->run)->reply;
    const char *word = run_stop(c->run);
    json_t *tokens = tokens_json(&c->tokens, 0, c->tokens.length);
    json_t *end = piece_json(c, text, tokens, true);
    bool has_line = all->length > 0 && memchr(all->data, '\n', all->length) != NULL;
    json_object_update_new(
        end, json_pack("{s:s, s:o, s:o, s:b, s:b, s:s, s:s, s:I, s:o, s:o}", "model",
                       run_plan(c->run)->model, "generation_settings", settings_json(e, c),
                       "prompt", json_text(c->echo.data, c->echo.length), "has_new_line",
                       (int)has_line, "truncated", (int)is_truncated(e, c), "stop_type",
                       stop_type(c), "stopping_word", word != NULL ? word : "", "tokens_cached",
                       (json_int_t)s->cached_tokens, "timings", timings_json(s), "a_io",
                       account_json(c->run, (uint64_t)e->manner.seed)));
    if (c->scores.length > 0)
        json_object_set_new(end, "completion_probabilities",
                            logprobs_native(e, c, c->scores.length));
    return chosen_fields(e, end);
}

static json_t *whole(const exchange *e)
{
    json_t *list = json_array();
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        json_array_append_new(list,
                              end_json(e, c, json_text(c->text.data, c->text.length), &c->text));
    }
    if (e->n_choices > 1)
        return list;
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

/* ---- streams --------------------------------------------------------------------------------- */

static bool begin(exchange *e)
{
    e->last_event_ms = e->start_ms;
    return true;
}

static bool tell(exchange *e, choice *c, json_t *text, size_t n_tokens, size_t n_scores)
{
    reply_stats so_far;
    json_t *piece = piece_json(c, text, tokens_json(&c->tokens, 0, n_tokens), false);
    if (n_scores > 0)
        json_object_set_new(piece, "completion_probabilities", logprobs_native(e, c, n_scores));
    if (replies_tell_timings(e, &so_far))
        json_object_set_new(piece, "timings", timings_json(&so_far));
    token_list_drop(&c->tokens, n_tokens);
    score_list_drop(&c->scores, n_scores);
    return stream_add_event(e, NULL, piece);
}

/* Probabilities come one token an event; the text with the last of those that gave it. */
static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    while (c->scores.length > 1 && c->tokens.length > 1)
        if (!tell(e, c, json_string(""), 1, 1))
            return false;
    return tell(e, c, json_text(piece->text, piece->length), c->tokens.length, c->scores.length);
}

static bool end_choice(exchange *e, choice *c)
{
    return stream_add_event(e, NULL, end_json(e, c, json_string(""), &c->text));
}

static bool end(exchange *e)
{
    (void)e;
    return true;
}

#define NATIVE_API(which)                                                                          \
    {                                                                                              \
        .id_prefix = "cmpl-", .stream_type = "text/event-stream; charset=utf-8", .form = &(which), \
        .keeps_text = true, .whole = whole, .begin = begin, .piece = add_piece,                    \
        .choice_end = end_choice, .end = end,                                                      \
    }

const api native_api = NATIVE_API(native_form);
const api infill_api = NATIVE_API(infill_form);
