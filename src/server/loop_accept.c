/* loop_accept.c: the first loop takes connections, within bounds, and gives them to the loops. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/loop_parts.h"

#define ACCEPTS_A_TURN 64

/* A peer that vanished without a word is found out in about a minute, also while it only waits. */
static void set_options(int fd)
{
    const int on = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* Every other loop is between two of its turns meanwhile: its connections may be looked at, and
 * closed. */
static void hold_others(const loops *all)
{
    for (size_t i = 1; i < all->n; i++)
        pthread_mutex_lock(&all->each[i]->turn);
}

static void let_others_go(const loops *all)
{
    for (size_t i = all->n; i-- > 1;)
        pthread_mutex_unlock(&all->each[i]->turn);
}

/* Closes a connection that waits for a request: the oldest of those without a place, before others.
 * False: all of them have been asked something. */
static bool make_room(loop *l)
{
    hold_others(l->all);
    connection *found = gate_find_spare(&l->server->gate);
    if (found != NULL)
        connection_close(found);
    let_others_go(l->all);
    return found != NULL;
}

/* The one with the fewest connections: a client's requests all come by one, and clients are much
 * alike. */
static loop *choose_loop(const loops *all)
{
    loop *least = all->each[0];
    for (size_t i = 1; i < all->n; i++)
        if (atomic_load(&all->each[i]->open) < atomic_load(&least->open))
            least = all->each[i];
    return least;
}

static void take(loop *l, int fd, const struct sockaddr_storage *from)
{
    server *s = l->server;
    size_t most = (size_t)s->options.max_connections + LOOP_RESERVE;
    if (atomic_load(&s->connections) >= most && !make_room(l)) {
        close(fd); /* all of them have been asked something */
        return;
    }
    peer p = peer_of(from);
    loop *to = choose_loop(l->all);
    connection *c = connection_create(s, to, fd, &p);
    if (c == NULL)
        return;
    set_options(fd);
    gate_enter(c);
    atomic_fetch_add(&to->open, 1);
    if (to == l)
        loop_enter(l, c);
    else
        mailbox_give(to->mailbox, c);
}

bool loop_listen(loop *l)
{
    bool watched = loop_watch(l, l->listen_fd, &l->listen_fd);
    l->accept_after_ms = watched ? 0 : clock_ms() + ACCEPT_PAUSE_MS;
    return watched;
}

static void pause_listening(loop *l)
{
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, l->listen_fd, NULL);
    l->accept_after_ms = clock_ms() + ACCEPT_PAUSE_MS;
}

/* Out of descriptors or memory: what waits in the backlog would wake us up again and again. */
static bool accept_failed(loop *l, int error)
{
    if (error == EINTR || error == ECONNABORTED)
        return true;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return false;
    if ((error == EMFILE || error == ENFILE) && make_room(l))
        return true;
    log_warn("cannot take a connection: %s; trying again in %.0f ms", strerror(error),
             ACCEPT_PAUSE_MS);
    pause_listening(l);
    return false;
}

void loop_take_all(loop *l)
{
    for (int i = 0; l->listen_fd >= 0 && i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage from = {.ss_family = AF_UNSPEC};
        socklen_t length = sizeof from;
        int fd =
            accept4(l->listen_fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0)
            take(l, fd, &from);
        else if (!accept_failed(l, errno))
            return;
    }
}

void loop_stop_listening(loop *l)
{
    if (l->listen_fd < 0)
        return;
    close(l->listen_fd);
    l->listen_fd = -1;
    l->accept_after_ms = 0;
}
