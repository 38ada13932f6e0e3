/* completion.c: requests that a model replies to, whatever the API, and decisions. */
#include "server/exchange.h"

#include <stdlib.h>
#include <string.h>

static bool answer_error(exchange *e, const api_error *error)
{
    replies_release(e);
    return exchange_answer_error(e, error);
}

static bool answer_stopping(exchange *e)
{
    api_error error;
    api_error_set_stopping(&error);
    return answer_error(e, &error);
}

static bool answer_finished(exchange *e)
{
    exchange_note_cost(e);
    bool is_answered = e->decide_only ? exchange_answer(e, 200, decision_json(e->choices[0].run))
                                      : exchange_answer_whole(e);
    replies_release(e);
    return is_answered;
}

/* On a worker's thread: deciding includes tokenising for the model that answers. */
static void go_on(work *w)
{
    exchange *e = exchange_of(w);
    e->has_work_error = !replies_start(e, &e->work_error);
    exchange_signal(e, SIGNAL_WORKED);
}

/* From the plan on there is nothing in a poll that takes long. */
static bool answer_plan(exchange *e)
{
    if (!e->plan.known)
        exchange_note_plan(e);
    if (e->decide_only)
        return answer_finished(e);
    if (e->manner.stream)
        return stream_begin(e);
    if (!replies_poll(e))
        return false;
    const failure *fail = replies_failure(e);
    api_error error;
    if (fail != NULL) {
        api_error_from_failure(&error, fail);
        return answer_error(e, &error);
    }
    return !replies_are_told(e) || answer_finished(e);
}

static bool answer_loaded(exchange *e)
{
    bool is_answered = exchange_answer(e, 200, e->api->loaded(e));
    replies_release(e);
    return is_answered;
}

/* Moves the replies on until they are answered or there is nothing to do but wait. */
static bool advance(exchange *e)
{
    api_error error;
    if (e->asks_nothing)
        return answer_loaded(e);
    bool goes_on = e->has_news && !replies_have_plans(e) && replies_failure(e) == NULL;
    e->has_news = e->has_news && !goes_on;
    if (goes_on && !exchange_is_light(e))
        return exchange_give_work(e, go_on, &error) || answer_error(e, &error);
    if (goes_on && !replies_start(e, &error))
        return answer_error(e, &error);
    const failure *fail = replies_failure(e);
    if (fail != NULL) {
        api_error_from_failure(&error, fail);
        return answer_error(e, &error);
    }
    return !replies_have_plans(e) || answer_plan(e);
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

static bool parse(exchange *e, chat_request *r, api_error *error)
{
    request_text text = {.body = e->body.data,
                         .length = e->body.length,
                         .form = e->api->form,
                         .store = e->server->responses};
    return exchange_read_headers(e, &text, error) &&
           chat_request_parse(r, &text, &e->server->options.defaults, error);
}

static bool read_and_start(exchange *e, api_error *error)
{
    chat_request *r = malloc(sizeof *r);
    if (r == NULL)
        return api_error_set(error, 503, "out_of_memory", "", "no memory for the request");
    if (!parse(e, r, error)) {
        free(r);
        return false;
    }
    r->model = exchange_model(e, r->model);
    e->manner = r->manner;
    e->manner.n = e->decide_only ? 1 : r->manner.n;
    r->manner.n = e->manner.n;
    e->priority = r->request.priority;
    e->asks_nothing = r->asks_nothing;
    if (r->asks_nothing)
        return replies_have_model(e, r, error);
    return replies_create(e, r, error) && replies_start(e, error);
}

static bool begin_replies(exchange *e, api_error *error)
{
    bool has_begun = read_and_start(e, error);
    exchange_drop_body(e); /* a waiting request holds no more than it needs */
    return has_begun;
}

/* On a worker's thread. */
static void begin(work *w)
{
    exchange *e = exchange_of(w);
    e->has_work_error = !begin_replies(e, &e->work_error);
    exchange_signal(e, SIGNAL_WORKED);
}

bool completion_begin(exchange *e)
{
    api_error error;
    const char *prefix = e->api->id_prefix;
    size_t n = strlen(prefix);
    memcpy(e->reply_id, prefix, n);
    exchange_random_id(e->reply_id + n, REPLY_ID_DIGITS);
    if (!check_session(e, &error))
        return exchange_answer_error(e, &error);
    if (exchange_is_light(e))
        return begin_replies(e, &error) ? advance(e) : answer_error(e, &error);
    return exchange_give_work(e, begin, &error) || exchange_answer_error(e, &error);
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
    return e->has_work_error ? answer_error(e, &e->work_error) : advance(e);
}
