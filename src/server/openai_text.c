/* openai_text.c: replies as OpenAI's completions of raw prompts. */
#include "server/exchange.h"

#define OBJECT "text_completion"

/* What follows a choice's text; `finish` NULL: it goes on. */
static void close_choice(json_out *o, const exchange *e, choice *c, const char *finish)
{
    json_out_value(o, "logprobs", logprobs_text(e, c));
    json_out_word(o, "finish_reason", finish);
    json_out_close(o, '}');
}

static void open_choice(json_out *o, const choice *c)
{
    json_out_open(o, NULL, '{');
    json_out_count(o, "index", (int64_t)c->index);
}

static void write_whole_text(json_out *o, const choice *c)
{
    buffer all;
    buffer_init(&all, c->text.limit + c->echo.limit);
    if (buffer_add(&all, c->echo.data, c->echo.length) == OK &&
        buffer_add(&all, c->text.data, c->text.length) == OK)
        json_out_text(o, "text", all.data, all.length);
    else
        o->code = ERR_MEMORY;
    buffer_free(&all);
}

static void write_whole(const exchange *e, json_out *o)
{
    const reply_stats stats = replies_stats(e);
    openai_open_reply(o, e, OBJECT);
    json_out_open(o, "choices", '[');
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        open_choice(o, c);
        write_whole_text(o, c);
        close_choice(o, e, c, finish_reason_text(c->finish));
    }
    json_out_close(o, ']');
    usage_write(o, "usage", &stats);
    replies_write_account(e, o);
    json_out_close(o, '}');
}

/* ---- streams --------------------------------------------------------------------------------- */

static bool add_chunk(exchange *e, choice *c, const char *text, size_t length, const char *finish)
{
    json_out o = stream_open(e);
    openai_open_reply(&o, e, OBJECT);
    json_out_open(&o, "choices", '[');
    open_choice(&o, c);
    json_out_text(&o, "text", text, length);
    close_choice(&o, e, c, finish);
    openai_close_chunk(&o, e, finish);
    return stream_close(&o);
}

static bool begin(exchange *e)
{
    for (size_t i = 0; i < e->n_choices; i++) {
        choice *c = &e->choices[i];
        if (c->echo.length > 0 && !add_chunk(e, c, c->echo.data, c->echo.length, NULL))
            return false;
    }
    return true;
}

static bool add_piece(exchange *e, choice *c, const reply_piece *piece)
{
    return add_chunk(e, c, piece->text, piece->length, NULL);
}

static bool end_choice(exchange *e, choice *c)
{
    return add_chunk(e, c, "", 0, finish_reason_text(c->finish));
}

static bool end(exchange *e)
{
    return openai_end_stream(e, OBJECT);
}

const api openai_text_api = {
    .id_prefix = "cmpl-",
    .stream_type = "text/event-stream; charset=utf-8",
    .form = &openai_text_form,
    .write_whole = write_whole,
    .begin = begin,
    .piece = add_piece,
    .choice_end = end_choice,
    .end = end,
};
