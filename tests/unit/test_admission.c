/* Who gets a place and memory: parking, ageing, giving up KV, the memory limit. Answers are those
 * of solo runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "engine_house.h"
#include "test_clock.h"

/* ---- parking -------------------------------------------------------------------------------- */

/* The only place is taken from a batch reply 20 times; it never computes anything again. */
static void test_parked_twenty_times(void **state)
{
    (void)state;
    enum { TIMES = 21 }; /* the first may find it waiting */
    house h;
    outcome batch = {0};
    engine_options o = house_options();
    o.slots = 1;
    o.parked = 1;
    house_open(&h, &o, 0);
    const errand e = {
        .where = LARGE, .n_prompt = 200, .max_tokens = 1700, .seed = 1, .priority = PRIORITY_BATCH};
    sequence *s = house_start(&h, &e);
    for (int32_t i = 0; i < TIMES; i++) {
        outcome reply = {0};
        /* The first one comes while the prompt is prefilled, others when it has gone on. */
        wait_for_tokens(s, &batch, i > 0 ? batch.tokens.length + 5 : 0);
        const errand interactive = {
            .where = LARGE, .n_prompt = 20, .max_tokens = 3, .seed = 100 + i};
        house_run(&h, &interactive, &reply);
        assert_true(house_look(s, &batch));
        if (i % 5 == 0)
            check_solo(&interactive, &reply);
        token_list_free(&reply.tokens);
    }
    house_end(s, &batch);
    assert_in_range(batch.last.stats.parked, TIMES - 1, TIMES);
    assert_int_equal(batch.last.stats.refilled_tokens, 0);
    check_solo(&e, &batch);
    house_close(&h);
}

/* Interactive before batch, whoever came first; batch ones in their order. */
static void test_order_of_waiting(void **state)
{
    (void)state;
    house h;
    outcome first = {0}, batch[2] = {0}, interactive = {0};
    engine_options o = house_options();
    o.slots = 1;
    house_open(&h, &o, 0);
    errand e = {.where = LARGE, .n_prompt = 8, .max_tokens = 60, .seed = 2};
    sequence *s = house_start(&h, &e);
    wait_for_tokens(s, &first, 1);
    e.priority = PRIORITY_BATCH;
    sequence *b0 = house_start(&h, &e), *b1 = house_start(&h, &e);
    e.priority = PRIORITY_INTERACTIVE;
    sequence *i0 = house_start(&h, &e);
    house_end(s, &first);
    house_end(i0, &interactive);
    house_end(b0, &batch[0]);
    house_end(b1, &batch[1]);
    assert_true(interactive.last.stats.queue_ms < batch[0].last.stats.queue_ms);
    assert_true(batch[0].last.stats.queue_ms < batch[1].last.stats.queue_ms);
    token_list_free(&first.tokens);
    token_list_free(&interactive.tokens);
    token_list_free(&batch[0].tokens);
    token_list_free(&batch[1].tokens);
    house_close(&h);
}

/* A batch sequence waits behind a long reply, and interactive ones come after it: how many of these
 * began after it for certain. By the engine's own times: when the test looks, all may have ended.
 */
static size_t replies_after_batch(double ageing_ms)
{
    enum { LATER = 20 };
    house h;
    outcome batch = {0};
    sequence *later[LATER];
    double came_ms[LATER];
    size_t n_after = 0;
    engine_options o = house_options();
    o.slots = 1;
    o.ageing_ms = ageing_ms;
    house_open(&h, &o, 0);
    errand e = {.where = SMALL, .n_prompt = 8, .max_tokens = 2000, .seed = 3};
    sequence *first = house_start(&h, &e);
    e.max_tokens = 8;
    e.priority = PRIORITY_BATCH;
    sequence *s = house_start(&h, &e);
    double batch_came_ms = clock_ms(); /* or before */
    e.priority = PRIORITY_INTERACTIVE;
    for (size_t i = 0; i < LATER; i++) {
        came_ms[i] = clock_ms(); /* or after */
        later[i] = house_start(&h, &e);
    }
    clock_advance(40); /* the batch one becomes older than the shorter of the ages below */
    sequence_release(first);
    house_end(s, &batch);
    for (size_t i = 0; i < LATER; i++) {
        outcome reply = {0};
        house_end(later[i], &reply);
        n_after +=
            came_ms[i] + reply.last.stats.queue_ms > batch_came_ms + batch.last.stats.queue_ms ? 1
                                                                                               : 0;
        token_list_free(&reply.tokens);
    }
    token_list_free(&batch.tokens);
    house_close(&h);
    return n_after;
}

static void test_ageing(void **state)
{
    (void)state;
    assert_int_equal(replies_after_batch(1e9), 0);
    assert_true(replies_after_batch(20) > 0);
}

/* ---- memory --------------------------------------------------------------------------------- */

static void test_what_never_fits(void **state)
{
    (void)state;
    house h;
    failure fail = {0};
    sequence *s;
    outcome got = {0};
    engine_options o = house_options();
    assert_int_equal(house_try(&h, &o, weight_bytes() / 2, &fail), ERR_MEMORY);
    assert_non_null(strstr(fail.text, "GB"));
    house_close(&h);
    house_open(&h, &o, weight_bytes() + kv_bytes_of(LARGE, 256));
    errand e = {.where = LARGE, .n_prompt = 200, .max_tokens = 100};
    assert_int_equal(house_submit(&h, &e, &s, &fail), ERR_TOO_LARGE);
    assert_non_null(strstr(fail.text, "300 tokens"));
    assert_non_null(strstr(fail.text, "256"));
    e.max_tokens = 0; /* as many as there is room for */
    house_run(&h, &e, &got);
    assert_int_equal(got.last.state, SEQUENCE_FINISHED);
    assert_int_equal(got.last.stats.reply_tokens, 56);
    token_list_free(&got.tokens);
    house_close(&h);
}

static void check_limit(const house *h)
{
    size_t taken = 0;
    engine_status s = read_status(h, LARGE);
    taken += s.kv_bytes + read_status(h, SMALL).kv_bytes;
    assert_true(taken <= s.kv_limit_bytes);
}

/* Memory for one and a half of the two batch replies, and interactive ones between: the newer one
 * gives up its KV, and says the same as alone. */
static void test_batch_gives_up_its_kv(void **state)
{
    (void)state;
    enum { BATCH = 2, TIMES = 12 };
    house h;
    sequence *s[BATCH];
    outcome batch[BATCH] = {0};
    errand e[BATCH];
    size_t refilled = 0;
    engine_options o = house_options();
    o.slots = 2;
    house_open(&h, &o, weight_bytes() + kv_bytes_of(LARGE, 800));
    for (int32_t i = 0; i < BATCH; i++) {
        e[i] = (errand){.where = LARGE,
                        .n_prompt = 200,
                        .max_tokens = 300,
                        .seed = 10 + i,
                        .priority = PRIORITY_BATCH,
                        .lookup = {i % 2 ? LOOKUP_FIXED : LOOKUP_OFF, 4, 0}};
        s[i] = house_start(&h, &e[i]);
    }
    for (int32_t i = 0; i < TIMES; i++) {
        outcome reply = {0};
        const errand interactive = {
            .where = i % 3 == 0 ? SMALL : LARGE, .n_prompt = 100, .max_tokens = 20, .seed = 30 + i};
        wait_for_tokens(s[0], &batch[0], 15 * (size_t)i);
        check_limit(&h);
        house_run(&h, &interactive, &reply);
        check_solo(&interactive, &reply);
    }
    for (int32_t i = 0; i < BATCH; i++) {
        house_end(s[i], &batch[i]);
        refilled += batch[i].last.stats.refilled_tokens;
        check_limit(&h);
        check_solo(&e[i], &batch[i]);
    }
    printf("  %zu tokens prefilled again\n", refilled);
    assert_true(refilled > 0);
    wait_until_empty(&h);
    house_close(&h);
}

/* Until it was prefilled again, and says more; what it said before it lost its KV may be new here.
 */
static void wait_for_refill(sequence *s, outcome *o, size_t before)
{
    while (house_look(s, o) && o->last.stats.refilled_tokens <= before)
        usleep(100);
    wait_for_tokens(s, o, o->tokens.length + 2);
}

/* Memory for the batch reply or an interactive one, not for both: each of these takes its KV, which
 * is computed again. */
static void test_loses_its_kv_twenty_times(void **state)
{
    (void)state;
    enum { TIMES = 20, PROMPT = 200, TOKENS = 1200, ROOM = PROMPT + TOKENS - 5 };
    house h;
    outcome batch = {0}, replies[TIMES] = {0};
    size_t lost = 0, refilled = 0;
    engine_options o = house_options();
    house_open(&h, &o, weight_bytes() + kv_bytes_of(LARGE, PROMPT + TOKENS + 10));
    const errand e = {.where = LARGE,
                      .n_prompt = PROMPT,
                      .max_tokens = TOKENS,
                      .seed = 7,
                      .priority = PRIORITY_BATCH};
    sequence *s = house_start(&h, &e);
    wait_for_tokens(s, &batch, 2);
    for (int32_t i = 0; i < TIMES; i++) {
        house_run(&h, &(errand){.where = LARGE, .n_prompt = ROOM, .max_tokens = 3, .seed = 200 + i},
                  &replies[i]);
        wait_for_refill(s, &batch, refilled);
        lost += batch.last.stats.refilled_tokens > refilled ? 1 : 0;
        refilled = batch.last.stats.refilled_tokens;
        check_limit(&h);
    }
    house_end(s, &batch);
    printf("  %zu times, %zu tokens prefilled again\n", lost, refilled);
    assert_int_equal(lost, TIMES);
    check_solo(&e, &batch);
    for (int32_t i = 0; i < TIMES; i++) {
        /* Not before: meanwhile the batch reply would go on to its end. */
        const errand again = {.where = LARGE, .n_prompt = ROOM, .max_tokens = 3, .seed = 200 + i};
        if (i % 5 == 0)
            check_solo(&again, &replies[i]);
        token_list_free(&replies[i].tokens);
    }
    house_close(&h);
}

/* A conversation that fills most of the memory finds its own history again: it is not forgotten to
 * make room for itself. */
static void test_history_survives_tight_memory(void **state)
{
    (void)state;
    house h;
    outcome got = {0};
    engine_options o = house_options();
    house_open(&h, &o, weight_bytes() + kv_bytes_of(LARGE, 700));
    errand e = {.where = LARGE, .n_prompt = 500, .max_tokens = 8, .seed = 5};
    house_run(&h, &e, &got);
    e.n_prompt = 600;
    got.tokens.length = 0;
    house_run(&h, &e, &got);
    assert_int_equal(got.last.stats.cached_tokens, 500);
    check_solo(&e, &got);
    house_close(&h);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static errand random_errand(int32_t i)
{
    static unsigned x = 1;
    unsigned r[6];
    for (size_t k = 0; k < 6; k++)
        r[k] = (x = x * 1664525u + 1013904223u) >> 8;
    errand e = {.where = (int)(r[0] % 2),
                .n_prompt = 1 + r[1] % (r[2] % 4 == 0 ? 400 : 60),
                .max_tokens = 1 + r[3] % 80,
                .seed = i,
                .classify = r[4] % 4 == 0,
                .priority = r[5] % 2 ? PRIORITY_BATCH : PRIORITY_INTERACTIVE};
    e.lookup = (lookup_setting){r[2] % 3 ? LOOKUP_AUTO : LOOKUP_OFF, 0, 0};
    return e;
}

/* Everything at once, with little memory and few places; every fifth one is cancelled. */
static void run_company(double ageing_ms)
{
    enum { AT_ONCE = 12, ALL = 72 };
    house h;
    errand e[AT_ONCE];
    sequence *s[AT_ONCE];
    engine_options o = house_options();
    o.slots = 3;
    o.parked = 2;
    o.prefill_chunk = 64;
    o.ageing_ms = ageing_ms;
    house_open(&h, &o, weight_bytes() + kv_bytes_of(LARGE, 700) + kv_bytes_of(SMALL, 300));
    for (int32_t at = 0; at < ALL; at += AT_ONCE) {
        for (int32_t i = 0; i < AT_ONCE; i++) {
            e[i] = random_errand(at + i);
            s[i] = house_start(&h, &e[i]);
        }
        for (int32_t i = 0; i < AT_ONCE; i++) {
            outcome got = {0};
            bool cancelled = (at + i) % 5 == 4;
            if (cancelled)
                sequence_cancel(s[i]);
            house_end(s[i], &got);
            if (!cancelled)
                check_solo(&e[i], &got);
            token_list_free(&got.tokens);
        }
    }
    wait_until_empty(&h);
    check_limit(&h);
    assert_true(read_status(&h, LARGE).retry_after_s > 0);
    house_close(&h);
}

static void test_company(void **state)
{
    (void)state;
    run_company(10000);
}

static void test_company_all_aged(void **state)
{
    (void)state;
    run_company(0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* one of them: a name, with * and ? */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parked_twenty_times),
        cmocka_unit_test(test_order_of_waiting),
        cmocka_unit_test(test_ageing),
        cmocka_unit_test(test_what_never_fits),
        cmocka_unit_test(test_batch_gives_up_its_kv),
        cmocka_unit_test(test_loses_its_kv_twenty_times),
        cmocka_unit_test(test_history_survives_tight_memory),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_company_all_aged),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
