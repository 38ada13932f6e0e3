/* connection_read.c: what a client sends: heads and bodies, into exchanges. */
#include "server/connection_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "server/exchange.h"

#define BODY_MS 20000.0    /* a body has so long … */
#define BODY_BYTES_A_MS 16 /* … and a millisecond more for so much that came of it */

/* Room for most requests, which is kept between them; more for a body that goes on. */
#define FIRST_READ_SIZE 12288
#define BODY_READ_SIZE ((size_t)256 << 10) /* at once, so that others have their turn */

/* What comes next of a body goes where the body is kept, where that may be; else it is NULL. */
static char *body_room(const connection *c, size_t *most)
{
    uint64_t left = http_body_left(&c->body);
    if (c->state != CONNECTION_BODY || c->in.length > 0 || left == 0)
        return NULL;
    *most = left < BODY_READ_SIZE ? (size_t)left : BODY_READ_SIZE;
    return exchange_body_room(c->exchange, *most);
}

static char *in_room(connection *c, size_t *most)
{
    *most = c->state == CONNECTION_BODY ? CONNECTION_READ_SIZE : FIRST_READ_SIZE;
    return buffer_reserve(&c->in, *most) == OK ? c->in.data + c->in.length : NULL;
}

static void take_received(connection *c, bool is_body, size_t n)
{
    if (is_body) {
        http_body_skip(&c->body, n);
        c->body_bytes += n;
        exchange_body_came(c->exchange, n);
    } else {
        c->in.length += n;
        c->in.data[c->in.length] = '\0';
    }
}

bool connection_receive(connection *c)
{
    size_t most;
    char *to = body_room(c, &most);
    bool is_body = to != NULL;
    if (!is_body && (to = in_room(c, &most)) == NULL) {
        connection_close(c);
        return false;
    }
    ssize_t n =
        c->tls != NULL ? tls_session_read(c->tls, to, most) : recv(c->fd, to, most, MSG_DONTWAIT);
    if (n > 0) {
        take_received(c, is_body, (size_t)n);
    } else if (n == 0) {
        c->is_at_end = true;
    } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection_close(c);
        return false;
    }
    return true;
}

static void drop_front(buffer *b, size_t n)
{
    memmove(b->data, b->data + n, b->length - n);
    b->length -= n;
    if (b->length == 0 && b->capacity > HTTP_HEAD_LIMIT)
        buffer_free(b);
}

void connection_refuse(connection *c, const http_fault *fault)
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
    connection_await(c, CONNECTION_BODY, BODY_MS);
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!c->head.expects_continue || c->in.length > 0)
        return;
    if (buffer_add_text(&c->out, go_on) == OK)
        connection_send_out(c);
    else
        connection_close(c);
}

static bool answer_request(connection *c)
{
    connection_await(c, CONNECTION_WORKING, 0);
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
    connection_refuse(c, &fault);
    return c->state == CONNECTION_SENDING;
}

bool connection_read_head(connection *c)
{
    /* Old clients end a body with an empty line that belongs to nothing (RFC 9112, 2.2). */
    if (!c->has_begun && c->in.length >= 2 && memcmp(c->in.data, "\r\n", 2) == 0)
        drop_front(&c->in, 2);
    if (c->in.length == 0)
        return false;
    if (!c->has_begun) {
        c->has_begun = true;
        connection_await(c, CONNECTION_HEAD, CONNECTION_HEAD_MS);
    }
    http_fault fault;
    size_t length;
    switch (http_head_find(c->in.data, c->in.length, &c->scanned, &length, &fault)) {
    case HTTP_DONE:
        return read_head(c, length);
    case HTTP_BAD:
        connection_refuse(c, &fault);
        return c->state == CONNECTION_SENDING;
    default:
        return false;
    }
}

bool connection_read_body(connection *c)
{
    http_fault fault;
    size_t used = 0;
    http_progress progress = http_body_is_whole(&c->body) ? HTTP_DONE : HTTP_MORE;
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
        connection_refuse(c, &fault);
    return c->state == CONNECTION_SENDING;
}
