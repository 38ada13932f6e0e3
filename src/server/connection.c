#include "server/connection.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/exchange.h"
#include "server/loop.h"

#define READ_SIZE 65536
#define IN_LIMIT (HTTP_HEAD_LIMIT + 2 * READ_SIZE)
#define OUT_LIMIT ((size_t)128 << 20) /* above the largest answer */
#define HEAD_MS 10000.0               /* from a head's first byte, or the connection, to its last */
#define IDLE_MS 60000.0               /* between two requests */
#define BODY_MS 20000.0               /* a body has so long … */
#define BODY_BYTES_A_MS 16            /* … and a millisecond more for so much that came of it */
#define STALL_MS 60000.0              /* without a byte of the answer taken */
#define LINGER_MS 5000.0

static void await(connection *c, connection_state state, double within_ms)
{
    c->state = state;
    c->deadline_ms = within_ms > 0 ? clock_ms() + within_ms : 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

connection *connection_create(server *s, int fd, const peer *from)
{
    connection *c = calloc(1, sizeof *c);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    c->server = s;
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
    await(c, CONNECTION_HEAD, HEAD_MS);
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
    exchange_release_run(e);
    exchange_log(e, completed);
    exchange_destroy(e);
    free(c->head_text);
    c->head_text = NULL;
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
    if (c->exchange != NULL && !exchange_withdraw_work(c->exchange)) {
        await(c, CONNECTION_GONE, 0);
        return;
    }
    end_exchange(c, false);
    await(c, CONNECTION_OVER, 0);
}

bool connection_is_spare(const connection *c)
{
    return c->state == CONNECTION_HEAD || c->state == CONNECTION_LINGERING;
}

uint32_t connection_interest(const connection *c)
{
    bool reads_to_send = c->tls != NULL && tls_session_wants_read(c->tls);
    bool sends_to_read = c->tls != NULL && tls_session_wants_write(c->tls);
    uint32_t out = c->out.length > c->out_sent ? (uint32_t)EPOLLOUT : 0;
    switch (c->state) {
    case CONNECTION_HEAD:
    case CONNECTION_BODY:
    case CONNECTION_LINGERING:
        return EPOLLIN | out | (sends_to_read ? (uint32_t)EPOLLOUT : 0);
    case CONNECTION_WORKING:
        return EPOLLRDHUP;
    case CONNECTION_SENDING:
        return (c->is_at_end ? 0 : (uint32_t)EPOLLRDHUP) |
               (out != 0 && reads_to_send ? (uint32_t)EPOLLIN : out);
    default:
        return 0;
    }
}

/* ---- sending -------------------------------------------------------------------------------- */

void connection_send(connection *c, buffer *answer, bool streams)
{
    if (buffer_add(&c->out, answer->data, answer->length) != OK) {
        buffer_free(answer);
        c->closes = true;
        c->streams = false;
    } else {
        buffer_free(answer);
        c->streams = streams;
    }
    await(c, CONNECTION_SENDING, STALL_MS);
}

static ssize_t send_some(connection *c, const char *from, size_t size)
{
    return c->tls != NULL ? tls_session_write(c->tls, from, size)
                          : send(c->fd, from, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* False: the socket is closed, or takes no more just now. */
static bool send_out(connection *c)
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
            c->deadline_ms = clock_ms() + STALL_MS;
    }
    buffer_clear(&c->out);
    c->out_sent = 0;
    if (c->out.capacity > READ_SIZE)
        buffer_free(&c->out);
    return true;
}

static bool add_chunk(connection *c, buffer *events)
{
    bool added = !c->is_chunked || buffer_add_format(&c->out, "%zx\r\n", events->length) == OK;
    added = added && buffer_add(&c->out, events->data, events->length) == OK;
    added = added && (!c->is_chunked || buffer_add_text(&c->out, "\r\n") == OK);
    buffer_clear(events);
    return added;
}

/* Everything of a stream that there is so far was sent. False: nothing to do but wait. */
static bool fetch_events(connection *c)
{
    stream_state state = stream_next(c->exchange);
    if (state == STREAM_WAITS) {
        c->deadline_ms = 0;
        return false;
    }
    if (state == STREAM_EVENTS && add_chunk(c, &c->exchange->out))
        return true;
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
    if (!c->closes) {
        c->has_begun = false;
        await(c, CONNECTION_HEAD, IDLE_MS);
        return true;
    }
    if (c->tls != NULL)
        tls_session_end(c->tls);
    if (c->is_at_end || shutdown(c->fd, SHUT_WR) != 0)
        connection_close(c);
    else
        await(c, CONNECTION_LINGERING, LINGER_MS);
    return false;
}

static bool move_sending(connection *c)
{
    if (!send_out(c))
        return false;
    return c->streams ? fetch_events(c) : finish(c);
}

/* ---- reading -------------------------------------------------------------------------------- */

static void drop_front(buffer *b, size_t n)
{
    memmove(b->data, b->data + n, b->length - n);
    b->length -= n;
    if (b->length == 0 && b->capacity > HTTP_HEAD_LIMIT)
        buffer_free(b);
}

/* Tells what is wrong with what was sent, and takes no more. */
static void refuse(connection *c, const http_fault *fault)
{
    api_error error;
    c->closes = true;
    if (c->exchange == NULL)
        c->exchange = exchange_create(c->server, c, NULL);
    api_error_set(&error, fault->status, NULL, "", "%s", fault->what);
    if (c->exchange == NULL || !exchange_answer_error(c->exchange, &error))
        connection_close(c);
}

static void begin_body(connection *c)
{
    http_body_init(&c->body, &c->head);
    c->body_start_ms = clock_ms();
    c->body_bytes = 0;
    await(c, CONNECTION_BODY, BODY_MS);
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!c->head.expects_continue || c->in.length > 0)
        return;
    if (buffer_add_text(&c->out, go_on) == OK)
        send_out(c);
    else
        connection_close(c);
}

static bool answer_request(connection *c)
{
    await(c, CONNECTION_WORKING, 0);
    if (!exchange_ready(c->exchange))
        connection_close(c);
    return c->state == CONNECTION_SENDING;
}

static bool begin_exchange(connection *c)
{
    c->exchange = exchange_create(c->server, c, &c->head);
    if (c->exchange == NULL) {
        connection_close(c);
        return false;
    }
    c->closes = c->closes || !c->head.keeps_alive;
    c->is_chunked = !c->head.is_old;
    bool reads_body = exchange_headers(c->exchange);
    c->closes = c->closes || !reads_body;
    if (!reads_body || c->head.framing == HTTP_NO_BODY)
        return answer_request(c);
    begin_body(c);
    return c->state == CONNECTION_BODY;
}

static bool read_head(connection *c, size_t length)
{
    http_fault fault;
    c->head_text = malloc(length + 1);
    if (c->head_text == NULL) {
        connection_close(c);
        return false;
    }
    memcpy(c->head_text, c->in.data, length);
    c->head_text[length] = '\0';
    drop_front(&c->in, length);
    c->scanned = 0;
    if (http_head_read(&c->head, c->head_text, length, &fault))
        return begin_exchange(c);
    refuse(c, &fault);
    return c->state == CONNECTION_SENDING;
}

static bool move_head(connection *c)
{
    /* Old clients end a body with an empty line that belongs to nothing (RFC 9112, 2.2). */
    if (!c->has_begun && c->in.length >= 2 && memcmp(c->in.data, "\r\n", 2) == 0)
        drop_front(&c->in, 2);
    if (c->in.length == 0)
        return false;
    if (!c->has_begun) {
        c->has_begun = true;
        await(c, CONNECTION_HEAD, HEAD_MS);
    }
    http_fault fault;
    size_t length;
    switch (http_head_find(c->in.data, c->in.length, &c->scanned, &length, &fault)) {
    case HTTP_DONE:
        return read_head(c, length);
    case HTTP_BAD:
        refuse(c, &fault);
        return c->state == CONNECTION_SENDING;
    default:
        return false;
    }
}

static bool move_body(connection *c)
{
    http_fault fault;
    size_t used = 0;
    http_progress progress = HTTP_MORE;
    while (progress == HTTP_MORE && used < c->in.length) {
        size_t taken, n;
        const char *piece;
        progress = http_body_take(&c->body, c->in.data + used, c->in.length - used, &taken, &piece,
                                  &n, &fault);
        used += taken;
        c->body_bytes += taken;
        if (n > 0 && !exchange_body(c->exchange, piece, n)) {
            c->closes = true;
            return answer_request(c);
        }
    }
    if (used > 0)
        drop_front(&c->in, used);
    c->deadline_ms = c->body_start_ms + BODY_MS + (double)c->body_bytes / BODY_BYTES_A_MS;
    if (progress == HTTP_DONE)
        return answer_request(c);
    if (progress == HTTP_BAD)
        refuse(c, &fault);
    return c->state == CONNECTION_SENDING;
}

/* ---- events --------------------------------------------------------------------------------- */

static bool move_once(connection *c)
{
    switch (c->state) {
    case CONNECTION_HEAD:
        return move_head(c);
    case CONNECTION_BODY:
        return move_body(c);
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

/* Appends what has come; false: the connection is closed. */
static bool receive(connection *c)
{
    if (buffer_reserve(&c->in, READ_SIZE) != OK) {
        connection_close(c);
        return false;
    }
    char *to = c->in.data + c->in.length;
    ssize_t n = c->tls != NULL ? tls_session_read(c->tls, to, READ_SIZE)
                               : recv(c->fd, to, READ_SIZE, MSG_DONTWAIT);
    if (n > 0) {
        c->in.length += (size_t)n;
        c->in.data[c->in.length] = '\0';
    } else if (n == 0) {
        c->is_at_end = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection_close(c);
        return false;
    }
    return true;
}

/* What TLS has taken from the socket already wakes nobody: it is read here. */
static void move(connection *c)
{
    do {
        while (move_once(c)) {
        }
    } while (waits_for_bytes(c) && !c->is_at_end && c->tls != NULL &&
             tls_session_has_more(c->tls) && receive(c));
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
    bool sends_to_read = c->tls != NULL && tls_session_wants_write(c->tls);
    bool readable = (events & (EPOLLIN | EPOLLHUP)) != 0 || (sends_to_read && (events & EPOLLOUT));
    if (readable && !answers && !receive(c))
        return;
    if ((events & EPOLLOUT) != 0 && !answers && !send_out(c) && c->fd < 0)
        return;
    move(c);
}

void connection_posted(connection *c)
{
    if (c->state == CONNECTION_GONE) {
        if (exchange_withdraw_work(c->exchange)) {
            end_exchange(c, false);
            await(c, CONNECTION_OVER, 0);
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
        refuse(c, &late);
        move(c);
    } else {
        connection_close(c);
    }
}
