#include "server/exchange.h"

#include <string.h>

static bool answer_failure(exchange *e, const failure *fail)
{
    api_error error;
    api_error_from_failure(&error, fail);
    exchange_release_run(e);
    return exchange_answer_error(e, &error);
}

static bool answer_stopping(exchange *e)
{
    api_error error;
    api_error_set_stopping(&error);
    exchange_release_run(e);
    return exchange_answer_error(e, &error);
}

static bool answer_finished(exchange *e)
{
    completion_head head = {e->completion_id, e->created, run_plan(e->run)->model, e->service_tier};
    json_t *body = e->decide_only
                       ? decision_json(e->run)
                       : completion_json(&head, e->text.data, e->text.length, e->run, e->seed);
    exchange_release_run(e);
    return exchange_answer(e, 200, body);
}

/* On a worker's thread: deciding includes tokenising for the model that answers. */
static void poll_probe(work *w)
{
    exchange *e = exchange_of(w);
    e->state = run_poll(e->run, &e->text, NULL);
    exchange_signal(e, SIGNAL_WORKED);
}

/* From the plan on there is nothing in a poll that takes long. */
static bool answer_plan(exchange *e)
{
    if (!e->plan.known)
        exchange_note_plan(e);
    if (e->stream && !e->decide_only)
        return stream_begin(e);
    if (e->state == RUN_REPLYING)
        e->state = run_poll(e->run, &e->text, NULL);
    if (e->state == RUN_FAILED)
        return answer_failure(e, run_failure(e->run));
    return e->state != RUN_FINISHED || answer_finished(e);
}

/* Moves the run on until it is answered or there is nothing to do but wait. */
static bool advance(exchange *e)
{
    api_error error;
    if (e->state == RUN_FAILED)
        return answer_failure(e, run_failure(e->run));
    if (e->state != RUN_PROBING)
        return answer_plan(e);
    if (!e->has_news)
        return true;
    e->has_news = false;
    return exchange_give_work(e, poll_probe, &error) || exchange_answer_error(e, &error);
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

/* Headers of ours are as strict as fields; all others are none of our business. */
static bool read_header(const http_header *h, request_text *out, api_error *error)
{
    if (strncasecmp(h->name, "x-a-io-", 7) != 0)
        return true;
    const char **to = strcasecmp(h->name + 7, "priority") == 0      ? &out->priority
                      : strcasecmp(h->name + 7, "deadline-ms") == 0 ? &out->deadline_ms
                                                                    : NULL;
    if (to == NULL)
        return api_error_set(
            error, 400, NULL, h->name,
            "unknown header '%s': x-a-io-priority and x-a-io-deadline-ms are known", h->name);
    if (*to != NULL)
        return api_error_set(error, 400, NULL, h->name, "the header '%s' was sent twice", h->name);
    *to = h->value;
    return true;
}

static bool parse(exchange *e, chat_request *r, api_error *error)
{
    request_text text = {.body = e->body.data, .length = e->body.length};
    for (size_t i = 0; i < e->head->n_headers; i++)
        if (!read_header(&e->head->headers[i], &text, error))
            return false;
    return chat_request_parse(r, &text, &e->server->options.defaults, error);
}

static bool parse_and_submit(exchange *e, api_error *error)
{
    chat_request r;
    if (!parse(e, &r, error))
        return false;
    e->stream = r.stream;
    e->include_usage = r.include_usage;
    e->continuous_usage = r.include_usage && r.continuous_usage;
    e->seed = r.seed;
    e->priority = r.request.priority;
    e->service_tier = r.service_tier;
    memcpy(e->user, r.user, sizeof e->user);
    failure fail;
    error_code code = submit(e, &r, &fail);
    chat_request_free(&r);
    if (code != OK)
        api_error_from_failure(error, &fail);
    return code == OK;
}

/* On a worker's thread. */
static void begin_run(work *w)
{
    exchange *e = exchange_of(w);
    e->has_work_error = !parse_and_submit(e, &e->work_error);
    exchange_drop_body(e); /* a waiting request holds no more than it needs */
    if (!e->has_work_error)
        e->state = run_poll(e->run, &e->text, NULL);
    exchange_signal(e, SIGNAL_WORKED);
}

bool completion_begin(exchange *e)
{
    api_error error;
    return (check_session(e, &error) && exchange_give_work(e, begin_run, &error)) ||
           exchange_answer_error(e, &error);
}

bool route_begin(exchange *e)
{
    e->decide_only = true;
    return completion_begin(e);
}

bool completion_resume(exchange *e)
{
    unsigned signals = exchange_take_signals(e);
    if ((signals & SIGNAL_STOPPING) && exchange_withdraw_work(e))
        return answer_stopping(e);
    if (e->is_working)
        return true;
    return e->has_work_error ? exchange_answer_error(e, &e->work_error) : advance(e);
}
