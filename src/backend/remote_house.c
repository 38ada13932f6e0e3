/* remote_house.c: one thread that sends all requests and takes all answers. */
#include <math.h>
#include <stdlib.h>

#include "backend/remote.h"
#include "base/clock.h"

#define LONGEST_WAIT_MS 1000.0
#define LOOK_LEAST_MS 2.0 /* between two looks at everything */

struct remote_house {
    backend_house base;
    http_client *client;
    pthread_t thread;
    bool is_started;
    remote_backend *backends;

    /* The thread's. */
    remote_attempt *attempts; /* under way */
    remote_attempt *done;     /* of these, those that have ended by themselves */
    remote_attempt *cursor;   /* of a walk, the next one */
    double look_ms;           /* when time is looked at again */

    pthread_mutex_t pools;                 /* the thread's pools, which others may read */
    pthread_mutex_t lock;                  /* of the rest, and of backends' changes */
    remote_call *arrivals, **arrivals_end; /* who came first first */
    bool is_ending;
    atomic_bool has_cancelled;
};

void remote_house_lock(remote_house *h)
{
    pthread_mutex_lock(&h->pools);
}

void remote_house_unlock(remote_house *h)
{
    pthread_mutex_unlock(&h->pools);
}

http_client *remote_house_client(remote_house *h)
{
    return h->client;
}

/* ---- attempts -------------------------------------------------------------------------------- */

remote_attempt *remote_house_first(remote_house *h)
{
    h->cursor = h->attempts;
    return remote_house_next(h);
}

remote_attempt *remote_house_next(remote_house *h)
{
    remote_attempt *a = h->cursor;
    h->cursor = a != NULL ? a->next : NULL;
    return a;
}

void remote_house_look_by(remote_house *h, double ms)
{
    h->look_ms = fmin(h->look_ms, ms);
}

void remote_house_add(remote_house *h, remote_attempt *a)
{
    a->next = h->attempts;
    if (h->attempts != NULL)
        h->attempts->before = a;
    h->attempts = a;
}

void remote_house_drop(remote_house *h, remote_attempt *a)
{
    if (h->cursor == a)
        h->cursor = a->next;
    if (a->next != NULL)
        a->next->before = a->before;
    if (a->before != NULL)
        a->before->next = a->next;
    else
        h->attempts = a->next;
    for (remote_attempt **at = &h->done; *at != NULL; at = &(*at)->next_done)
        if (*at == a) {
            *at = a->next_done;
            break;
        }
}

void remote_house_note_done(remote_attempt *a)
{
    remote_house *h = a->call->backend->house;
    a->next_done = h->done;
    h->done = a;
}

/* ---- calls ----------------------------------------------------------------------------------- */

void remote_call_wake(remote_call *c)
{
    pthread_mutex_lock(&c->wake_lock);
    if (c->wake.call != NULL)
        c->wake.call(c->wake.context);
    pthread_mutex_unlock(&c->wake_lock);
}

static void count(const remote_call *c)
{
    remote_backend *b = c->backend;
    double took_ms = c->status.stats.prefill_ms + c->status.stats.decode_ms;
    double mean_ms = atomic_load(&b->reply_ms);
    atomic_fetch_add(&b->reply_tokens, c->status.stats.reply_tokens);
    atomic_store(&b->reply_ms, mean_ms == 0 ? took_ms : mean_ms + (took_ms - mean_ms) / 8);
}

void remote_call_finish(remote_call *c, const failure *why)
{
    pthread_mutex_lock(&c->lock);
    c->status.state = why->code == OK ? WORK_FINISHED : WORK_FAILED;
    c->status.failure = *why;
    if (why->code == OK)
        count(c);
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(&c->backend->in_flight, 1);
    remote_call_wake(c);
    remote_call_unreference(c);
}

void remote_call_unreference(remote_call *c)
{
    if (atomic_fetch_sub(&c->references, 1) > 1)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->wake_lock);
    event_stream_free(&c->events);
    buffer_free(&c->text);
    score_list_free(&c->scores);
    remote_probe_free(c->probe);
    free(c->body);
    free(c);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool take_arrivals(remote_house *h, double now_ms)
{
    pthread_mutex_lock(&h->lock);
    remote_call *next = h->arrivals;
    h->arrivals = NULL;
    h->arrivals_end = &h->arrivals;
    bool goes_on = !h->is_ending;
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

/* Returns how long there is nothing to do but for what comes. */
static double move_on(remote_house *h)
{
    double now_ms = clock_ms();
    settle_done(h, now_ms);
    bool looks = atomic_exchange(&h->has_cancelled, false) || now_ms >= h->look_ms;
    double next_ms = looks ? INFINITY : h->look_ms;
    for (remote_backend *b = h->backends; looks && b != NULL; b = b->next)
        next_ms = fmin(next_ms, remote_pools_look(b, now_ms));
    h->look_ms = fmax(next_ms, now_ms + LOOK_LEAST_MS);
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        remote_pools_dispatch(b, now_ms);
    return fmin(fmax(h->look_ms - now_ms, 0), LONGEST_WAIT_MS);
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
    while (take_arrivals(h, clock_ms())) {
        double wait_ms = move_on(h);
        remote_house_unlock(h);
        http_client_run(h->client, wait_ms, &why); /* what fails is looked for again */
        remote_house_lock(h);
    }
    end_all(h);
    remote_house_unlock(h);
    return NULL;
}

void remote_house_wake(remote_house *h)
{
    atomic_store(&h->has_cancelled, true);
    http_client_wake(h->client);
}

void remote_house_send(remote_house *h, remote_call *c)
{
    atomic_fetch_add(&c->references, 1);
    atomic_fetch_add(&c->backend->in_flight, 1);
    c->next = NULL;
    pthread_mutex_lock(&h->lock);
    *h->arrivals_end = c;
    h->arrivals_end = &c->next;
    pthread_mutex_unlock(&h->lock);
    http_client_wake(h->client);
}

void remote_house_change(remote_house *h, remote_backend *b, remote_change *change)
{
    pthread_mutex_lock(&h->lock);
    remote_change_free(b->change);
    b->change = change;
    pthread_mutex_unlock(&h->lock);
    http_client_wake(h->client);
}

/* ---- the house ------------------------------------------------------------------------------- */

static bool takes(const config_model *m)
{
    return m->remote.url != NULL;
}

static void close_house(backend_house *base)
{
    remote_house *h = (remote_house *)base;
    pthread_mutex_lock(&h->lock);
    h->is_ending = true;
    pthread_mutex_unlock(&h->lock);
    if (h->is_started) {
        remote_house_wake(h);
        pthread_join(h->thread, NULL);
    }
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

const house_kind remote_models = {
    .takes = takes, .open = open_house, .add = add, .start = start, .close = close_house};
