/* remote_lane.c: what a thread has: calls that came, attempts under way, the time to look; and what
 * the house and its lanes are told. */
#include <math.h>
#include <stdlib.h>

#include "backend/remote.h"
#include "base/this_thread.h"

/* ---- life ------------------------------------------------------------------------------------ */

error_code remote_lane_create(remote_lane **out, remote_house *h, failure *fail)
{
    remote_lane *l = calloc(1, sizeof *l);
    if (l == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for connections");
    l->house = h;
    l->arrivals_end = &l->arrivals;
    l->chosen_end = &l->chosen;
    error_code code = http_client_create(&l->client, fail);
    if (code != OK) {
        free(l);
        return code;
    }
    pthread_mutex_init(&l->lock, NULL);
    *out = l;
    return OK;
}

void remote_lane_destroy(remote_lane *l)
{
    http_client_destroy(l->client);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- what others tell it --------------------------------------------------------------------- */

void remote_lane_drive(remote_lane *l)
{
    atomic_store(&l->driver, this_thread());
}

/* Who adopted the lane takes a turn before it waits. */
static void wake(remote_lane *l)
{
    if (atomic_load(&l->driver) != this_thread())
        http_client_wake(l->client);
}

void remote_lane_look(remote_lane *l)
{
    atomic_store(&l->looks, true);
    wake(l);
}

void remote_lane_send(remote_lane *l, remote_call *c)
{
    c->lane = l;
    c->next = NULL;
    atomic_fetch_add(&c->references, 1);
    atomic_fetch_add(&c->backend->in_flight, 1);
    pthread_mutex_lock(&l->lock);
    *l->arrivals_end = c;
    l->arrivals_end = &c->next;
    pthread_mutex_unlock(&l->lock);
    wake(l);
}

void remote_lane_choose(remote_lane *l, remote_attempt *a, const remote_lane *by)
{
    *l->chosen_end = a;
    l->chosen_end = &a->next;
    atomic_store(&l->has_chosen, true);
    if (l != by)
        wake(l);
}

/* ---- what others tell the house -------------------------------------------------------------- */

void remote_house_lock(remote_house *h)
{
    pthread_mutex_lock(&h->pools);
}

void remote_house_unlock(remote_house *h)
{
    pthread_mutex_unlock(&h->pools);
}

void remote_house_send(remote_house *h, remote_call *c, size_t lane)
{
    remote_lane_send(h->lanes[lane % h->n_lanes], c);
}

void remote_house_look(remote_house *h)
{
    for (size_t i = 0; i < h->n_lanes; i++)
        remote_lane_look(h->lanes[i]);
}

void remote_house_change(remote_house *h, remote_backend *b, remote_change *change)
{
    pthread_mutex_lock(&h->lock);
    remote_change_free(b->change);
    b->change = change;
    pthread_mutex_unlock(&h->lock);
    remote_lane_look(h->lanes[0]);
}

/* ---- on its thread --------------------------------------------------------------------------- */

remote_call *remote_lane_take_arrivals(remote_lane *l)
{
    pthread_mutex_lock(&l->lock);
    remote_call *first = l->arrivals;
    l->arrivals = NULL;
    l->arrivals_end = &l->arrivals;
    pthread_mutex_unlock(&l->lock);
    return first;
}

remote_attempt *remote_lane_take_chosen(remote_lane *l)
{
    if (!atomic_exchange(&l->has_chosen, false))
        return NULL;
    remote_house_lock(l->house);
    remote_attempt *first = l->chosen;
    l->chosen = NULL;
    l->chosen_end = &l->chosen;
    remote_house_unlock(l->house);
    return first;
}

remote_attempt *remote_lane_first(remote_lane *l)
{
    l->cursor = l->attempts;
    return remote_lane_next(l);
}

remote_attempt *remote_lane_next(remote_lane *l)
{
    remote_attempt *a = l->cursor;
    l->cursor = a != NULL ? a->next : NULL;
    return a;
}

void remote_lane_look_by(remote_lane *l, double ms)
{
    l->look_ms = fmin(l->look_ms, ms);
}

void remote_lane_add(remote_lane *l, remote_attempt *a)
{
    a->next = l->attempts;
    if (l->attempts != NULL)
        l->attempts->before = a;
    l->attempts = a;
}

void remote_lane_drop(remote_lane *l, remote_attempt *a)
{
    if (l->cursor == a)
        l->cursor = a->next;
    if (a->next != NULL)
        a->next->before = a->before;
    if (a->before != NULL)
        a->before->next = a->next;
    else
        l->attempts = a->next;
    for (remote_attempt **at = &l->done; *at != NULL; at = &(*at)->next_done)
        if (*at == a) {
            *at = a->next_done;
            break;
        }
}

void remote_lane_note_done(remote_lane *l, remote_attempt *a)
{
    a->next_done = l->done;
    l->done = a;
}
