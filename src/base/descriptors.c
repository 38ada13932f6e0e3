/* descriptors.c: what is wanted of a descriptor, and what epoll was told of it. */
#include "base/descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

error_code descriptors_init(descriptors *d)
{
    *d = (descriptors){.epoll = epoll_create1(EPOLL_CLOEXEC)};
    return d->epoll >= 0 ? OK : ERR_MEMORY;
}

void descriptors_free(descriptors *d)
{
    if (d->epoll >= 0)
        close(d->epoll);
    free(d->all);
    *d = (descriptors){.epoll = -1};
}

uint64_t descriptors_data(int fd)
{
    return 2 * (uint64_t)fd + 1;
}

/* NULL: no memory. */
static watched_descriptor *find(descriptors *d, int fd)
{
    if (fd < 0)
        return NULL;
    if ((size_t)fd >= d->n) {
        size_t n = (size_t)fd + 1;
        watched_descriptor *longer = reallocarray(d->all, n, sizeof *longer);
        if (longer == NULL)
            return NULL;
        d->all = longer;
        while (d->n < n)
            d->all[d->n++] = (watched_descriptor){.wanted = 0};
    }
    return &d->all[fd];
}

static bool set(const descriptors *d, watched_descriptor *w, int fd, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.u64 = descriptors_data(fd)};
    int how = events == 0 ? EPOLL_CTL_DEL : w->set == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    bool is_done = epoll_ctl(d->epoll, how, fd, &e) == 0;
    if (!is_done && how == EPOLL_CTL_MOD && errno == ENOENT) /* another one of that number */
        is_done = epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &e) == 0;
    if (is_done || events == 0) /* one that is taken off may be closed already */
        w->set = events;
    return is_done || events == 0;
}

bool descriptors_opened(descriptors *d, int fd)
{
    watched_descriptor *w = find(d, fd);
    if (w != NULL)
        *w = (watched_descriptor){.is_connection = true};
    return w != NULL;
}

void descriptors_closed(descriptors *d, int fd)
{
    watched_descriptor *w = find(d, fd);
    if (w != NULL)
        *w = (watched_descriptor){.wanted = 0}; /* the system takes it off */
}

bool descriptors_want(descriptors *d, int fd, uint32_t events)
{
    watched_descriptor *w = find(d, fd);
    if (w == NULL)
        return false;
    w->wanted = events;
    if (events == w->set || (events == 0 && w->is_connection))
        return true;
    return set(d, w, fd, events);
}

int descriptors_take(descriptors *d, const struct epoll_event *event)
{
    int fd = (int)(event->data.u64 / 2);
    watched_descriptor *w = find(d, fd);
    if (w == NULL || w->set == 0) /* it was closed meanwhile */
        return -1;
    if (w->wanted != 0)
        return fd;
    set(d, w, fd,
        0); /* what an idle server says, its end mostly, is found when it is asked again */
    return -1;
}

error_code descriptors_move(descriptors *d, int epoll)
{
    int copy = fcntl(epoll, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return ERR_IO;
    close(d->epoll);
    d->epoll = copy;
    bool is_moved = true;
    for (size_t fd = 0; fd < d->n; fd++) {
        watched_descriptor *w = &d->all[fd];
        w->set = 0;
        is_moved = (w->wanted == 0 || set(d, w, (int)fd, w->wanted)) && is_moved;
    }
    return is_moved ? OK : ERR_IO;
}
