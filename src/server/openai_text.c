/* openai_text.c: replies as OpenAI's completions of raw prompts. */
#include "server/exchange.h"

#include "base/json.h"

static json_t *head_json(const exchange *e)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:s, s:s*}", "id", e->reply_id, "object",
                     "text_completion", "created", (json_int_t)e->created, "model",
                     run_plan(e->choices[0].run)->model, "system_fingerprint", SYSTEM_FINGERPRINT,
                     "service_tier", e->manner.service_tier);
}

static json_t *choice_json(const exchange *e, choice *c, json_t *text, const char *finish)
{
    return json_pack("{s:I, s:o, s:o, s:s?}", "index", (json_int_t)c->index, "text", text,
                     "logprobs", logprobs_text(e, c), "finish_reason", finish);
}

static json_t *whole_text(const choice *c)
{
    buffer all;
    buffer_init(&all, c->text.limit + c->echo.limit);
    bool added = buffer_add(&all, c->echo.data, c->echo.length) == OK &&
                 buffer_add(&all, c->text.data, c->text.length) == OK;
    json_t *text = added ? json_text(all.data, all.length) : NULL;
    buffer_free(&all);
    return text;
}

static json_t *whole(const exchange *e)
{
    const reply_stats stats = replies_stats(e);
    json_t *body = head_json(e), *choices = json_array();
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        json_array_append_new(choices,
                              choice_json(e, c, whole_text(c), finish_reason_text(c->finish)));
    }
    json_object_set_new(body, "choices", choices);
    json_object_set_new(body, "usage", usage_json(&stats));
    return body;
}

/* ---- streams --------------------------------------------------------------------------------- */

static json_t *with_usage(const exchange *e, json_t *chunk)
{
    const reply_stats stats = replies_stats(e);
    if (e->manner.include_usage)
        json_object_set_new(chunk, "usage",
                            e->manner.continuous_usage ? usage_json(&stats) : json_null());
    return chunk;
}

static bool add_chunk(exchange *e, json_t *chunk)
{
    replies_add_timings(e, chunk);
    return stream_add_event(e, NULL, with_usage(e, chunk));
}

static bool add_text(exchange *e, choice *c, const char *text, size_t length)
{
    json_t *chunk = head_json(e);
    json_object_set_new(chunk, "choices",
                        json_pack("[o]", choice_json(e, c, json_text(text, length), NULL)));
    return add_chunk(e, chunk);
}

static bool begin(exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        if (c->echo.length > 0 && !add_text(e, c, c->echo.data, c->echo.length))
            return false;
    }
    return true;
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    return add_text(e, c, piece->text, piece->length);
}

static bool end_choice(exchange *e, choice *c)
{
    json_t *last = head_json(e);
    json_object_set_new(
        last, "choices",
        json_pack("[o]", choice_json(e, c, json_string(""), finish_reason_text(c->finish))));
    return replies_are_told(e) ? stream_add_accounted(e, with_usage(e, last)) : add_chunk(e, last);
}

static bool end(exchange *e)
{
    const reply_stats stats = replies_stats(e);
    if (e->manner.include_usage) {
        json_t *usage = head_json(e);
        json_object_set_new(usage, "choices", json_array());
        json_object_set_new(usage, "usage", usage_json(&stats));
        json_object_set_new(usage, "timings", timings_json(&stats));
        if (!stream_add_event(e, NULL, usage))
            return false;
    }
    return stream_add_text(e, "data: [DONE]\n\n");
}

const api openai_text_api = {
    .id_prefix = "cmpl-",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &openai_text_form,
    .is_accounted = true,
    .whole = whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
};
