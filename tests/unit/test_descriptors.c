/* Descriptors that libcurl waits for: what epoll is told of them, and what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "base/descriptors.h"

typedef struct line {
    int ends[2];
} line;

static line open_line(void)
{
    line l;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, l.ends), 0);
    return l;
}

static void say(const line *l)
{
    assert_int_equal(write(l->ends[1], "x", 1), 1);
}

/* The descriptor that has news and is wanted; -1: none. */
static int look(descriptors *d, int epoll, int *n_events)
{
    struct epoll_event event;
    *n_events = epoll_wait(epoll, &event, 1, 0);
    if (*n_events < 1)
        return -1;
    assert_int_equal(event.data.u64 & 1, 1);
    return descriptors_take(d, &event);
}

static void check(descriptors *d, int epoll, int wanted, int wanted_events)
{
    int n;
    assert_int_equal(look(d, epoll, &n), wanted);
    assert_int_equal(n, wanted_events);
}

static void a_connection_stays_watched(void **state)
{
    (void)state;
    descriptors d;
    assert_int_equal(descriptors_init(&d), OK);
    line l = open_line();
    int fd = l.ends[0];
    assert_true(descriptors_opened(&d, fd));
    assert_true(descriptors_want(&d, fd, EPOLLIN));
    check(&d, d.epoll, -1, 0);
    say(&l);
    check(&d, d.epoll, fd, 1);
    assert_true(descriptors_want(&d, fd, 0));
    assert_int_equal(d.all[fd].set, EPOLLIN);
    assert_true(descriptors_want(&d, fd, EPOLLIN));
    check(&d, d.epoll, fd, 1);

    /* What an idle one says is told once. */
    assert_true(descriptors_want(&d, fd, 0));
    check(&d, d.epoll, -1, 1);
    check(&d, d.epoll, -1, 0);
    assert_true(descriptors_want(&d, fd, EPOLLIN));
    check(&d, d.epoll, fd, 1);
    assert_true(descriptors_want(&d, fd, EPOLLOUT));
    check(&d, d.epoll, fd, 1);

    descriptors_closed(&d, fd);
    close(fd);
    close(l.ends[1]);
    descriptors_free(&d);
}

static void another_one_of_its_number_is_another(void **state)
{
    (void)state;
    descriptors d;
    assert_int_equal(descriptors_init(&d), OK);
    for (int told = 0; told < 2; told++) {
        line l = open_line();
        int fd = l.ends[0];
        if (told)
            assert_true(descriptors_opened(&d, fd));
        assert_true(descriptors_want(&d, fd, EPOLLIN));
        if (told)
            descriptors_closed(&d, fd);
        else
            assert_true(descriptors_want(&d, fd, 0)); /* nobody tells that it is closed */
        close(fd);
        close(l.ends[1]);
        l = open_line();
        assert_int_equal(l.ends[0], fd);
        assert_true(descriptors_want(&d, fd, EPOLLIN));
        say(&l);
        check(&d, d.epoll, fd, 1);
        assert_true(descriptors_want(&d, fd, 0));
        close(fd);
        close(l.ends[1]);
    }
    descriptors_free(&d);
}

/* Another line whose first end has the number of one that is closed. */
static line open_again(const line *closed)
{
    line l = open_line();
    assert_int_equal(l.ends[0], closed->ends[0]);
    return l;
}

static void close_line(const line *l)
{
    close(l->ends[0]);
    close(l->ends[1]);
}

/* Closed without a word, while it is wanted: the next one of its number is wanted for something
 * else, or this one is given up too late. */
static void closed_without_a_word(void **state)
{
    (void)state;
    descriptors d;
    assert_int_equal(descriptors_init(&d), OK);
    line l = open_line();
    int fd = l.ends[0];
    assert_true(descriptors_want(&d, fd, EPOLLIN));
    close_line(&l);
    l = open_again(&l);
    assert_true(descriptors_want(&d, fd, EPOLLOUT));
    check(&d, d.epoll, fd, 1);
    close_line(&l);
    assert_true(descriptors_want(&d, fd, 0));
    l = open_again(&l);
    assert_true(descriptors_want(&d, fd, EPOLLOUT));
    check(&d, d.epoll, fd, 1);
    close_line(&l);
    descriptors_free(&d);
}

/* An event that was fetched before its descriptor was closed must not touch who has the number now.
 */
static void events_of_closed_ones_touch_nobody(void **state)
{
    (void)state;
    descriptors d;
    assert_int_equal(descriptors_init(&d), OK);
    line l = open_line();
    int fd = l.ends[0], n;
    assert_true(descriptors_opened(&d, fd));
    assert_true(descriptors_want(&d, fd, EPOLLIN));
    descriptors_closed(&d, fd);
    close_line(&l);
    l = open_again(&l);
    struct epoll_event others = {.events = EPOLLIN, .data.u64 = 1};
    assert_int_equal(epoll_ctl(d.epoll, EPOLL_CTL_ADD, fd, &others), 0);
    const struct epoll_event old = {.events = EPOLLIN, .data.u64 = descriptors_data(fd)};
    assert_int_equal(descriptors_take(&d, &old), -1);
    say(&l);
    struct epoll_event event;
    n = epoll_wait(d.epoll, &event, 1, 0);
    assert_int_equal(n, 1);
    close_line(&l);
    descriptors_free(&d);
}

static void they_move_to_another_epoll(void **state)
{
    (void)state;
    descriptors d;
    assert_int_equal(descriptors_init(&d), OK);
    line wanted = open_line(), idle = open_line();
    assert_true(descriptors_want(&d, wanted.ends[0], EPOLLIN));
    assert_true(descriptors_opened(&d, idle.ends[0]));
    assert_true(descriptors_want(&d, idle.ends[0], EPOLLIN));
    assert_true(descriptors_want(&d, idle.ends[0], 0));
    int other = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(descriptors_move(&d, other), OK);
    say(&wanted);
    say(&idle);
    check(&d, other, wanted.ends[0], 1);
    assert_true(descriptors_want(&d, wanted.ends[0], 0));
    check(&d, other, -1, 0);
    assert_true(descriptors_want(&d, idle.ends[0], EPOLLIN));
    check(&d, other, idle.ends[0], 1);

    close(other); /* at any time */
    assert_true(descriptors_want(&d, wanted.ends[0], EPOLLIN));
    assert_int_equal(descriptors_move(&d, other), ERR_IO);
    descriptors_free(&d);
    for (int i = 0; i < 2; i++) {
        close(wanted.ends[i]);
        close(idle.ends[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_stays_watched),
        cmocka_unit_test(another_one_of_its_number_is_another),
        cmocka_unit_test(closed_without_a_word),
        cmocka_unit_test(events_of_closed_ones_touch_nobody),
        cmocka_unit_test(they_move_to_another_epoll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
