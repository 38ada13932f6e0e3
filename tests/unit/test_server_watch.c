/* The watch tells of hang-ups and of nothing else, also when a descriptor's number is used again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "server/watch.h"

typedef struct client {
    int ours, theirs;
    atomic_int gone;
} client;

static void on_event(void *context, watch_event event)
{
    client *c = context;
    if (event == WATCH_GONE)
        atomic_fetch_add(&c->gone, 1);
}

static void client_open(client *c, watch *w)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    c->ours = fds[0];
    c->theirs = fds[1];
    atomic_store(&c->gone, 0);
    assert_int_equal(watch_add(w, c->ours, on_event, c, NULL), OK);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static int wait_gone(client *c)
{
    for (int i = 0; i < 200 && atomic_load(&c->gone) == 0; i++)
        pause_ms(10);
    return atomic_load(&c->gone);
}

static void test_hang_up(void **state)
{
    (void)state;
    watch *w;
    assert_int_equal(watch_create(&w, NULL), OK);
    client closes, shuts, stays;
    client_open(&closes, w);
    client_open(&shuts, w);
    client_open(&stays, w);
    close(closes.theirs);
    shutdown(shuts.theirs, SHUT_WR);
    assert_int_equal(wait_gone(&closes), 1);
    assert_int_equal(wait_gone(&shuts), 1);
    pause_ms(50);
    assert_int_equal(atomic_load(&closes.gone), 1); /* told once */
    assert_int_equal(atomic_load(&stays.gone), 0);
    watch_remove(w, closes.ours);
    watch_remove(w, shuts.ours);
    watch_remove(w, stays.ours);
    watch_destroy(w);
    close(closes.ours);
    close(shuts.ours);
    close(shuts.theirs);
    close(stays.ours);
    close(stays.theirs);
}

static void test_pipelined_bytes_are_no_hang_up(void **state)
{
    (void)state;
    watch *w;
    assert_int_equal(watch_create(&w, NULL), OK);
    client c;
    client_open(&c, w);
    assert_int_equal(write(c.theirs, "GET / HTTP/1.1\r\n\r\n", 18), 18);
    pause_ms(50);
    assert_int_equal(atomic_load(&c.gone), 0);
    close(c.theirs); /* and a hang-up behind unread bytes is one */
    assert_int_equal(wait_gone(&c), 1);
    watch_remove(w, c.ours);
    watch_destroy(w);
    close(c.ours);
}

static void test_removed_is_silent_and_its_number_can_be_used_again(void **state)
{
    (void)state;
    watch *w;
    assert_int_equal(watch_create(&w, NULL), OK);
    for (int round = 0; round < 300; round++) {
        client before, after;
        client_open(&before, w);
        if (round % 2 == 0)
            close(before.theirs); /* an event of the old owner may be on its way */
        watch_remove(w, before.ours);
        int told = atomic_load(&before.gone);
        close(before.ours);
        if (round % 2 != 0)
            close(before.theirs);
        client_open(&after, w);
        assert_int_equal(atomic_load(&before.gone), told);
        watch_remove(w, after.ours);
        assert_int_equal(atomic_load(&after.gone), 0);
        close(after.ours);
        close(after.theirs);
    }
    watch_remove(w, 12345); /* never added: no error */
    watch_destroy(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hang_up),
        cmocka_unit_test(test_pipelined_bytes_are_no_hang_up),
        cmocka_unit_test(test_removed_is_silent_and_its_number_can_be_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
