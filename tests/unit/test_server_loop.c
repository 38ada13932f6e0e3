/* The loop where system calls fail: no memory to watch the listening socket is no deaf server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "server/server.h"

/* ---- system calls that fail ------------------------------------------------------------------ */

static atomic_int adds_before; /* that work before those that fail */
static atomic_int adds_that_fail, accepts_that_fail;

static bool count_down(atomic_int *left)
{
    int before = atomic_load(left);
    while (before > 0 && !atomic_compare_exchange_weak(left, &before, before - 1)) {
    }
    return before > 0;
}

static bool fails(atomic_int *left)
{
    bool failed = count_down(left);
    if (failed)
        errno = ENOMEM;
    return failed;
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && !count_down(&adds_before) && fails(&adds_that_fail))
        return -1;
    return (int)syscall(SYS_epoll_ctl, epoll_fd, operation, fd, event);
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *length, int flags)
{
    if (fails(&accepts_that_fail))
        return -1;
    return (int)syscall(SYS_accept4, fd, address.__sockaddr__, length, flags);
}

/* ---- a server -------------------------------------------------------------------------------- */

static config *settings;
static orchestra *players;

static int load_models(void **state)
{
    (void)state;
    failure fail = {0};
    char here[256], yaml[1024];
    assert_non_null(getcwd(here, sizeof here));
    int n = snprintf(yaml, sizeof yaml,
                     "version: 1\nmodels:\n"
                     "  - {name: small, role: small, path: %s/models/demo/small.gguf}\n"
                     "  - {name: large, role: large, path: %s/models/demo/large.gguf}\n",
                     here, here);
    error_code code = config_parse(&settings, yaml, (size_t)n, "test", &fail);
    if (code == OK)
        code = orchestra_create(&players, settings, (house_progress){.call = NULL}, &fail);
    if (code != OK)
        printf("%s\n", fail.text);
    return code == OK ? 0 : -1;
}

static int free_models(void **state)
{
    (void)state;
    orchestra_destroy(players);
    config_free(settings);
    return 0;
}

#define PLACES 8
#define RESERVED 32 /* connections beyond these that are taken for /health */

static error_code start(server **out, uint32_t loops)
{
    failure fail = {0};
    const server_options options = {
        .host = "127.0.0.1", .loops = loops, .max_connections = PLACES, .max_body_bytes = 1 << 20};
    assert_int_equal(server_create(out, &options, &fail), OK);
    return server_start(*out, players, &fail);
}

static int open_connection(const server *s, int seconds)
{
    const struct timeval patience = {.tv_sec = seconds};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(server_url(s), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* Whether /health answers within so many seconds. */
static bool is_healthy(const server *s, int seconds)
{
    static const char ask[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[16] = "";
    int fd = open_connection(s, seconds);
    assert_int_equal(send(fd, ask, strlen(ask), 0), strlen(ask));
    ssize_t n = recv(fd, answer, 12, MSG_WAITALL);
    close(fd);
    return n == 12 && memcmp(answer, "HTTP/1.1 200", 12) == 0;
}

static void test_accept_fails(void **state)
{
    (void)state;
    server *s;
    assert_int_equal(start(&s, 1), OK);
    assert_true(is_healthy(s, 5));
    atomic_store(&accepts_that_fail, 1);
    atomic_store(&adds_that_fail, 2); /* … and so does watching for the next one, twice */
    assert_true(is_healthy(s, 5));
    assert_int_equal(atomic_load(&adds_that_fail), 0);
    server_destroy(s);
}

/* Where nothing can be watched there is no server, and its start says so. */
static void test_start_fails(void **state)
{
    (void)state;
    for (int before = 0; before < 3; before++) { /* the wake-ups', and the socket's */
        server *s;
        atomic_store(&adds_before, before);
        atomic_store(&adds_that_fail, 1);
        assert_int_equal(start(&s, 2), ERR_IO);
        server_destroy(s);
    }
}

/* All is taken, by connections that ask nothing, of three loops: each that comes is served, and the
 * one that is closed for it is the oldest without a place, whichever loop has it. */
static void test_loops_make_room(void **state)
{
    (void)state;
    server *s;
    int idle[PLACES + RESERVED];
    char nothing;
    const size_t n = sizeof idle / sizeof *idle;
    assert_int_equal(start(&s, 3), OK);
    for (size_t i = 0; i < n; i++)
        idle[i] = open_connection(s, 60);
    for (size_t i = 0; i < 6; i++) {
        assert_true(is_healthy(s, 60));
        assert_int_equal(recv(idle[PLACES + i], &nothing, 1, 0), 0);
        int one_more = open_connection(s, 60); /* in place of the one that has been served */
        close(idle[PLACES + i]);
        idle[PLACES + i] = one_more;
    }
    for (size_t i = 0; i < PLACES; i++)
        assert_int_equal(recv(idle[i], &nothing, 1, MSG_DONTWAIT), -1);
    for (size_t i = 0; i < n; i++)
        close(idle[i]);
    server_destroy(s);
}

/* Draining ends no connection of any loop that asks something. */
static void test_loops_drain(void **state)
{
    (void)state;
    static const char begin[] = "GET /health HTTP/1.1\r\nHost: localhost\r\n",
                      end[] = "Connection: close\r\n\r\n";
    server *s;
    int fds[6];
    char answer[16] = "";
    assert_int_equal(start(&s, 3), OK);
    for (size_t i = 0; i < 6; i++) {
        fds[i] = open_connection(s, 60);
        assert_int_equal(send(fds[i], begin, strlen(begin), 0), strlen(begin));
    }
    assert_true(is_healthy(s, 60)); /* which was taken after them */
    server_drain(s);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(send(fds[i], end, strlen(end), 0), strlen(end));
        assert_int_equal(recv(fds[i], answer, 12, MSG_WAITALL), 12);
        assert_memory_equal(answer, "HTTP/1.1 200", 12);
        close(fds[i]);
    }
    server_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_fails),
        cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_loops_make_room),
        cmocka_unit_test(test_loops_drain),
    };
    return cmocka_run_group_tests(tests, load_models, free_models);
}
