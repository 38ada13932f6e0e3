/*
 * connection.h: one client's socket: reads requests, one at a time and in order, and sends their
 * answers. Inside the server room only; its loop's thread alone calls, but for loop_post.
 *
 *   HEAD → BODY → WORKING → SENDING → HEAD …           keeps alive
 *                                   → LINGERING → closed
 *
 * Every state that waits for the client has a deadline. Nothing is read while an answer is worked
 * on or sent: what a client sends ahead stays in the system's buffer (EPOLLIN is waited for only
 * until it has come), and its going away is told by EPOLLRDHUP.
 */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include "base/buffer.h"
#include "server/gate.h"
#include "server/http_body.h"
#include "server/http_head.h"
#include "server/server.h"
#include "server/tls.h"

typedef struct loop loop;

typedef enum connection_state {
    CONNECTION_HEAD,
    CONNECTION_BODY,
    CONNECTION_WORKING,
    CONNECTION_SENDING,
    CONNECTION_LINGERING, /* answered; the client may still be writing, and would lose the answer if
                             its bytes met a closed socket */
    CONNECTION_GONE,      /* its socket is closed; a worker has its exchange */
    CONNECTION_OVER,      /* to be freed */
} connection_state;

struct connection {
    server *server;
    loop *loop; /* whose it is */
    int fd;
    tls_session *tls;            /* NULL: plain */
    connection *next, *previous; /* the loop's list: the oldest first */
    connection *next_posted;     /* guarded by the mailbox's lock, as is the next */
    bool is_posted;
    peer peer;
    connection *newer, *older; /* guarded by the gate's lock, as is the next */
    connection_excess excess;  /* which its loop alone changes */

    connection_state state;
    bool is_at_end;  /* the client has sent its last byte */
    bool closes;     /* after the answer */
    bool streams;    /* the answer's body comes from stream_next … */
    bool is_chunked; /* … in chunks, which HTTP/1.0 does not know */
    bool has_begun;  /* a head: some byte of it is there */
    bool is_ahead;   /* the client has sent more, which is read after the answer */
    uint32_t interest;
    double deadline_ms; /* of the state; 0: none */
    double body_start_ms;
    size_t body_bytes;

    buffer in; /* not yet understood */
    size_t scanned;
    char *head_text;
    http_head head;
    http_body body;
    struct exchange *exchange; /* from the head on until the answer is sent */
    buffer out;
    size_t out_sent;
};

/* Takes the socket. NULL: no memory, and the socket is closed. */
connection *connection_create(server *s, loop *of, int fd, const peer *from);
void connection_free(connection *c); /* only what is OVER */

/* Each moves on as far as it goes; the connection may be OVER after it. */
void connection_event(connection *c, uint32_t events);
void connection_posted(connection *c); /* its exchange has signals */
void connection_time(connection *c, double now_ms);
/* Closes at once, whatever it was doing. */
void connection_close(connection *c);

/* True: it waits for a request, whole or in part. Such a one may be closed to make room. */
bool connection_is_spare(const connection *c);
/* What epoll has to wait for. */
uint32_t connection_interest(const connection *c);

/* From the exchange: the answer's bytes, which are taken over. */
void connection_send(connection *c, buffer *answer, bool streams);

#endif
