/* compute.c: answers that a worker makes of a body, because reading, rendering or tokenising it
 * takes long. */
#include "server/exchange.h"

bool exchange_await_work(exchange *e, bool *is_well)
{
    unsigned signals = exchange_take_signals(e);
    api_error error;
    bool is_stopped = (signals & SIGNAL_STOPPING) && exchange_withdraw_work(e);
    *is_well = true;
    if (is_stopped) {
        api_error_set_stopping(&error);
        *is_well = exchange_answer_error(e, &error);
    } else if (!e->is_working && e->has_work_error) {
        *is_well = exchange_answer_error(e, &e->work_error);
    } else {
        return !e->is_working;
    }
    return false;
}

static bool compute(exchange *e)
{
    json_t *body = request_object(e->body.data, e->body.length, &e->work_error);
    if (body == NULL)
        return false;
    e->computed = e->route->compute(e, body, &e->work_error);
    json_decref(body);
    return e->computed != NULL;
}

/* On a worker's thread. */
static void run_compute(work *w)
{
    exchange *e = exchange_of(w);
    e->has_work_error = !compute(e);
    exchange_drop_body(e);
    exchange_signal(e, SIGNAL_WORKED);
}

bool compute_begin(exchange *e)
{
    api_error error;
    return exchange_give_work(e, run_compute, &error) || exchange_answer_error(e, &error);
}

bool compute_resume(exchange *e)
{
    bool is_well;
    if (!exchange_await_work(e, &is_well))
        return is_well;
    json_t *answer = e->computed;
    e->computed = NULL;
    return exchange_answer(e, 200, answer);
}
