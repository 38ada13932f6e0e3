/* remote_queue.c: what the thread has: calls that came, attempts under way, the time to look. */
#include <math.h>

#include "backend/remote.h"

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

/* Its address stands for the thread: unlike a pthread_t it may be atomic, and be none. */
static _Thread_local char this_thread;

void remote_house_drive(remote_house *h)
{
    atomic_store(&h->driver, &this_thread);
}

/* Who adopted the house takes a turn before it waits. */
static void wake(remote_house *h)
{
    if (atomic_load(&h->driver) != &this_thread)
        http_client_wake(h->client);
}

void remote_house_wake(remote_house *h)
{
    atomic_store(&h->has_cancelled, true);
    wake(h);
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
    wake(h);
}

void remote_house_change(remote_house *h, remote_backend *b, remote_change *change)
{
    pthread_mutex_lock(&h->lock);
    remote_change_free(b->change);
    b->change = change;
    pthread_mutex_unlock(&h->lock);
    wake(h);
}
