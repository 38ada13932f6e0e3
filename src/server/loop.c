/* loop.c: epoll: sockets, posted exchanges, and the clock of deadlines. */
#include "server/loop.h"

#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/exchange.h"
#include "server/gate.h"
#include "server/mailbox.h"

#define EVENTS_A_WAIT 64
#define ACCEPTS_A_TURN 64
#define TURNS_A_WAIT 128      /* before the loop looks at clients again */
#define TICK_MS 500           /* how exact deadlines are */
#define ACCEPT_PAUSE_MS 250.0 /* while there are no descriptors */

struct loop {
    server *server;
    int epoll_fd, listen_fd; /* listen_fd -1: no more */
    pthread_t thread;
    bool has_thread;
    double accept_after_ms; /* 0: the listening socket is waited for */
    double next_tick_ms;
    double backends_ms; /* when models at other servers want their next turn at the latest */
};

/* ---- the list, from the oldest to the newest ------------------------------------------------- */

static void enter(server *s, connection *c)
{
    c->previous = s->newest;
    if (s->newest != NULL)
        s->newest->next = c;
    else
        s->oldest = c;
    s->newest = c;
}

static void leave(server *s, connection *c)
{
    if (c->previous != NULL)
        c->previous->next = c->next;
    else
        s->oldest = c->next;
    if (c->next != NULL)
        c->next->previous = c->previous;
    else
        s->newest = c->previous;
}

/* Only between two turns: events of a turn may still name a connection that it closed. */
static void free_dead(loop *l)
{
    if (!l->server->has_dead)
        return;
    l->server->has_dead = false;
    for (connection *c = l->server->oldest, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state != CONNECTION_OVER)
            continue;
        leave(l->server, c);
        mailbox_forget(l->server->mailbox, c);
        connection_free(c);
    }
}

/* Sets what epoll waits for. */
static void watch_connection(loop *l, connection *c)
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

/* ---- taking connections ---------------------------------------------------------------------- */

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

/* Closes a connection that waits for a request: the oldest of those without a place, before others.
 * False: all of them have been asked something. */
static bool make_room(loop *l)
{
    connection *found = NULL;
    for (connection *c = l->server->oldest; c != NULL; c = c->next) {
        if (!connection_is_spare(c) || c->fd < 0)
            continue;
        if (c->excess != EXCESS_NONE) {
            found = c;
            break;
        }
        if (found == NULL)
            found = c;
    }
    if (found != NULL)
        connection_close(found);
    return found != NULL;
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
    connection *c = connection_create(s, fd, &p);
    if (c == NULL)
        return;
    set_options(fd);
    c->excess = gate_excess(c);
    enter(s, c);
    c->interest = connection_interest(c);
    struct epoll_event event = {.events = c->interest, .data.ptr = c};
    if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        connection_close(c);
}

static bool watch_fd(loop *l, int fd, void *of)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = of};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* Where the system has no memory to watch it, that is tried again after the pause, too. */
static bool watch_listener(loop *l)
{
    bool watched = watch_fd(l, l->listen_fd, &l->listen_fd);
    l->accept_after_ms = watched ? 0 : clock_ms() + ACCEPT_PAUSE_MS;
    return watched;
}

static void pause_listener(loop *l)
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
    pause_listener(l);
    return false;
}

static void take_all(loop *l)
{
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
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

static void stop_listening(loop *l)
{
    if (l->listen_fd < 0)
        return;
    close(l->listen_fd);
    l->listen_fd = -1;
    l->accept_after_ms = 0;
}

/* ---- the thread ------------------------------------------------------------------------------ */

static void keep_budgets(server *s)
{
    pthread_mutex_lock(&s->lock);
    keys *k = keys_take(s->keys);
    pthread_mutex_unlock(&s->lock);
    budget_file_keep(s->budgets, k);
    keys_release(k);
}

static void tick(loop *l)
{
    double now = clock_ms();
    if (l->accept_after_ms > 0 && now >= l->accept_after_ms)
        watch_listener(l);
    if (now < l->next_tick_ms)
        return;
    l->next_tick_ms = now + TICK_MS;
    if (l->server->budgets != NULL)
        keep_budgets(l->server);
    for (connection *c = l->server->oldest; c != NULL; c = c->next) {
        connection_time(c, now);
        watch_connection(l, c);
    }
}

static int sleep_ms(const loop *l)
{
    bool ticks = l->server->oldest != NULL || l->server->budgets != NULL;
    double most = l->accept_after_ms > 0 ? ACCEPT_PAUSE_MS : ticks ? TICK_MS : INFINITY;
    most = fmin(most, fmax(ceil(l->backends_ms - clock_ms()), 0));
    return most < INFINITY ? (int)most : -1;
}

/* True: somebody was told something. */
static bool take_posted(loop *l)
{
    mailbox *m = l->server->mailbox;
    bool was_told = false;
    for (connection *c; (c = mailbox_take(m)) != NULL;) {
        connection_posted(c);
        watch_connection(l, c);
        was_told = true;
    }
    return was_told;
}

/* What came is passed on, both ways, until nothing is left to pass on. True: the loop is to end. */
static bool take_turns(loop *l)
{
    mailbox_orders orders;
    double wait_ms = 0;
    bool has_more = true;
    for (int i = 0; has_more && i < TURNS_A_WAIT; i++) {
        wait_ms = orchestra_turn(l->server->orchestra);
        orders = mailbox_open(l->server->mailbox);
        has_more = take_posted(l) || wait_ms <= 0;
    }
    l->backends_ms = has_more ? 0 : clock_ms() + wait_ms;
    if (orders.stops_listening || orders.ends)
        stop_listening(l);
    return orders.ends;
}

/* True: connections wait to be taken. */
static bool take_event(loop *l, const struct epoll_event *event)
{
    void *of = event->data.ptr;
    if ((event->data.u64 & 1) != 0) /* no address */
        orchestra_note(l->server->orchestra, event);
    else if (of != l->server->mailbox && of != &l->listen_fd) {
        connection_event(of, event->events);
        watch_connection(l, of);
    }
    return of == &l->listen_fd;
}

#define TURN_NS 100000 /* the shortest that there is */

/* The system's struct sched_attr, in its first version: C libraries have none, or one of their own.
 */
typedef struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns */
} scheduling;

/* It never works for long, and somebody waits for each thing that it does. Where the scheduler
 * knows how long turns are to be (Linux 6.12), who asks for shorter ones has them sooner. */
static void ask_for_short_turns(void)
{
    scheduling a = {.size = sizeof a};
    if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0 || a.policy != SCHED_OTHER)
        return;
    a.runtime = TURN_NS;
    if (syscall(SYS_sched_setattr, 0, &a, 0) != 0)
        log_debug("HTTP loop: no shorter turns: %s", strerror(errno));
}

static void *loop_thread(void *context)
{
    loop *l = context;
    ask_for_short_turns();
    struct epoll_event events[EVENTS_A_WAIT];
    for (bool ends = false; !ends;) {
        int n = epoll_wait(l->epoll_fd, events, EVENTS_A_WAIT, sleep_ms(l));
        bool accepts = false;
        for (int i = 0; i < n; i++)
            accepts = take_event(l, &events[i]) || accepts;
        if (accepts && l->listen_fd >= 0)
            take_all(l);
        tick(l);
        ends = take_turns(l);
        free_dead(l);
    }
    return NULL;
}

static error_code open_loop(loop *l, failure *fail)
{
    mailbox *m = l->server->mailbox;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0 || !watch_fd(l, mailbox_fd(m), m) || !watch_listener(l))
        return failure_set(fail, ERR_IO, "cannot wait for connections: %s", strerror(errno));
    return orchestra_adopt(l->server->orchestra, l->epoll_fd, fail);
}

error_code loop_create(loop **out, server *s, int listen_fd, failure *fail)
{
    loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        close(listen_fd);
        return failure_set(fail, ERR_MEMORY, "no memory for the HTTP loop");
    }
    l->server = s;
    l->listen_fd = listen_fd;
    error_code code = open_loop(l, fail);
    int error = code == OK ? pthread_create(&l->thread, NULL, loop_thread, l) : 0;
    if (error != 0)
        code = failure_set(fail, ERR_IO, "cannot start the HTTP loop: %s", strerror(error));
    l->has_thread = code == OK && error == 0;
    if (code != OK)
        loop_destroy(l);
    else
        *out = l;
    return code;
}

void loop_destroy(loop *l)
{
    if (l == NULL)
        return;
    mailbox_end(l->server->mailbox);
    if (l->has_thread)
        pthread_join(l->thread, NULL);
    stop_listening(l);
    for (connection *c = l->server->oldest; c != NULL; c = c->next) {
        connection_close(c);
        if (c->state == CONNECTION_GONE)
            connection_posted(c);
    }
    free_dead(l);
    close(l->epoll_fd);
    free(l);
}
