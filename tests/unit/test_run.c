/* One request on its way: the orchestra and its runs above two pretended backends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run_house.h"

/* ---- tests -------------------------------------------------------------------------------- */

static void test_routed(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
    check_plan(r, "s", "code");
    assert_true(run_intent(r)->known && run_intent(r)->windowed);
    assert_string_equal(run_intent(r)->labels[run_intent(r)->best], "code");
    assert_int_equal(run_finish_reason(r), END_LENGTH);
    const overhead *o = &run_receipt(r)->overhead;
    assert_float_equal(o->template_ms, 1 + PREPARING_MS, 0);
    assert_true(o->prefill_ms == 2 && o->switch_ms == 4 && o->decide_ms >= 0);
    assert_true(o->total_ms > 4);
    assert_int_equal(world.lookup.mode, WISH_AUTO);
    assert_int_equal(world.lookup.prior, 0);
    /* One rendering serves the count, the probe and the answer. */
    assert_int_equal(world.n_prepared[0], 1);
    assert_int_equal(world.n_prepared[1], 0);
    run_release(r);

    world.logits[2] = 12; /* now math */
    lookup_wish fixed = {.mode = WISH_FIXED, .length = 3};
    r = perform(&s, (run_options){.lookup = &fixed}, RUN_FINISHED);
    check_plan(r, "l", "math");
    assert_int_equal(world.n_prepared[0], 2);
    assert_int_equal(world.n_prepared[1], 1);
    assert_int_equal(world.lookup.mode, WISH_FIXED);
    assert_int_equal(world.lookup.length, 3);
    run_release(r);
    close_stage(&s);
}

static void test_pinned(void **state)
{
    (void)state;
    reset_world();
    world.classify_code = ERR_INTERNAL; /* must not matter */
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = "s"}, RUN_FINISHED);
    check_plan(r, "s", "pinned");
    assert_false(run_intent(r)->known);
    run_release(r);
    failure fail;
    assert_int_equal(submit(&s, &(run_options){.model = "gpt"}, &r, &fail), ERR_NOT_FOUND);
    assert_string_equal(fail.text, "no model \"gpt\"; there are: auto, s, l");
    assert_null(r);
    world.submit_code = ERR_CONTEXT;
    assert_int_equal(submit(&s, &(run_options){.model = "s"}, &r, &fail), ERR_CONTEXT);
    close_stage(&s);
}

static void test_decide_only(void **state)
{
    (void)state;
    reset_world();
    world.submit_code = ERR_INTERNAL; /* nothing may be submitted */
    stage s;
    open_stage(&s, "{name: paper}");
    run *r = perform(&s, (run_options){.decide_only = true}, RUN_FINISHED);
    check_plan(r, "s", "code");
    assert_int_equal(run_plan(r)->lookup.mode, WISH_OFF);
    run_release(r);
    close_stage(&s);
}

static void test_no_probe_needed(void **state)
{
    (void)state;
    reset_world();
    world.classify_code = ERR_INTERNAL;
    world.tokens[0] = 101;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "long_context");
    assert_string_equal(run_plan(r)->reason, "101 prompt tokens > 100");
    run_release(r);
    close_stage(&s);

    world.label_code = ERR_CONFIG; /* a policy that never asks needs no usable labels */
    open_stage(&s, "{name: small}");
    world.tokens[0] = 10;
    r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "s", "small");
    run_release(r);
    world.tokens[0] = 100; /* no room for a reply */
    r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
    check_plan(r, "l", "long_context");
    assert_non_null(strstr(run_plan(r)->reason, "100 prompt tokens do not fit"));
    run_release(r);
    close_stage(&s);
}

static void test_fits_neither(void **state)
{
    (void)state;
    reset_world();
    world.tokens[0] = world.tokens[1] = 1000;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = NULL;
    failure fail;
    assert_int_equal(submit(&s, &(run_options){.model = NULL}, &r, &fail), ERR_CONTEXT);
    assert_non_null(strstr(fail.text, "1000 tokens"));
    assert_non_null(strstr(fail.text, "holds 100,"));
    assert_non_null(strstr(fail.text, "one's 1000,"));
    close_stage(&s);
}

static void test_random(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: random, seed: 3}"); /* coins 0.09, 0.81, 0.53, 0.06 */
    for (size_t i = 0; i < 4; i++) {
        run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
        check_plan(r, random_uniform(3, 0, i) <= 0.5 ? "s" : "l", "random");
        run_release(r);
    }
    close_stage(&s);
}

static void test_probe_failures(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        reset_world();
        world.classify_code = kind == 0 ? ERR_BUSY : OK;
        world.classification_code = kind == 1 ? ERR_INTERNAL : OK;
        if (kind == 2)
            world.logits[1] = NAN;
        stage s;
        open_stage(&s, "{name: adaptive}");
        run *r = perform(&s, (run_options){.model = NULL}, RUN_FINISHED);
        check_plan(r, "l", "probe_error");
        const char *says[] = {"no slot", "lost", "not finite"};
        assert_non_null(strstr(run_plan(r)->reason, says[kind]));
        assert_false(run_intent(r)->known);
        run_release(r);
        close_stage(&s);
    }
}

static void test_reply_failures(void **state)
{
    (void)state;
    reset_world();
    world.submit_code = ERR_BUSY;
    stage s;
    open_stage(&s, "{name: adaptive}");
    run *r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
    assert_int_equal(run_failure(r)->code, ERR_BUSY);
    run_release(r);
    world.submit_code = OK;
    world.reply_code = ERR_MEMORY;
    r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
    assert_int_equal(run_failure(r)->code, ERR_MEMORY);
    run_release(r);
    close_stage(&s);
}

static void test_deadline(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    world.deadline_ms = 200; /* a probe takes longer: no reply is started, whatever it says */
    world.part_us = 100000;
    for (int failed = 0; failed < 2; failed++) {
        world.classification_code = failed ? ERR_TIMEOUT : OK;
        run *r = perform(&s, (run_options){.model = NULL}, RUN_FAILED);
        assert_int_equal(run_failure(r)->code, ERR_TIMEOUT);
        assert_string_equal(world.prompt, "");
        run_release(r);
    }
    world.classification_code = OK;
    world.part_us = 0;
    world.deadline_ms = 60000; /* the probe's time is taken off */
    run_release(perform(&s, (run_options){.model = NULL}, RUN_FINISHED));
    assert_true(world.left_ms > 0 && world.left_ms < 59999);
    close_stage(&s);
}

static void test_cancel(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    const char *models[] = {"auto", "s"}; /* cancelled while probing, and while replying */
    for (size_t i = 0; i < 2; i++) {
        run *r = NULL;
        failure fail;
        buffer text;
        token_list tokens = {0};
        buffer_init(&text, 100);
        assert_int_equal(submit(&s, &(run_options){.model = models[i]}, &r, &fail), OK);
        run_cancel(r);
        assert_int_equal(finish(r, &text, &tokens), RUN_FAILED);
        assert_int_equal(run_failure(r)->code, ERR_CANCELLED);
        run_release(r);
        assert_int_equal(submit(&s, &(run_options){.model = models[i]}, &r, &fail), OK);
        run_release(r); /* in the middle */
        buffer_free(&text);
        token_list_free(&tokens);
    }
    close_stage(&s);
}

static void *perform_some(void *context)
{
    for (int i = 0; i < 5; i++)
        run_release(
            perform(context, (run_options){.model = NULL, .decide_only = true}, RUN_FINISHED));
    return NULL;
}

static void test_many_at_once(void **state)
{
    (void)state;
    reset_world();
    stage s;
    open_stage(&s, "{name: adaptive}");
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, perform_some, &s), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    close_stage(&s);
}

static void test_one_model(void **state)
{
    (void)state;
    reset_world();
    stage s = {.config = NULL};
    failure fail;
    assert_int_equal(config_for_model(&s.config, "s", &fail), OK);
    const house_progress progress = {.call = count_progress, .context = &s};
    assert_int_equal(orchestra_create_of(&s.orchestra, fake_houses, s.config, progress, &fail), OK);
    run *r = perform(&s, (run_options){.model = "auto"}, RUN_FINISHED);
    check_plan(r, "s", "pinned");
    run_release(r);
    assert_int_equal(submit(&s, &(run_options){.model = "l"}, &r, &fail), ERR_NOT_FOUND);
    close_stage(&s);
}

static void test_start_failures(void **state)
{
    (void)state;
    reset_world();
    stage s;
    failure fail;
    world.label_code = ERR_CONFIG;
    assert_int_equal(try_open(&s, "{name: adaptive}", &fail), ERR_CONFIG);
    assert_string_equal(fail.text, "probe: two tokens");
    close_stage(&s);
    world.load_code = ERR_FORMAT;
    assert_int_equal(try_open(&s, "{name: adaptive}", &fail), ERR_FORMAT);
    assert_string_equal(fail.text, "model l: cut short");
    close_stage(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_routed),         cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_decide_only),    cmocka_unit_test(test_no_probe_needed),
        cmocka_unit_test(test_fits_neither),   cmocka_unit_test(test_random),
        cmocka_unit_test(test_probe_failures), cmocka_unit_test(test_reply_failures),
        cmocka_unit_test(test_cancel),         cmocka_unit_test(test_many_at_once),
        cmocka_unit_test(test_one_model),      cmocka_unit_test(test_start_failures),
        cmocka_unit_test(test_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
