/* remote_house.c: one thread that sends all requests and takes all answers. */
#include <math.h>
#include <stdlib.h>

#include "backend/remote.h"
#include "base/clock.h"

#define LONGEST_WAIT_MS 1000.0
#define LOOK_LEAST_MS 2.0 /* between two looks at everything */

/* ---- the thread ------------------------------------------------------------------------------ */

static bool take_arrivals(remote_house *h, double now_ms)
{
    pthread_mutex_lock(&h->lock);
    remote_call *next = h->arrivals;
    h->arrivals = NULL;
    h->arrivals_end = &h->arrivals;
    bool goes_on = !h->is_ending && !h->is_adopted;
    for (remote_backend *b = h->backends; b != NULL; b = b->next) {
        if (b->change != NULL)
            remote_pools_change(b, b->change, now_ms);
        b->change = NULL;
    }
    pthread_mutex_unlock(&h->lock);
    while (next != NULL) {
        remote_call *c = next;
        next = c->next;
        remote_pools_take(c->backend, c, now_ms);
    }
    return goes_on;
}

static void settle_done(remote_house *h, double now_ms)
{
    while (h->done != NULL) {
        remote_attempt *a = h->done;
        failure why;
        pool_end_kind kind = remote_attempt_judge(a, &why);
        remote_pools_settle(a, kind, &why, now_ms);
    }
}

static void move_on(remote_house *h, double now_ms)
{
    settle_done(h, now_ms);
    bool looks = atomic_exchange(&h->has_cancelled, false) || now_ms >= h->look_ms;
    double next_ms = looks ? INFINITY : h->look_ms;
    for (remote_backend *b = h->backends; looks && b != NULL; b = b->next) {
        next_ms = fmin(next_ms, remote_pools_look(b, now_ms));
        next_ms = fmin(next_ms, remote_health_look(b, now_ms));
    }
    h->look_ms = fmax(next_ms, now_ms + LOOK_LEAST_MS);
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        remote_pools_dispatch(b, now_ms);
}

/* How long there is nothing to do but for what comes. */
static double rest_ms(const remote_house *h)
{
    return fmin(fmax(h->look_ms - clock_ms(), 0), LONGEST_WAIT_MS);
}

static void end_all(remote_house *h)
{
    failure why;
    failure_set(&why, ERR_CANCELLED, "the server is ending");
    while (h->attempts != NULL)
        remote_pools_settle(h->attempts, POOL_CANCELLED, &why, clock_ms());
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        while (b->waiting != NULL) {
            remote_call *c = b->waiting;
            b->waiting = c->next;
            remote_call_finish(c, &why);
        }
}

static void *work(void *context)
{
    remote_house *h = context;
    failure why;
    remote_house_lock(h);
    for (double now_ms = clock_ms(); take_arrivals(h, now_ms); now_ms = clock_ms()) {
        move_on(h, now_ms);
        remote_house_unlock(h);
        http_client_run(h->client, rest_ms(h), &why); /* what fails is looked for again */
        remote_house_lock(h);
    }
    remote_house_unlock(h);
    return NULL;
}

/* `reason`: is_ending or is_adopted. */
static void end_thread(remote_house *h, bool *reason)
{
    pthread_mutex_lock(&h->lock);
    *reason = true;
    pthread_mutex_unlock(&h->lock);
    if (!h->is_started)
        return;
    remote_house_wake(h);
    pthread_join(h->thread, NULL);
    h->is_started = false;
}

/* ---- or another's ---------------------------------------------------------------------------- */

static error_code adopt(backend_house *base, int epoll, failure *fail)
{
    remote_house *h = (remote_house *)base;
    end_thread(h, &h->is_adopted);
    return http_client_move(h->client, epoll, fail);
}

static void note(backend_house *base, const struct epoll_event *event)
{
    http_client_note(((remote_house *)base)->client, event);
}

static double turn(backend_house *base)
{
    remote_house *h = (remote_house *)base;
    bool has_more;
    failure why;
    remote_house_drive(h);
    do {
        remote_house_lock(h);
        double now_ms = clock_ms();
        take_arrivals(h, now_ms);
        move_on(h, now_ms);
        remote_house_unlock(h);
        has_more = http_client_step(h->client, &why);
    } while (h->done != NULL);
    return has_more ? 0 : fmin(rest_ms(h), http_client_wait_ms(h->client));
}

/* ---- the house ------------------------------------------------------------------------------- */

static bool takes(const config_model *m)
{
    return m->remote.url != NULL;
}

static void close_house(backend_house *base)
{
    remote_house *h = (remote_house *)base;
    end_thread(h, &h->is_ending);
    take_arrivals(h, clock_ms());
    end_all(h);
    for (remote_backend *next = h->backends; next != NULL;) {
        remote_backend *b = next;
        next = b->next;
        remote_free(b);
    }
    http_client_destroy(h->client);
    pthread_mutex_destroy(&h->lock);
    pthread_mutex_destroy(&h->pools);
    free(h);
}

static error_code open_house(backend_house **out, const house_setting *setting, failure *fail)
{
    (void)setting;
    remote_house *h = calloc(1, sizeof *h);
    if (h == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for connections");
    h->base.kind = &remote_models;
    h->arrivals_end = &h->arrivals;
    error_code code = http_client_create(&h->client, fail);
    if (code != OK) {
        free(h);
        return code;
    }
    pthread_mutex_init(&h->lock, NULL);
    pthread_mutex_init(&h->pools, NULL);
    *out = &h->base;
    return OK;
}

static error_code add(backend_house *base, const config_model *m, const house_progress *progress,
                      backend **out, failure *fail)
{
    (void)progress; /* nothing is loaded */
    remote_house *h = (remote_house *)base;
    remote_backend *b;
    error_code code = remote_create(&b, h, m, fail);
    if (code != OK)
        return code;
    b->next = h->backends;
    h->backends = b;
    *out = &b->base;
    return OK;
}

static error_code start(backend_house *base, failure *fail)
{
    remote_house *h = (remote_house *)base;
    if (pthread_create(&h->thread, NULL, work, h) != 0)
        return failure_set(fail, ERR_MEMORY, "cannot start the thread of connections");
    h->is_started = true;
    return OK;
}

const house_kind remote_models = {.takes = takes,
                                  .open = open_house,
                                  .add = add,
                                  .start = start,
                                  .close = close_house,
                                  .adopt = adopt,
                                  .note = note,
                                  .turn = turn};
