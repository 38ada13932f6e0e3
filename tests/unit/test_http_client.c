/* Requests at a server of this process, which means harm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/http_client.h"

#define MOST 8
#define LIMIT 1000      /* of a body, bytes */
#define PATIENCE_MS 100 /* of one wait; who waits does so again */

/* ---- the server ------------------------------------------------------------------------------ */

typedef struct server {
    int listener, connections[MOST];
    size_t n;
    char url[64];
} server;

static void server_open(server *s)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof here;
    *s = (server){.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(s->listener, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(s->listener, MOST), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&here, &length), 0);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%u/", ntohs(here.sin_port));
}

static void server_close(server *s)
{
    for (size_t i = 0; i < s->n; i++)
        close(s->connections[i]);
    close(s->listener);
}

/* The next connection: the client's request is in it, or will be. */
static int server_accept(server *s)
{
    assert_true(s->n < MOST);
    int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    s->connections[s->n++] = fd;
    return fd;
}

/* All connections end at once, by a reset, as those of a program that crashed may. */
static void server_reset(server *s)
{
    static const struct linger none = {.l_onoff = 1};
    while (s->n > 0) {
        int fd = s->connections[--s->n];
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
        close(fd);
    }
}

static void server_say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static const char well[] = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nwell";

/* ---- the client ------------------------------------------------------------------------------ */

static http_client *client_open(void)
{
    http_client *c;
    failure fail;
    if (http_client_create(&c, &fail) != OK)
        fail_msg("%s", fail.text);
    return c;
}

static http_call *get(http_client *c, const server *s)
{
    http_call *call;
    failure fail;
    const http_call_options o = {.url = s->url, .limit = LIMIT};
    if (http_call_start(c, &o, &call, &fail) != OK)
        fail_msg("%s", fail.text);
    return call;
}

static bool can_accept(const server *s)
{
    struct pollfd one = {.fd = s->listener, .events = POLLIN};
    return poll(&one, 1, 0) == 1;
}

/* What comes in the epoll that the client was moved to. */
static void run(http_client *c, int epoll)
{
    struct epoll_event events[MOST];
    double wait_ms = fmin(http_client_wait_ms(c), PATIENCE_MS);
    int n = epoll_wait(epoll, events, MOST, (int)ceil(wait_ms));
    for (int i = 0; i < n; i++)
        http_client_note(c, &events[i]);
    while (http_client_step(c, NULL))
        continue;
}

static void expect_well(const http_call *call)
{
    failure fail = {0};
    if (http_call_result(call, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(http_call_status(call), 200);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Both events at once, the one of the descriptor with the lower number second. */
static void wait_for_two(int epoll, struct epoll_event events[2])
{
    while (epoll_wait(epoll, events, 2, PATIENCE_MS) < 2)
        continue;
    if (events[0].data.u64 < events[1].data.u64) {
        struct epoll_event first = events[0];
        events[0] = events[1];
        events[1] = first;
    }
}

/* Two connections are kept, both end, and both ends have been noted when a request makes a third,
 * which gets the lower number of the two: that one's end is not the third's. */
static void an_end_is_its_own_connections(void **state)
{
    (void)state;
    server s;
    http_call *calls[2];
    struct epoll_event events[2];
    server_open(&s);
    http_client *c = client_open();
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(http_client_move(c, epoll, NULL), OK);
    for (size_t i = 0; i < 2; i++) {
        calls[i] = get(c, &s);
        while (!can_accept(&s))
            run(c, epoll);
        server_accept(&s);
    }
    for (size_t i = 0; i < 2; i++) {
        server_say(s.connections[i], well);
        while (!http_call_is_done(calls[i]))
            run(c, epoll);
        expect_well(calls[i]);
        http_call_release(calls[i]);
    }
    server_reset(&s);
    wait_for_two(epoll, events);
    http_client_note(c, &events[0]);
    http_client_note(c, &events[1]);
    http_call *third = get(c, &s);
    while (http_client_step(c, NULL))
        continue;
    while (!can_accept(&s) && !http_call_is_done(third))
        run(c, epoll);
    if (!http_call_is_done(third))
        server_say(server_accept(&s), well);
    while (!http_call_is_done(third))
        run(c, epoll);
    expect_well(third);
    http_call_release(third);
    http_client_destroy(c);
    close(epoll);
    server_close(&s);
}

/* What comes of one answer, after which the connection ends. */
static error_code result_of(const char *answer, failure *fail)
{
    server s;
    server_open(&s);
    http_client *c = client_open();
    http_call *call = get(c, &s);
    while (!can_accept(&s))
        assert_int_equal(http_client_run(c, PATIENCE_MS, NULL), OK);
    int fd = server_accept(&s);
    server_say(fd, answer);
    shutdown(fd, SHUT_WR);
    while (!http_call_is_done(call))
        assert_int_equal(http_client_run(c, PATIENCE_MS, NULL), OK);
    error_code code = http_call_result(call, fail);
    http_call_release(call);
    http_client_destroy(c);
    server_close(&s);
    return code;
}

static void answers_that_are_none(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        error_code code;
    } answers[] = {
        {well, OK},
        {"HTTP/1.1 500 \r\n\r\nuntil the end", OK},
        {"", ERR_IO},
        {"well", ERR_IO},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf", ERR_IO},
        {"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\nwell", ERR_IO},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwell\r\n", ERR_IO},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\nx", ERR_IO},
        {"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhalf", ERR_IO},
        {"HTTP/9.9 200 OK\r\nContent-Length: 4\r\n\r\nwell", ERR_IO},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        failure fail = {0};
        error_code code = result_of(answers[i].text, &fail);
        if (code != answers[i].code)
            fail_msg("answer %zu: %d, %s", i, (int)code, fail.text);
    }
}

static void a_body_has_a_limit(void **state)
{
    (void)state;
    char text[2048] = "HTTP/1.1 200 OK\r\n\r\n"; /* it ends with the connection */
    failure fail = {0};
    size_t head = strlen(text);
    memset(text + head, 'x', LIMIT);
    assert_int_equal(result_of(text, &fail), OK);
    text[head + LIMIT] = 'x';
    assert_int_equal(result_of(text, &fail), ERR_TOO_LARGE);
    assert_string_equal(fail.text, "the response is longer than 1000 bytes");
}

/* Headers, or replies that only say that another one comes, without an end. */
static void heads_have_a_limit(void **state)
{
    (void)state;
    static const char *const pieces[] = {"X-More: of this\r\n", "X-More: of this",
                                         "HTTP/1.1 100 Continue\r\n\r\n"};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        server s;
        server_open(&s);
        http_client *c = client_open();
        http_call *call = get(c, &s);
        while (!can_accept(&s))
            assert_int_equal(http_client_run(c, PATIENCE_MS, NULL), OK);
        int fd = server_accept(&s);
        server_say(fd, "HTTP/1.1 100 Continue\r\n");
        size_t sent = 0;
        while (!http_call_is_done(call) && sent < ((size_t)64 << 20)) {
            ssize_t n = send(fd, pieces[i], strlen(pieces[i]), MSG_NOSIGNAL | MSG_DONTWAIT);
            sent += n > 0 ? (size_t)n : 0;
            if (n < 0)
                assert_int_equal(http_client_run(c, 1, NULL), OK);
        }
        assert_true(http_call_is_done(call));
        error_code code = http_call_result(call, NULL); /* a line too long is libcurl's memory */
        assert_true(code == ERR_IO || code == ERR_MEMORY);
        http_call_release(call);
        http_client_destroy(c);
        server_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_end_is_its_own_connections),
        cmocka_unit_test(answers_that_are_none),
        cmocka_unit_test(a_body_has_a_limit),
        cmocka_unit_test(heads_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
