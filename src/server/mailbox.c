/* mailbox.c: a list of posted connections under a lock, and a descriptor that epoll waits for. */
#include "server/mailbox.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "base/this_thread.h"

struct mailbox {
    int fd;
    pthread_mutex_t lock; /* guards the others */
    connection *posted, *given;
    bool woken;
    const void *owner; /* the loop's thread, which looks before it waits; NULL: not known yet */
    mailbox_orders orders;
};

error_code mailbox_create(mailbox **out, failure *fail)
{
    mailbox *m = calloc(1, sizeof *m);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (m == NULL || fd < 0) {
        if (fd >= 0)
            close(fd);
        free(m);
        return failure_set(fail, ERR_MEMORY, "no memory for the HTTP loop");
    }
    m->fd = fd;
    pthread_mutex_init(&m->lock, NULL);
    *out = m;
    return OK;
}

void mailbox_destroy(mailbox *m)
{
    if (m == NULL)
        return;
    close(m->fd);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- any thread ------------------------------------------------------------------------------ */

/* Under the lock. */
static void wake(mailbox *m)
{
    uint64_t one = 1;
    if (m->woken || m->owner == this_thread())
        return;
    if (write(m->fd, &one, sizeof one) < 0)
        log_warn("cannot wake the HTTP loop: %s", strerror(errno));
    m->woken = true;
}

void mailbox_post(mailbox *m, connection *c)
{
    pthread_mutex_lock(&m->lock);
    if (!c->is_posted) {
        c->is_posted = true;
        c->next_posted = m->posted;
        m->posted = c;
        wake(m);
    }
    pthread_mutex_unlock(&m->lock);
}

void mailbox_give(mailbox *m, connection *c)
{
    pthread_mutex_lock(&m->lock);
    c->next = m->given;
    m->given = c;
    wake(m);
    pthread_mutex_unlock(&m->lock);
}

void mailbox_stop_listening(mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->orders.stops_listening = true;
    wake(m);
    pthread_mutex_unlock(&m->lock);
}

void mailbox_end(mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    m->orders.ends = true;
    wake(m);
    pthread_mutex_unlock(&m->lock);
}

/* ---- the loop's thread ----------------------------------------------------------------------- */

int mailbox_fd(const mailbox *m)
{
    return m->fd;
}

mailbox_orders mailbox_open(mailbox *m)
{
    uint64_t count;
    pthread_mutex_lock(&m->lock);
    m->owner = this_thread();
    if (m->woken && read(m->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        log_warn("the HTTP loop's wake-ups: %s", strerror(errno));
    m->woken = false;
    mailbox_orders orders = m->orders;
    pthread_mutex_unlock(&m->lock);
    return orders;
}

connection *mailbox_take(mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    connection *c = m->posted;
    if (c != NULL) {
        m->posted = c->next_posted;
        c->is_posted = false;
    }
    pthread_mutex_unlock(&m->lock);
    return c;
}

connection *mailbox_take_given(mailbox *m)
{
    pthread_mutex_lock(&m->lock);
    connection *c = m->given;
    if (c != NULL)
        m->given = c->next;
    pthread_mutex_unlock(&m->lock);
    return c;
}

void mailbox_forget(mailbox *m, connection *gone)
{
    pthread_mutex_lock(&m->lock);
    connection **at = &m->posted;
    while (gone->is_posted && *at != gone)
        at = &(*at)->next_posted;
    if (gone->is_posted)
        *at = gone->next_posted;
    pthread_mutex_unlock(&m->lock);
}
