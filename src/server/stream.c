#include "server/exchange.h"

#include "base/json.h"

#include <string.h>

#include "base/clock.h"

#define KEEP_ALIVE_MS 4000.0 /* silence after which a comment is sent */

static completion_head head_of(const exchange *e)
{
    return (completion_head){e->completion_id, e->created, run_plan(e->run)->model,
                             e->service_tier};
}

/* One event; false when there is no memory for it. */
static bool add_event(exchange *e, json_t *value)
{
    e->last_event_ms = clock_ms();
    return buffer_add_text(&e->out, "data: ") == OK && json_write(&e->out, value) == OK &&
           buffer_add_text(&e->out, "\n\n") == OK;
}

static bool add_chunk(exchange *e, json_t *chunk)
{
    if (chunk != NULL && e->continuous_usage)
        json_object_set_new(chunk, "usage", usage_json(&run_receipt(e->run)->reply));
    else if (chunk != NULL && e->include_usage)
        json_object_set_new(chunk, "usage", json_null()); /* as OpenAI does: the last one has it */
    return add_event(e, chunk);
}

static bool add_role(exchange *e)
{
    completion_head head = head_of(e);
    json_t *delta = json_pack("{s:s, s:s}", "role", "assistant", "content", "");
    return add_chunk(e, chunk_json(&head, delta, NULL));
}

static bool add_text(exchange *e)
{
    if (e->text.length == 0)
        return true;
    completion_head head = head_of(e);
    json_t *delta = json_pack("{s:o}", "content", json_text(e->text.data, e->text.length));
    buffer_clear(&e->text);
    return add_chunk(e, chunk_json(&head, delta, NULL));
}

/* The run has said everything: what is left is in `out`. */
static bool end(exchange *e, bool added)
{
    e->stream_ended = true;
    exchange_release_run(e);
    return added;
}

static bool add_end(exchange *e)
{
    completion_head head = head_of(e);
    const sequence_stats *stats = &run_receipt(e->run)->reply;
    json_t *last = chunk_json(&head, json_object(), finish_reason_text(run_finish_reason(e->run)));
    if (last == NULL)
        return false;
    json_object_set_new(last, "timings", timings_json(stats));
    json_object_set_new(last, "a_io", account_json(e->run, (uint64_t)e->seed));
    if (!add_chunk(e, last))
        return false;
    if (e->include_usage) {
        json_t *usage = chunk_json(&head, json_object(), NULL);
        if (usage == NULL)
            return false;
        json_object_set_new(usage, "choices", json_array());
        json_object_set_new(usage, "usage", usage_json(stats));
        if (!add_event(e, usage))
            return false;
    }
    return end(e, buffer_add_text(&e->out, "data: [DONE]\n\n") == OK);
}

static bool add_error(exchange *e, const api_error *error)
{
    return end(e, add_event(e, api_error_json(error)));
}

/* Turns what happened since the last call into events; false: no memory, close the connection. */
static bool advance(exchange *e)
{
    unsigned signals = exchange_take_signals(e);
    api_error error;
    if (signals & SIGNAL_STOPPING) {
        api_error_set_stopping(&error);
        return add_error(e, &error);
    }
    if (e->state == RUN_REPLYING)
        e->state = run_poll(e->run, &e->text, NULL);
    if (!add_text(e))
        return false;
    if (e->state == RUN_FAILED) {
        api_error_from_failure(&error, run_failure(e->run));
        return add_error(e, &error);
    }
    if (e->state == RUN_FINISHED)
        return add_end(e);
    if (e->out.length == 0 && clock_ms() - e->last_event_ms >= KEEP_ALIVE_MS) {
        e->last_event_ms = clock_ms();
        return buffer_add_text(&e->out, ": keep-alive\n\n") == OK;
    }
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
    return add_role(e) && exchange_answer_stream(e);
}
