/* remote_house.c: the threads that send all requests and take all answers: one of the house's own,
 * or those that adopted it, each with a lane. */
#include <math.h>
#include <stdlib.h>

#include "backend/remote.h"
#include "base/clock.h"

#define LONGEST_WAIT_MS 1000.0 /* with requests under way */
#define LOOK_LEAST_MS 2.0      /* between two looks at everything */

/* ---- a turn ---------------------------------------------------------------------------------- */

static bool is_first(const remote_lane *l)
{
    return l == l->house->lanes[0];
}

/* False: the house's own thread is to end. */
static bool take_changes(remote_house *h, double now_ms)
{
    pthread_mutex_lock(&h->lock);
    bool goes_on = !h->is_ending && !h->is_adopted;
    for (remote_backend *b = h->backends; b != NULL; b = b->next) {
        remote_change *change = b->change;
        b->change = NULL;
        if (change == NULL)
            continue;
        remote_house_lock(h);
        remote_pools_change(b, change, now_ms);
        remote_house_unlock(h);
    }
    pthread_mutex_unlock(&h->lock);
    return goes_on;
}

static void settle_done(remote_lane *l, double now_ms)
{
    while (l->done != NULL) {
        remote_attempt *a = l->done;
        failure why;
        pool_end_kind kind = remote_attempt_judge(a, &why);
        remote_pools_settle(a, kind, &why, now_ms);
    }
}

static double look_at_health(remote_house *h, double now_ms)
{
    double next_ms = INFINITY;
    remote_house_lock(h);
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        next_ms = fmin(next_ms, remote_health_look(b, now_ms));
    remote_house_unlock(h);
    return next_ms;
}

/* At all that time may change, when it is time to. */
static void look(remote_lane *l, double now_ms)
{
    if (!atomic_exchange(&l->looks, false) && now_ms < l->look_ms)
        return;
    double next_ms = is_first(l) ? look_at_health(l->house, now_ms) : INFINITY;
    l->look_ms = INFINITY;
    next_ms = fmin(next_ms, remote_pools_look(l, now_ms));
    remote_lane_look_by(l, fmax(next_ms, now_ms + LOOK_LEAST_MS));
}

/* A lane that only passes on what comes takes no lock that others have. */
static void dispatch(remote_lane *l, double now_ms)
{
    remote_house *h = l->house;
    remote_call *arrived = remote_lane_take_arrivals(l);
    bool waits = arrived != NULL;
    for (remote_backend *b = h->backends; !waits && b != NULL; b = b->next)
        waits = atomic_load(&b->n_waiting) > 0;
    if (!waits)
        return;
    remote_house_lock(h);
    while (arrived != NULL) {
        remote_call *c = arrived;
        arrived = c->next;
        remote_pools_take(c->backend, c, now_ms);
    }
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        remote_pools_dispatch(l, b, now_ms);
    remote_house_unlock(h);
}

static void move_on(remote_lane *l, double now_ms)
{
    settle_done(l, now_ms);
    look(l, now_ms);
    dispatch(l, now_ms);
    remote_pools_send(l, now_ms);
}

/* How long there is nothing to do but for what comes; INFINITY: there is nothing. */
static double rest_ms(const remote_lane *l)
{
    double rest = fmax(l->look_ms - clock_ms(), 0);
    return l->attempts != NULL ? fmin(rest, LONGEST_WAIT_MS) : rest;
}

/* ---- the house's own thread ------------------------------------------------------------------ */

static void *work(void *context)
{
    remote_house *h = context;
    remote_lane *l = h->lanes[0];
    failure why;
    for (double now_ms = clock_ms(); take_changes(h, now_ms); now_ms = clock_ms()) {
        move_on(l, now_ms);
        /* What fails is looked for again. */
        http_client_run(l->client, fmin(rest_ms(l), LONGEST_WAIT_MS), &why);
    }
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
    remote_lane_look(h->lanes[0]);
    pthread_join(h->thread, NULL);
    h->is_started = false;
}

/* ---- or others' ------------------------------------------------------------------------------ */

static error_code adopt(backend_house *base, const int *epolls, size_t n, failure *fail)
{
    remote_house *h = (remote_house *)base;
    error_code code = OK;
    end_thread(h, &h->is_adopted);
    for (; code == OK && h->n_lanes < n; h->n_lanes += code == OK)
        code = remote_lane_create(&h->lanes[h->n_lanes], h, fail);
    for (size_t i = 0; code == OK && i < n; i++)
        code = http_client_move(h->lanes[i]->client, epolls[i], fail);
    return code;
}

static void note(backend_house *base, size_t lane, const struct epoll_event *event)
{
    http_client_note(((remote_house *)base)->lanes[lane]->client, event);
}

static double turn(backend_house *base, size_t lane)
{
    remote_house *h = (remote_house *)base;
    remote_lane *l = h->lanes[lane];
    bool has_more;
    failure why;
    remote_lane_drive(l);
    do {
        double now_ms = clock_ms();
        if (is_first(l))
            take_changes(h, now_ms);
        move_on(l, now_ms);
        has_more = http_client_step(l->client, &why);
    } while (l->done != NULL);
    return has_more ? 0 : fmin(rest_ms(l), http_client_wait_ms(l->client));
}

/* ---- the house ------------------------------------------------------------------------------- */

static bool takes(const config_model *m)
{
    return m->remote.url != NULL;
}

/* No thread is left: what is under way ends, sent or not. */
static void end_lane(remote_lane *l, const failure *why)
{
    for (remote_call *c = remote_lane_take_arrivals(l), *next; c != NULL; c = next) {
        next = c->next;
        remote_call_finish(c, why);
    }
    for (remote_attempt *a = remote_lane_take_chosen(l), *next; a != NULL; a = next) {
        next = a->next;
        remote_lane_add(l, a);
    }
    while (l->attempts != NULL)
        remote_pools_settle(l->attempts, POOL_CANCELLED, why, clock_ms());
}

static void end_all(remote_house *h)
{
    failure why;
    failure_set(&why, ERR_CANCELLED, "the server is ending");
    for (size_t i = 0; i < h->n_lanes; i++)
        end_lane(h->lanes[i], &why);
    for (remote_backend *b = h->backends; b != NULL; b = b->next)
        while (b->waiting != NULL) {
            remote_call *c = b->waiting;
            b->waiting = c->next;
            remote_call_finish(c, &why);
        }
}

static void close_house(backend_house *base)
{
    remote_house *h = (remote_house *)base;
    end_thread(h, &h->is_ending);
    end_all(h);
    for (remote_backend *next = h->backends; next != NULL;) {
        remote_backend *b = next;
        next = b->next;
        remote_free(b);
    }
    while (h->n_lanes > 0)
        remote_lane_destroy(h->lanes[--h->n_lanes]);
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
    error_code code = remote_lane_create(&h->lanes[0], h, fail);
    if (code != OK) {
        free(h);
        return code;
    }
    h->n_lanes = 1;
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
