/* loop_list.c: a loop's connections, from the oldest to the newest, and what epoll waits for. */
#include <sys/epoll.h>

#include "server/loop_parts.h"

static void add_newest(loop *l, connection *c)
{
    c->next = NULL;
    c->previous = l->newest;
    if (l->newest != NULL)
        l->newest->next = c;
    else
        l->oldest = c;
    l->newest = c;
}

static void leave(loop *l, connection *c)
{
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        l->oldest = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    else
        l->newest = c->previous;
}

void loop_free_dead(loop *l)
{
    if (!l->has_dead)
        return;
    l->has_dead = false;
    for (connection *c = l->oldest, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state != CONNECTION_OVER)
            continue;
        leave(l, c);
        mailbox_forget(l->mailbox, c);
        connection_free(c);
    }
}

void loop_watch_connection(loop *l, connection *c)
{
    uint32_t interest = connection_interest(c);
    if (c->fd < 0 || interest == c->interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = c};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, c->fd, &event) == 0)
        c->interest = interest;
    else
        connection_close(c);
}

bool loop_watch(loop *l, int fd, void *of)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = of};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

void loop_enter(loop *l, connection *c)
{
    add_newest(l, c);
    c->interest = connection_interest(c);
    struct epoll_event event = {.events = c->interest, .data.ptr = c};
    if (c->fd >= 0 && epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        connection_close(c);
}
