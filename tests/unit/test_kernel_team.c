/* test_kernel_team.c: the team of threads: everybody works, barriers order memory, nobody hangs. */
#include "kernel_test.h"

#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

typedef struct tally {
    team *of;
    int rounds;
    int seen[64];
    long sums[64]; /* plain memory: only the barriers order it */
    atomic_int wrong;
} tally;

/* Each round every thread writes its cell, meets the others, and reads all cells. */
static void count_rounds(void *context, int thread, int n_threads)
{
    tally *t = context;
    t->seen[thread]++;
    for (int round = 1; round <= t->rounds; round++) {
        t->sums[thread] = round;
        team_barrier(t->of);
        long sum = 0;
        for (int i = 0; i < n_threads; i++)
            sum += t->sums[i];
        if (sum != (long)round * n_threads)
            atomic_fetch_add(&t->wrong, 1);
        team_barrier(t->of);
    }
}

static team *make_team(int n)
{
    failure fail;
    team *t;
    if (team_create(&t, n, &fail) != OK)
        fail_msg("%s", fail.text);
    return t;
}

static void test_barriers(void **state)
{
    (void)state;
    for (int n = 1; n <= 7; n += 2) { /* more threads than cores as well */
        tally t = {.of = make_team(n), .rounds = 300};
        assert_int_equal(team_size(t.of), n);
        for (int run = 1; run <= 20; run++) {
            team_run(t.of, count_rounds, &t);
            for (int i = 0; i < n; i++)
                assert_int_equal(t.seen[i], run);
        }
        assert_int_equal(atomic_load(&t.wrong), 0);
        team_destroy(t.of);
    }
}

enum { MOST_PIECES = 100 };

typedef struct pieces {
    team *of;
    team_loop *loop;
    atomic_int taken[MOST_PIECES];
    atomic_int unfinished;
    atomic_int wrong;
} pieces;

static void take_pieces(void *context, int thread, int n_threads)
{
    pieces *p = context;
    (void)n_threads;
    for (size_t n = 0; n < MOST_PIECES; n++) { /* fewer pieces than threads, and none, as well */
        for (size_t piece; team_take(p->loop, thread, n, &piece);) {
            if (piece >= n)
                atomic_fetch_add(&p->wrong, 1);
            else
                atomic_fetch_add(&p->taken[piece], 1);
            if (thread == 0 && piece % 16 == 0)
                usleep(50); /* the others take over */
        }
        team_barrier(p->of);
        if (team_loop_unfinished(p->loop, thread, n))
            atomic_fetch_add(&p->wrong, 1);
        team_loop_next(p->loop, thread);
    }
}

static void test_every_piece_is_taken_once(void **state)
{
    (void)state;
    failure fail;
    for (int n_threads = 1; n_threads <= 5; n_threads += 2) {
        pieces p = {.of = make_team(n_threads)};
        assert_int_equal(team_loop_create(&p.loop, n_threads, &fail), OK);
        for (int run = 1; run <= 3; run++) {
            team_run(p.of, take_pieces, &p);
            for (int i = 0; i < MOST_PIECES; i++)
                assert_int_equal(atomic_load(&p.taken[i]), run * (MOST_PIECES - 1 - i));
        }
        assert_int_equal(atomic_load(&p.wrong), 0);
        team_loop_destroy(p.loop);
        team_destroy(p.of);
    }
}

/* Everybody stops after one piece, as at a pause, and the rest is done by a later run. */
static void take_one_piece(void *context, int thread, int n_threads)
{
    pieces *p = context;
    (void)n_threads;
    size_t piece;
    if (team_take(p->loop, thread, MOST_PIECES, &piece))
        atomic_fetch_add(&p->taken[piece], 1);
    team_barrier(p->of);
    if (!team_loop_unfinished(p->loop, thread, MOST_PIECES))
        team_loop_next(p->loop, thread);
    else if (thread == 0)
        atomic_fetch_add(&p->unfinished, 1);
}

static void test_a_loop_goes_on_later(void **state)
{
    (void)state;
    failure fail;
    pieces p = {.of = make_team(3)};
    assert_int_equal(team_loop_create(&p.loop, 3, &fail), OK);
    for (int round = 1; round <= 2; round++) {
        for (int run = 0; run < (MOST_PIECES + 2) / 3; run++)
            team_run(p.of, take_one_piece, &p);
        for (int i = 0; i < MOST_PIECES; i++)
            assert_int_equal(atomic_load(&p.taken[i]), round);
        assert_int_equal(atomic_load(&p.unfinished), round * ((MOST_PIECES + 2) / 3 - 1));
    }
    team_loop_destroy(p.loop);
    team_destroy(p.of);
}

static void nothing(void *context, int thread, int n_threads)
{
    (void)context;
    (void)thread;
    (void)n_threads;
}

/* Workers that went to sleep are woken; creating and destroying at once is safe. */
static void test_sleep_and_wake(void **state)
{
    (void)state;
    tally t = {.of = make_team(3), .rounds = 2};
    for (int run = 1; run <= 10; run++) {
        usleep(20000);
        team_run(t.of, count_rounds, &t);
        assert_int_equal(t.seen[2], run);
    }
    assert_int_equal(atomic_load(&t.wrong), 0);
    team_destroy(t.of);
    for (int i = 0; i < 50; i++) {
        team *one = make_team(4);
        if (i % 2 == 0)
            team_run(one, nothing, NULL);
        team_destroy(one);
    }
    team_destroy(NULL);
}

static double cpu_ms(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e3 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e3;
}

static void test_idle_uses_no_cpu(void **state)
{
    (void)state;
    team *t = make_team(2);
    team_run(t, nothing, NULL);
    usleep(50000);
    double before = cpu_ms();
    usleep(300000);
    assert_true(cpu_ms() - before < 10);
    team_destroy(t);
}

static void test_sizes(void **state)
{
    (void)state;
    failure fail;
    team *t;
    assert_int_equal(team_create(&t, 0, &fail), ERR_INVALID);
    assert_int_equal(team_create(&t, -3, &fail), ERR_INVALID);
    assert_int_equal(team_create(&t, 1 << 20, &fail), ERR_INVALID);
    assert_null(t);
    assert_true(team_default_size() >= 1);
    assert_true(team_default_size() <= sysconf(_SC_NPROCESSORS_ONLN));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers),
        cmocka_unit_test(test_every_piece_is_taken_once),
        cmocka_unit_test(test_a_loop_goes_on_later),
        cmocka_unit_test(test_sleep_and_wake),
        cmocka_unit_test(test_idle_uses_no_cpu),
        cmocka_unit_test(test_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
