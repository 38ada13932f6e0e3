/* connection.c: the states of a connection, and its answers on their way out. */
#include "server/connection_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/exchange.h"
#include "server/loop.h"

#define IN_LIMIT (HTTP_HEAD_LIMIT + 2 * CONNECTION_READ_SIZE)
#define OUT_LIMIT ((size_t)128 << 20) /* above the largest answer */
#define IDLE_MS 60000.0               /* between two requests */
#define LINGER_MS 5000.0

/* ---- life ----------------------------------------------------------------------------------- */

connection *connection_create(server *s, loop *of, int fd, const peer *from)
{
    connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->server = s;
    c->loop = of;
    c->fd = fd;
    c->peer = *from;
    c->tls = s->tls != NULL ? tls_session_create(s->tls, fd) : NULL;
    if (s->tls != NULL && c->tls == NULL) {
        close(fd);
        free(c);
        return NULL;
    }
    buffer_init(&c->in, IN_LIMIT);
    buffer_init(&c->out, OUT_LIMIT);
    connection_await(c, CONNECTION_HEAD, CONNECTION_HEAD_MS);
    atomic_fetch_add(&s->connections, 1);
    return c;
}

void connection_free(connection *c)
{
    buffer_free(&c->in);
    buffer_free(&c->out);
    free(c->head_text);
    free(c);
}

static void end_exchange(connection *c, bool completed)
{
    exchange *e = c->exchange;
    c->exchange = NULL;
    if (e == NULL)
        return;
    replies_release(e);
    exchange_log(e, completed);
    exchange_destroy(e);
    free(c->head_text);
    c->head_text = NULL;
}

/* The loop frees it, between two turns. */
static void be_over(connection *c)
{
    connection_await(c, CONNECTION_OVER, 0);
    loop_note_over(c);
}

void connection_close(connection *c)
{
    if (c->fd < 0)
        return;
    if (c->tls != NULL)
        tls_session_end(c->tls);
    tls_session_destroy(c->tls);
    c->tls = NULL;
    close(c->fd);
    c->fd = -1;
    atomic_fetch_sub(&c->server->connections, 1);
    loop_note_closed(c);
    if (c->exchange != NULL && !exchange_withdraw_work(c->exchange)) {
        connection_await(c, CONNECTION_GONE, 0);
        return;
    }
    end_exchange(c, false);
    be_over(c);
}

uint32_t connection_interest(const connection *c)
{
    bool reads_to_send = c->tls != NULL && tls_session_wants_read(c->tls);
    bool sends_to_read = c->tls != NULL && tls_session_wants_write(c->tls);
    uint32_t out = c->out.length > c->out_sent ? (uint32_t)EPOLLOUT : 0;
    /* Until there is something to read, the same as while it is read: nothing is to be changed. */
    uint32_t ahead = c->is_at_end  ? 0
                     : c->is_ahead ? (uint32_t)EPOLLRDHUP
                                   : (uint32_t)(EPOLLIN | EPOLLRDHUP);
    switch (c->state) {
    case CONNECTION_HEAD:
    case CONNECTION_BODY:
    case CONNECTION_LINGERING:
        return EPOLLIN | EPOLLRDHUP | out | (sends_to_read ? (uint32_t)EPOLLOUT : 0);
    case CONNECTION_WORKING:
        return ahead;
    case CONNECTION_SENDING:
        return ahead | (out != 0 && reads_to_send ? (uint32_t)EPOLLIN : out);
    default:
        return 0;
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

static ssize_t send_some(connection *c, const char *from, size_t size)
{
    return c->tls != NULL ? tls_session_write(c->tls, from, size)
                          : send(c->fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool connection_send_out(connection *c)
{
    while (c->out_sent < c->out.length) {
        ssize_t n = send_some(c, c->out.data + c->out_sent, c->out.length - c->out_sent);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return false;
        if (n < 0) {
            connection_close(c);
            return false;
        }
        c->out_sent += (size_t)n;
        if (c->state == CONNECTION_SENDING)
            c->deadline_ms = clock_ms() + CONNECTION_STALL_MS;
    }
    buffer_clear(&c->out);
    c->out_sent = 0;
    if (c->out.capacity > CONNECTION_READ_SIZE)
        buffer_free(&c->out);
    return true;
}

#define CHUNK_SIZE 20 /* bytes of a chunk's first line, at most */

static bool add_size(buffer *out, size_t length)
{
    static const char digits[] = "0123456789abcdef";
    char line[CHUNK_SIZE], *end = line + sizeof line, *at = end;
    *--at = '\n';
    *--at = '\r';
    do
        *--at = digits[length % 16];
    while ((length /= 16) > 0);
    return buffer_add(out, at, (size_t)(end - at)) == OK;
}

static bool add_chunk(connection *c, buffer *events)
{
    bool added = !c->is_chunked || add_size(&c->out, events->length);
    added = added && buffer_add(&c->out, events->data, events->length) == OK;
    added = added && (!c->is_chunked || buffer_add(&c->out, "\r\n", 2) == OK);
    buffer_clear(events);
    return added;
}

/* True: there may be more to go out with what there is. The connection may be closed. */
static bool fetch_events(connection *c)
{
    bool was_there = c->exchange->out.length > 0; /* and nothing was asked for it */
    stream_state state = stream_next(c->exchange);
    if (state == STREAM_WAITS)
        return false;
    if (state == STREAM_EVENTS && add_chunk(c, &c->exchange->out))
        return was_there || c->exchange->stream_ended;
    if (state == STREAM_ENDED && (!c->is_chunked || buffer_add_text(&c->out, "0\r\n\r\n") == OK)) {
        c->streams = false;
        return true;
    }
    connection_close(c);
    return false;
}

/* The answer has gone out. False: nothing more is taken from this client. */
static bool finish(connection *c)
{
    end_exchange(c, true);
    c->is_ahead = false;
    if (!c->closes) {
        c->has_begun = false;
        connection_await(c, CONNECTION_HEAD, IDLE_MS);
        return true;
    }
    if (c->tls != NULL)
        tls_session_end(c->tls);
    if (c->is_at_end || shutdown(c->fd, SHUT_WR) != 0)
        connection_close(c);
    else
        connection_await(c, CONNECTION_LINGERING, LINGER_MS);
    return false;
}

/* What there is of a stream goes out together: head, events and end. */
static bool move_sending(connection *c)
{
    bool has_room = c->out.length < CONNECTION_READ_SIZE;
    if (c->streams && has_room && fetch_events(c))
        return true;
    if (c->deadline_ms == 0 && c->out.length > 0)
        c->deadline_ms = clock_ms() + CONNECTION_STALL_MS;
    if (c->fd < 0 || !connection_send_out(c))
        return false;
    if (!c->streams)
        return finish(c);
    c->deadline_ms = 0; /* it is the reply that is waited for */
    return !has_room;
}

/* ---- events --------------------------------------------------------------------------------- */

static bool move_once(connection *c)
{
    switch (c->state) {
    case CONNECTION_HEAD:
        return connection_read_head(c);
    case CONNECTION_BODY:
        return connection_read_body(c);
    case CONNECTION_SENDING:
        return move_sending(c);
    case CONNECTION_LINGERING:
        buffer_clear(&c->in);
        return false;
    default:
        return false;
    }
}

static bool waits_for_bytes(const connection *c)
{
    return c->state == CONNECTION_HEAD || c->state == CONNECTION_BODY ||
           c->state == CONNECTION_LINGERING;
}

/* What TLS has taken from the socket already wakes nobody: it is read here. */
static void move(connection *c)
{
    do {
        while (move_once(c)) {
        }
    } while (waits_for_bytes(c) && !c->is_at_end && c->tls != NULL &&
             tls_session_has_more(c->tls) && connection_receive(c));
    if (c->is_at_end && waits_for_bytes(c))
        connection_close(c);
}

void connection_event(connection *c, uint32_t events)
{
    bool answers = c->state == CONNECTION_WORKING || c->state == CONNECTION_SENDING;
    if ((events & EPOLLERR) != 0 || ((events & EPOLLHUP) != 0 && answers)) {
        connection_close(c);
        return;
    }
    if (answers && (events & EPOLLRDHUP) != 0) {
        c->is_at_end = c->closes = true;
        if (c->state == CONNECTION_WORKING || c->streams) {
            connection_close(c); /* what it asked for, it does not wait for */
            return;
        }
    }
    c->is_ahead = c->is_ahead || (answers && (events & EPOLLIN) != 0);
    bool sends_to_read = c->tls != NULL && tls_session_wants_write(c->tls);
    bool readable = (events & (EPOLLIN | EPOLLHUP)) != 0 || (sends_to_read && (events & EPOLLOUT));
    if (readable && !answers && !connection_receive(c))
        return;
    if ((events & EPOLLOUT) != 0 && !answers && !connection_send_out(c) && c->fd < 0)
        return;
    move(c);
}

void connection_posted(connection *c)
{
    if (c->state == CONNECTION_GONE) {
        if (exchange_withdraw_work(c->exchange)) {
            end_exchange(c, false);
            be_over(c);
        }
        return;
    }
    if (c->state == CONNECTION_WORKING && !exchange_resume(c->exchange))
        connection_close(c);
    if (c->state == CONNECTION_SENDING)
        move(c);
}

void connection_time(connection *c, double now_ms)
{
    if (c->state == CONNECTION_SENDING && c->streams && c->out.length == 0)
        move(c); /* a comment, when it has been silent for long */
    if (c->deadline_ms == 0 || now_ms < c->deadline_ms)
        return;
    static const http_fault late = {408, "the request took too long to arrive"};
    if (c->state == CONNECTION_BODY || (c->state == CONNECTION_HEAD && c->has_begun)) {
        connection_refuse(c, &late);
        move(c);
    } else {
        connection_close(c);
    }
}
