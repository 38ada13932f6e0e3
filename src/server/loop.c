/* loop.c: epoll: sockets, posted exchanges, and the clock of deadlines. */
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/loop_parts.h"

#define EVENTS_A_WAIT 64
#define TURNS_A_WAIT 128 /* before the loop looks at clients again */
#define TICK_MS 500      /* how exact deadlines are */

/* ---- its connections ------------------------------------------------------------------------- */

static void take_given(loop *l)
{
    for (connection *c; (c = mailbox_take_given(l->mailbox)) != NULL;)
        loop_enter(l, c);
}

void loop_close_all(loop *l)
{
    if (l->mailbox != NULL)
        take_given(l);
    for (connection *c = l->oldest; c != NULL; c = c->next) {
        connection_close(c);
        if (c->state == CONNECTION_GONE)
            connection_posted(c);
    }
    loop_free_dead(l);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static bool keeps_budgets(const loop *l)
{
    return l->number == 0 && l->server->budgets != NULL;
}

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
        loop_listen(l);
    if (now < l->next_tick_ms)
        return;
    l->next_tick_ms = now + TICK_MS;
    if (keeps_budgets(l))
        keep_budgets(l->server);
    for (connection *c = l->oldest; c != NULL; c = c->next) {
        connection_time(c, now);
        loop_watch_connection(l, c);
    }
}

static int sleep_ms(const loop *l)
{
    bool ticks = l->oldest != NULL || keeps_budgets(l);
    double most = l->accept_after_ms > 0 ? ACCEPT_PAUSE_MS : ticks ? TICK_MS : INFINITY;
    most = fmin(most, fmax(ceil(l->backends_ms - clock_ms()), 0));
    return most < INFINITY ? (int)most : -1;
}

/* True: somebody was told something. */
static bool take_posted(loop *l)
{
    bool was_told = false;
    for (connection *c; (c = mailbox_take(l->mailbox)) != NULL;) {
        connection_posted(c);
        loop_watch_connection(l, c);
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
        wait_ms = orchestra_turn(l->server->orchestra, l->number);
        orders = mailbox_open(l->mailbox);
        take_given(l);
        has_more = take_posted(l) || wait_ms <= 0;
    }
    l->backends_ms = has_more ? 0 : clock_ms() + wait_ms;
    if (orders.stops_listening || orders.ends)
        loop_stop_listening(l);
    return orders.ends;
}

/* True: connections wait to be taken. */
static bool take_event(loop *l, const struct epoll_event *event)
{
    void *of = event->data.ptr;
    if ((event->data.u64 & 1) != 0) /* no address */
        orchestra_note(l->server->orchestra, l->number, event);
    else if (of != l->mailbox && of != &l->listen_fd) {
        connection *c = of;
        if (c->fd >= 0) /* the first loop may have closed it meanwhile, to make room */
            connection_event(c, event->events);
        loop_watch_connection(l, c);
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

void *loop_thread(void *context)
{
    loop *l = context;
    ask_for_short_turns();
    struct epoll_event events[EVENTS_A_WAIT];
    pthread_mutex_lock(&l->turn);
    for (bool ends = false; !ends;) {
        int wait_ms = sleep_ms(l);
        pthread_mutex_unlock(&l->turn);
        int n = epoll_wait(l->epoll_fd, events, EVENTS_A_WAIT, wait_ms);
        pthread_mutex_lock(&l->turn);
        bool accepts = false;
        for (int i = 0; i < n; i++)
            accepts = take_event(l, &events[i]) || accepts;
        if (accepts)
            loop_take_all(l);
        tick(l);
        ends = take_turns(l);
        loop_free_dead(l);
    }
    pthread_mutex_unlock(&l->turn);
    return NULL;
}
