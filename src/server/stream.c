/* stream.c: replies as they come, as the events of an API. */
#include "server/exchange.h"

#include <string.h>

#include "base/clock.h"
#include "base/json.h"

#define USUAL_EVENTS 1023    /* bytes */
#define KEEP_ALIVE_MS 4000.0 /* silence after which a comment is sent */

bool stream_add_text(exchange *e, const char *text)
{
    e->last_event_ms = clock_ms();
    return buffer_add_text(&e->out, text) == OK;
}

static json_out open_data(buffer *to)
{
    return (json_out){.to = to, .code = buffer_add_text(to, "data: ")};
}

json_out stream_open(exchange *e)
{
    e->last_event_ms = clock_ms();
    return open_data(&e->out);
}

bool stream_close(json_out *o)
{
    return o->code == OK && buffer_add_text(o->to, "\n\n") == OK;
}

bool stream_add_event(exchange *e, const char *name, json_t *value)
{
    if (name != NULL && buffer_add_format(&e->out, "event: %s\n", name) != OK) {
        json_decref(value);
        return false;
    }
    json_out o = stream_open(e);
    json_out_value(&o, NULL, value);
    return stream_close(&o);
}

bool stream_has_frame(const exchange *e, const choice *c)
{
    return e->frame.length > 0 && e->frame_choice == c->index;
}

json_out stream_open_frame(exchange *e)
{
    buffer_clear(&e->frame);
    return open_data(&e->frame);
}

bool stream_close_frame(exchange *e, const choice *c, json_out *o)
{
    static const char hole[] = "\"\\u0001the text\\u0001\""; /* STREAM_HOLE in JSON */
    buffer *f = &e->frame;
    const char *at = stream_close(o) ? strstr(f->data, hole) : NULL;
    if (at == NULL) {
        buffer_free(f);
        return false;
    }
    e->frame_choice = c->index;
    e->frame_hole = (size_t)(at - f->data);
    e->frame_rest = e->frame_hole + sizeof hole - 1;
    return true;
}

bool stream_add_framed(exchange *e, const char *text, size_t length)
{
    const buffer *f = &e->frame;
    e->last_event_ms = clock_ms();
    return buffer_add(&e->out, f->data, e->frame_hole) == OK &&
           json_write_text(&e->out, text, length) == OK &&
           buffer_add(&e->out, f->data + e->frame_rest, f->length - e->frame_rest) == OK;
}

bool stream_add_line(exchange *e, json_t *value)
{
    e->last_event_ms = clock_ms();
    return json_write(&e->out, value) == OK && buffer_add_text(&e->out, "\n") == OK;
}

/* The runs have said everything: what is left is in `out`. */
static bool end(exchange *e, bool added)
{
    e->stream_ended = true;
    replies_release(e);
    return added;
}

static bool add_error(exchange *e, const api_error *error)
{
    const api *a = e->api;
    return end(e, a->stream_error != NULL ? a->stream_error(e, error)
                                          : stream_add_event(e, NULL, api_error_json(error)));
}

/* Turns what happened since the last call into events; false: no memory, close the connection. */
static bool advance(exchange *e)
{
    unsigned signals = exchange_take_signals(e);
    const api *a = e->api;
    api_error error;
    if (signals & SIGNAL_STOPPING) {
        api_error_set_stopping(&error);
        return add_error(e, &error);
    }
    if (!replies_poll(e))
        return false;
    const failure *fail = replies_failure(e);
    if (fail != NULL) {
        api_error_from_failure(&error, fail);
        return add_error(e, &error);
    }
    if (replies_are_told(e))
        return end(e, a->end(e));
    if (e->out.length == 0 && clock_ms() - e->last_event_ms >= KEEP_ALIVE_MS)
        return a->keep_alive != NULL ? a->keep_alive(e) : stream_add_text(e, ": keep-alive\n\n");
    return true;
}

stream_state stream_next(exchange *e)
{
    if (e->out.length == 0 && !e->stream_ended && !advance(e))
        return STREAM_BROKEN;
    if (e->out.length > 0)
        return STREAM_EVENTS;
    return e->stream_ended ? STREAM_ENDED : STREAM_WAITS;
}

bool stream_begin(exchange *e)
{
    buffer_reserve(&e->out, USUAL_EVENTS); /* else it grows */
    return e->api->begin(e) && exchange_answer_stream(e);
}
