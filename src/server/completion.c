#include "server/exchange.h"

#include <string.h>

static enum MHD_Result answer_failure(exchange *e, const failure *fail)
{
    api_error error;
    api_error_from_failure(&error, fail);
    exchange_release_run(e);
    return exchange_answer_error(e, &error);
}

static enum MHD_Result answer_stopping(exchange *e)
{
    api_error error;
    api_error_set_stopping(&error);
    exchange_release_run(e);
    return exchange_answer_error(e, &error);
}

static enum MHD_Result answer_finished(exchange *e)
{
    completion_head head = {e->completion_id, e->created, run_plan(e->run)->model, e->service_tier};
    json_t *body = e->decide_only
                       ? decision_json(e->run)
                       : completion_json(&head, e->text.data, e->text.length, e->run, e->seed);
    exchange_release_run(e);
    return exchange_answer(e, 200, body);
}

/* Moves the run on until it is answered or there is nothing to do but wait. */
static enum MHD_Result advance(exchange *e)
{
    do {
        unsigned signals = exchange_take_signals(e);
        if (signals & SIGNAL_GONE)
            return MHD_NO; /* closes the connection, which ends the run */
        if (signals & SIGNAL_STOPPING)
            return answer_stopping(e);
        e->state = run_poll(e->run, &e->text, NULL);
        if (e->state == RUN_FAILED)
            return answer_failure(e, run_failure(e->run));
        if (e->state != RUN_PROBING && !e->plan.known)
            exchange_note_plan(e);
        if (e->plan.known && e->stream && !e->decide_only)
            return stream_begin(e);
        if (e->state == RUN_FINISHED)
            return answer_finished(e);
    } while (!exchange_suspend(e));
    return MHD_YES;
}

static error_code submit(exchange *e, const chat_request *r, failure *fail)
{
    run_options options = {.model = r->model,
                           .lookup = r->has_lookup ? &r->lookup : NULL,
                           .decide_only = e->decide_only,
                           .sampling_given = r->sampling_given,
                           .id = e->id,
                           .session = exchange_header(e, "x-session-id"),
                           .header = exchange_header,
                           .header_context = e};
    wakeup wake = {exchange_wake, e};
    run *started;
    error_code code =
        orchestra_submit(e->server->orchestra, &r->request, &options, wake, &started, fail);
    if (code == OK)
        exchange_attach(e, started);
    return code;
}

#define MAX_SESSION 256

static bool check_session(exchange *e, api_error *error)
{
    const char *session = exchange_header(e, "x-session-id");
    if (session == NULL || (session[0] != '\0' && strlen(session) <= MAX_SESSION))
        return true;
    return api_error_set(error, 400, NULL, "x-session-id",
                         "the header 'x-session-id' must have 1 to %d characters", MAX_SESSION);
}

typedef struct header_reader {
    request_text *out;
    api_error *error;
    bool refused;
} header_reader;

/* Headers of ours are as strict as fields; all others are none of our business. */
static enum MHD_Result read_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    header_reader *h = context;
    if (strncasecmp(name, "x-a-io-", 7) != 0)
        return MHD_YES;
    const char **to = strcasecmp(name + 7, "priority") == 0      ? &h->out->priority
                      : strcasecmp(name + 7, "deadline-ms") == 0 ? &h->out->deadline_ms
                                                                 : NULL;
    h->refused = to == NULL || *to != NULL;
    if (h->refused) {
        api_error_set(h->error, 400, NULL, name,
                      to == NULL ? "unknown header '%s': x-a-io-priority and x-a-io-deadline-ms "
                                   "are known"
                                 : "the header '%s' was sent twice",
                      name);
        return MHD_NO;
    }
    *to = value != NULL ? value : "";
    return MHD_YES;
}

static bool parse(exchange *e, chat_request *r, api_error *error)
{
    request_text text = {.body = e->body.data, .length = e->body.length};
    header_reader h = {.out = &text, .error = error};
    MHD_get_connection_values(e->connection, MHD_HEADER_KIND, read_header, &h);
    return !h.refused && chat_request_parse(r, &text, &e->server->options.defaults, error);
}

enum MHD_Result completion_begin(exchange *e)
{
    chat_request r;
    api_error error;
    if (!check_session(e, &error))
        return exchange_answer_error(e, &error);
    if (!parse(e, &r, &error))
        return exchange_answer_error(e, &error);
    e->stream = r.stream;
    e->include_usage = r.include_usage;
    e->seed = r.seed;
    e->priority = r.request.priority;
    e->service_tier = r.service_tier;
    memcpy(e->user, r.user, sizeof e->user);
    failure fail;
    error_code code = submit(e, &r, &fail);
    chat_request_free(&r);
    exchange_drop_body(e); /* a waiting request holds no more than it needs */
    return code == OK ? advance(e) : answer_failure(e, &fail);
}

enum MHD_Result route_begin(exchange *e)
{
    e->decide_only = true;
    return completion_begin(e);
}

enum MHD_Result completion_resume(exchange *e)
{
    return advance(e);
}
