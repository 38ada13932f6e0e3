/* loop_parts.h: between loops.c, which has the loops' life, loop.c, which has their turns,
 * loop_list.c, which has what they wait for, loop_accept.c, where the first one takes connections,
 * and loop_tell.c, which others call. */
#ifndef SERVER_LOOP_PARTS_H
#define SERVER_LOOP_PARTS_H

#include <pthread.h>

#include "backend/house.h"
#include "server/exchange.h"
#include "server/loop.h"

struct loop {
    server *server;
    loops *all;
    size_t number;
    int epoll_fd;
    mailbox *mailbox;   /* what it is told */
    atomic_size_t open; /* its connections whose sockets are */
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t turn;        /* of the rest: the thread's, but while it waits */
    connection *oldest, *newest; /* the list of its connections … */
    bool has_dead;               /* … in which some are over */
    double next_tick_ms;
    double backends_ms; /* when models at other servers want their next turn at the latest */

    /* The first one's. */
    int listen_fd;          /* -1: it does not take any, or no more */
    double accept_after_ms; /* 0: the listening socket is waited for */
};

struct loops {
    size_t n;
    loop *each[HOUSE_MOST_LANES];
};

#define ACCEPT_PAUSE_MS 250.0 /* while there are no descriptors */

/* ---- loop.c ---------------------------------------------------------------------------------- */

void *loop_thread(void *context);
/* What was given to it and it did not see, too. Its thread has ended. */
void loop_close_all(loop *l);

/* ---- loop_list.c ----------------------------------------------------------------------------- */

/* A connection that was taken becomes its own. The first loop may have closed it meanwhile, to make
 * room. */
void loop_enter(loop *l, connection *c);
/* Frees what is over. Only between two turns: events of a turn may still name a connection that it
 * closed. */
void loop_free_dead(loop *l);
bool loop_watch(loop *l, int fd, void *of);         /* until it can be read */
void loop_watch_connection(loop *l, connection *c); /* for what it waits for now */

/* ---- loop_accept.c --------------------------------------------------------------------------- */

/* Where the system has no memory to watch the socket, that is tried again after the pause, too. */
bool loop_listen(loop *l);
void loop_stop_listening(loop *l);
void loop_take_all(loop *l); /* connections that wait */

#endif
