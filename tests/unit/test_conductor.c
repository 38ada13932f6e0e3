/* The step loop under mixed work: probes in the pauses of long steps, prompts that come while
 * replies stream, cancelling and deadlines in every state. Answers are those of solo runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "engine_house.h"
#include "test_clock.h"

/* ---- urgent work ---------------------------------------------------------------------------- */

/* A long prompt in large pieces, and classifications by both models meanwhile: each is through
 * before the prompt is. */
static void test_probes_during_prefill(void **state)
{
    (void)state;
    enum { PROBES = 12 };
    house h;
    outcome long_one = {0}, probes[PROBES] = {0};
    errand errands[PROBES];
    engine_options o = house_options();
    o.prefill_chunk = 800;
    house_open(&h, &o, 0);
    const errand prompt = {.where = LARGE, .n_prompt = 1600, .max_tokens = 4, .seed = 1};
    sequence *s = house_start(&h, &prompt);
    size_t early = 0;
    for (int32_t i = 0; i < PROBES; i++) {
        errands[i] = (errand){
            .where = i % 2, .n_prompt = 20 + 10 * (size_t)i, .seed = 50 + i, .classify = true};
        house_run(&h, &errands[i], &probes[i]);
        early += house_look(s, &long_one) && long_one.tokens.length == 0;
    }
    house_end(s, &long_one);
    size_t pauses = read_status(&h, LARGE).pauses;
    printf("  %zu of %d probes before the prompt's end, %zu pauses\n", early, PROBES, pauses);
    assert_true(early >= 1);
    assert_true(pauses >= 1);
    for (size_t i = 0; i < PROBES; i++)
        check_solo(&errands[i], &probes[i]);
    check_solo(&prompt, &long_one);
    house_close(&h);
}

/* Without yields the same answers, and no pause. */
static void test_yields_off(void **state)
{
    (void)state;
    house h;
    outcome long_one = {0}, probe = {0};
    engine_options o = house_options();
    o.yields = false;
    house_open(&h, &o, 0);
    const errand prompt = {.where = LARGE, .n_prompt = 600, .max_tokens = 4, .seed = 2};
    const errand e = {.where = LARGE, .n_prompt = 30, .seed = 60, .classify = true};
    sequence *s = house_start(&h, &prompt);
    house_run(&h, &e, &probe);
    house_end(s, &long_one);
    assert_int_equal(read_status(&h, LARGE).pauses, 0);
    check_solo(&e, &probe);
    check_solo(&prompt, &long_one);
    house_close(&h);
}

/* More probes than slots for them, while every place is taken. */
static void test_probe_needs_no_place(void **state)
{
    (void)state;
    enum { PROBES = 10 };
    house h;
    sequence *probes[PROBES];
    outcome stream = {0};
    engine_options o = house_options();
    o.slots = 1;
    house_open(&h, &o, 0);
    sequence *s = house_start(&h, &(errand){.where = SMALL, .n_prompt = 8, .max_tokens = 2000});
    wait_for_tokens(s, &stream, 1);
    for (int32_t i = 0; i < PROBES; i++)
        probes[i] = house_start(
            &h, &(errand){.where = SMALL, .n_prompt = 40, .seed = 70 + i, .classify = true});
    for (int32_t i = 0; i < PROBES; i++) {
        outcome got = {0};
        house_end(probes[i], &got);
        assert_int_equal(got.last.state, SEQUENCE_FINISHED);
    }
    assert_true(house_look(s, &stream));
    sequence_release(s);
    wait_until_empty(&h);
    token_list_free(&stream.tokens);
    house_close(&h);
}

/* An unbroken row of probes: a reply still gets to its end. */
static void test_probes_do_not_starve(void **state)
{
    (void)state;
    enum { AT_ONCE = 6, MOST = 20000 };
    house h;
    sequence *probes[AT_ONCE];
    outcome reply = {0};
    int32_t n = 0;
    engine_options o = house_options();
    house_open(&h, &o, 0);
    errand probe = {.where = SMALL, .n_prompt = 60, .classify = true};
    const errand e = {.where = LARGE, .n_prompt = 300, .max_tokens = 50, .seed = 8};
    for (; n < AT_ONCE; n++, probe.seed = n)
        probes[n] = house_start(&h, &probe);
    sequence *s = house_start(&h, &e);
    for (; house_look(s, &reply) && n < MOST; n++, probe.seed = n) {
        outcome got = {0};
        house_end(probes[n % AT_ONCE], &got);
        probes[n % AT_ONCE] = house_start(&h, &probe);
    }
    assert_true(n < MOST);
    for (size_t i = 0; i < AT_ONCE; i++)
        sequence_release(probes[i]);
    house_end(s, &reply);
    check_solo(&e, &reply);
    house_close(&h);
}

/* ---- the budget ----------------------------------------------------------------------------- */

/* With a budget that allows the least, a prompt is prefilled eight rows a step while another reply
 * streams: the stream goes on meanwhile. */
static void test_stream_keeps_its_pace(void **state)
{
    (void)state;
    house h;
    outcome stream = {0}, other = {0};
    engine_options o = house_options();
    o.step_budget_ms = 1e-3;
    house_open(&h, &o, 0);
    const errand first = {.where = LARGE, .n_prompt = 8, .max_tokens = 400, .seed = 3};
    const errand second = {.where = LARGE, .n_prompt = 800, .max_tokens = 4, .seed = 4};
    sequence *a = house_start(&h, &first);
    wait_for_tokens(a, &stream, 2);
    sequence *b = house_start(&h, &second);
    wait_for_tokens(b, &other, 1);
    assert_int_equal(sequence_poll(a, &stream.last, NULL, &stream.tokens), OK);
    assert_true(stream.tokens.length >= 95 || stream.last.state != SEQUENCE_RUNNING);
    house_end(a, &stream);
    house_end(b, &other);
    check_solo(&first, &stream);
    check_solo(&second, &other);
    house_close(&h);
}

/* Prompts share a step's rows: a short one does not wait for a long one's end; and batch waits for
 * both. */
static void test_short_prompt_beside_long(void **state)
{
    (void)state;
    house h;
    outcome first = {0}, second = {0}, third = {0};
    engine_options o = house_options();
    o.prefill_chunk = 32;
    house_open(&h, &o, 0);
    const errand batch = {
        .where = LARGE, .n_prompt = 1200, .max_tokens = 2, .seed = 5, .priority = PRIORITY_BATCH};
    const errand big = {.where = LARGE, .n_prompt = 1000, .max_tokens = 2, .seed = 6};
    const errand little = {.where = LARGE, .n_prompt = 40, .max_tokens = 1, .seed = 7};
    sequence *b = house_start(&h, &batch);
    sequence *s = house_start(&h, &big);
    house_run(&h, &little, &third);
    assert_true(house_look(s, &second) && second.tokens.length == 0);
    wait_for_tokens(s, &second, 1);
    assert_true(house_look(b, &first) && first.tokens.length == 0);
    house_end(s, &second);
    house_end(b, &first);
    check_solo(&batch, &first);
    check_solo(&big, &second);
    check_solo(&little, &third);
    house_close(&h);
}

/* ---- cancelling and deadlines --------------------------------------------------------------- */

#define HOUR_MS 3.6e6 /* a deadline that is not reached before the clock is moved */

typedef enum situation { WAITING, PREFILLING, DECODING, PARKED, N_SITUATIONS } situation;

static const char *const situation_names[] = {"waiting", "prefilling", "decoding", "parked"};

/* Brings a sequence there; `other` keeps the only place from it where that is needed. */
static sequence *bring(house *h, situation where, double deadline_ms, sequence **other)
{
    outcome seen = {0};
    const errand blocker = {.where = LARGE, .n_prompt = 8, .max_tokens = 16000, .seed = 9};
    errand e = {.where = LARGE,
                .n_prompt = where == PREFILLING ? 1600 : 8,
                .max_tokens = where == PREFILLING ? 100 : 16000,
                .seed = 10,
                .priority = where == PARKED ? PRIORITY_BATCH : PRIORITY_INTERACTIVE,
                .deadline_ms = deadline_ms};
    *other = NULL;
    if (where == WAITING) {
        *other = house_start(h, &blocker);
        wait_for_tokens(*other, &seen, 1);
    }
    sequence *s = house_start(h, &e);
    while (where == PREFILLING && read_status(h, LARGE).running == 0)
        usleep(20);
    if (where == DECODING || where == PARKED)
        wait_for_tokens(s, &seen, 2);
    if (where == PARKED) {
        seen.tokens.length = 0;
        *other = house_start(h, &blocker);
        wait_for_tokens(*other, &seen, 1);
    }
    token_list_free(&seen.tokens);
    return s;
}

/* Afterwards the place and the slot serve the next one. */
static void check_place_is_free(house *h, sequence *other)
{
    outcome next = {0};
    if (other != NULL)
        sequence_release(other);
    house_run(h, &(errand){.where = LARGE, .n_prompt = 4, .max_tokens = 2, .seed = 11}, &next);
    assert_int_equal(next.last.state, SEQUENCE_FINISHED);
    token_list_free(&next.tokens);
    wait_until_empty(h);
}

static void test_ends_in_every_situation(void **state)
{
    (void)state;
    house h;
    engine_options o = house_options();
    o.context = 16384; /* nothing ends by itself */
    o.slots = 1;
    o.parked = 1;
    house_open(&h, &o, 0);
    for (situation where = WAITING; where < N_SITUATIONS; where++) {
        for (int late = 0; late < 2; late++) {
            outcome got = {0};
            sequence *other;
            sequence *s = bring(&h, where, late ? HOUR_MS : 0, &other);
            if (late)
                clock_advance(HOUR_MS + 1);
            else
                sequence_cancel(s);
            house_end(s, &got);
            printf("  %s, %s: after %.0f ms\n", situation_names[where],
                   late ? "deadline" : "cancelled",
                   got.last.stats.queue_ms + got.last.stats.prefill_ms + got.last.stats.decode_ms);
            assert_int_equal(got.last.state, SEQUENCE_FAILED);
            assert_int_equal(got.last.failure.code, late ? ERR_TIMEOUT : ERR_CANCELLED);
            if (where == PARKED)
                assert_int_equal(got.last.stats.parked, 1);
            check_place_is_free(&h, other);
            token_list_free(&got.tokens);
        }
    }
    house_close(&h);
}

/* A sequence is cancelled while the step that computes it is paused, or just before. */
static void test_cancelled_in_a_pause(void **state)
{
    (void)state;
    house h;
    engine_options o = house_options();
    o.prefill_chunk = 800;
    house_open(&h, &o, 0);
    for (int32_t i = 0; i < 20; i++) {
        outcome cancelled = {0}, probe = {0};
        size_t pauses = read_status(&h, LARGE).pauses;
        const errand e = {.where = i % 2, .n_prompt = 60, .seed = 80 + i, .classify = true};
        sequence *s = house_start(
            &h, &(errand){.where = LARGE, .n_prompt = 1600, .max_tokens = 4, .seed = 20 + i});
        sequence *p = house_start(&h, &e);
        while (i % 4 != 0 && read_status(&h, LARGE).pauses == pauses && house_look(p, &probe))
            usleep(20);
        sequence_cancel(s);
        house_end(p, &probe);
        house_end(s, &cancelled);
        assert_int_equal(probe.last.state, SEQUENCE_FINISHED);
        assert_true(cancelled.last.state == SEQUENCE_FINISHED ||
                    cancelled.last.failure.code == ERR_CANCELLED);
        token_list_free(&cancelled.tokens);
    }
    wait_until_empty(&h);
    house_close(&h);
}

static void test_refuses_what_no_deadline_is(void **state)
{
    (void)state;
    house h;
    failure fail;
    sequence *s;
    engine_options o = house_options();
    house_open(&h, &o, 0);
    const errand e = {.where = SMALL, .n_prompt = 4, .max_tokens = 4, .deadline_ms = -1};
    assert_int_equal(house_submit(&h, &e, &s, &fail), ERR_INVALID);
    house_close(&h);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one of them: a name, with * and ? */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probes_during_prefill),
        cmocka_unit_test(test_yields_off),
        cmocka_unit_test(test_probe_needs_no_place),
        cmocka_unit_test(test_probes_do_not_starve),
        cmocka_unit_test(test_stream_keeps_its_pace),
        cmocka_unit_test(test_short_prompt_beside_long),
        cmocka_unit_test(test_ends_in_every_situation),
        cmocka_unit_test(test_cancelled_in_a_pause),
        cmocka_unit_test(test_refuses_what_no_deadline_is),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
