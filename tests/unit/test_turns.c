/* Which engine's step is next: shares of time, and how long one waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/turns.h"

enum { ENGINES = 3 };

typedef struct player {
    turn_claim claim;
    double step_ms;
    double had_ms, longest_ms; /* in all; between two of its steps */
} player;

static void play(player *p, size_t n, double ms)
{
    for (double now = 0, step; now < ms; now += step) {
        player *next = &p[0];
        for (size_t i = 1; i < n; i++)
            if (p[i].claim.sequences > 0 &&
                (next->claim.sequences == 0 || turn_goes_before(&p[i].claim, &next->claim)))
                next = &p[i];
        step = next->step_ms;
        next->had_ms += step;
        next->longest_ms = fmax(next->longest_ms, next->claim.waited_ms);
        turn_taken(&next->claim, step);
        for (size_t i = 0; i < n; i++)
            if (&p[i] != next)
                turn_passed(&p[i].claim, &next->claim, step);
    }
}

static player player_of(size_t sequences, double step_ms, double budget_ms)
{
    return (player){.claim = {.sequences = sequences, .budget_ms = budget_ms}, .step_ms = step_ms};
}

/* A large model's steps of 100 ms beside a small one's of 5 ms: each has half of the time. */
static void test_time_not_steps(void **state)
{
    (void)state;
    player p[] = {player_of(1, 100, 1000), player_of(1, 5, 1000)};
    play(p, 2, 20000);
    assert_true(fabs(p[0].had_ms - p[1].had_ms) <= 100);
}

static void test_in_proportion_to_sequences(void **state)
{
    (void)state;
    player p[] = {player_of(1, 20, 1e9), player_of(3, 10, 1e9), player_of(4, 7, 1e9)};
    play(p, ENGINES, 80000);
    assert_true(fabs(p[0].had_ms / 80000 - 1.0 / 8) < 0.01);
    assert_true(fabs(p[1].had_ms / 80000 - 3.0 / 8) < 0.01);
    assert_true(fabs(p[2].had_ms / 80000 - 4.0 / 8) < 0.01);
}

/* However many wait for the others: the wait is at most the budget and the step that runs then. */
static void test_no_one_waits_longer_than_the_budget(void **state)
{
    (void)state;
    player p[] = {player_of(1, 30, 100), player_of(200, 20, 100), player_of(50, 15, 100)};
    play(p, ENGINES, 20000);
    assert_true(p[0].longest_ms < 100 + 20 + 15);
    assert_true(p[0].had_ms > 0.15 * 20000);
}

/* Who had no work for long does not keep the others out when it comes back. */
static void test_idle_time_is_not_owed(void **state)
{
    (void)state;
    player p[] = {player_of(1, 10, 1e9), player_of(0, 10, 1e9)};
    play(p, 2, 10000);
    assert_true(p[1].had_ms == 0);
    p[1].claim.sequences = 1;
    p[0].had_ms = 0;
    play(p, 2, 1000);
    assert_true(fabs(p[0].had_ms - p[1].had_ms) <= 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_not_steps),
        cmocka_unit_test(test_in_proportion_to_sequences),
        cmocka_unit_test(test_no_one_waits_longer_than_the_budget),
        cmocka_unit_test(test_idle_time_is_not_owed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
