/* A small model that drafts for a large one: the answers are the large one's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/conductor.h"
#include "engine_house.h"

enum { ERRANDS = 6 };

/* Steps of more rows are said to cost less, so that drafts are worth it whatever the machine is
 * doing, until much else has been learned. */
static engine_options few_slots(void)
{
    engine_options o = house_options();
    o.context = 600;
    o.slots = 3;
    for (size_t n = 1; n < LOOKUP_MAX_DRAFT + 2; n++)
        o.step_ms[n] = 1000.0 / (double)(n * n);
    o.prefill_row_ms = 0.01;
    return o;
}

/* What is submitted before conductor_start arrives together. */
static void prepare_with(house *h, int drafting, int drafted, const engine_options *o)
{
    failure fail = {0};
    assert_int_equal(conductor_create(&h->c, 2, &fail), OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(conductor_add(h->c, house_models[i], o, &h->engines[i], &fail), OK);
    if (engine_set_draft_model(h->engines[drafted], house_models[drafting], &fail) != OK)
        fail_msg("%s", fail.text);
}

static void open_with(house *h, int drafting, int drafted, const engine_options *o)
{
    failure fail = {0};
    prepare_with(h, drafting, drafted, o);
    assert_int_equal(conductor_start(h->c, &fail), OK);
}

static void open_with_drafter(house *h)
{
    engine_options o = few_slots();
    open_with(h, SMALL, LARGE, &o);
}

static errand make_errand(int i)
{
    return (errand){.where = LARGE,
                    .n_prompt = 20 + (size_t)i * 17,
                    .max_tokens = 60,
                    .seed = i,
                    .priority = i % 2 == 0 ? PRIORITY_INTERACTIVE : PRIORITY_BATCH,
                    .greedy = i % 3 != 1,
                    .lookup = {.mode = LOOKUP_DRAFT}};
}

/* Alone and in company, more than there are places for, beside lookup and the small model's own
 * replies and classifications. */
static void test_same_answer_with_a_draft_model(void **state)
{
    (void)state;
    house h;
    errand e[ERRANDS + 3];
    sequence *s[ERRANDS + 3];
    size_t drafted = 0, accepted = 0;
    open_with_drafter(&h);
    outcome alone = {0};
    e[0] = make_errand(0);
    house_run(&h, &e[0], &alone);
    assert_true(alone.last.stats.drafted > 0);
    check_solo(&e[0], &alone);
    for (int i = 0; i < ERRANDS + 3; i++)
        e[i] = make_errand(i);
    e[ERRANDS].lookup.mode = LOOKUP_AUTO;
    e[ERRANDS + 1] = (errand){.where = SMALL, .n_prompt = 40, .max_tokens = 30, .seed = 3};
    e[ERRANDS + 2] = (errand){.where = SMALL, .n_prompt = 40, .seed = 4, .classify = true};
    for (int i = 0; i < ERRANDS + 3; i++)
        s[i] = house_start(&h, &e[i]);
    for (int i = 0; i < ERRANDS + 3; i++) {
        outcome o = {0};
        house_end(s[i], &o);
        if (i < ERRANDS) {
            drafted += o.last.stats.drafted;
            accepted += o.last.stats.accepted;
        }
        check_solo(&e[i], &o);
    }
    assert_true(drafted > 0 && accepted > 0);
    house_close(&h);
}

/* Beyond the small model's context nothing is drafted any more. */
static void test_reply_outgrows_the_draft_model(void **state)
{
    (void)state;
    house h;
    open_with_drafter(&h);
    errand e = make_errand(1);
    outcome o = {0};
    e.n_prompt = 280;
    e.max_tokens = 80;
    house_run(&h, &e, &o);
    check_solo(&e, &o);
    house_close(&h);
}

/* A forced reply says how often its guesses are right. */
static void test_forced_agreement(void **state)
{
    (void)state;
    house h;
    int32_t text[100];
    open_with_drafter(&h);
    for (int i = 0; i < 100; i++)
        text[i] = 40 + i * i % 200;
    for (int right = 0; right < 2; right++) {
        failure fail;
        sequence *s;
        outcome o = {0};
        sequence_request r = {.prompt = text,
                              .n_prompt = 20,
                              .forced = text + 20,
                              .n_forced = 80,
                              .forced_agreement = right,
                              .sampling = sampling_defaults(),
                              .lookup = {.mode = LOOKUP_DRAFT}};
        assert_int_equal(engine_submit(h.engines[LARGE], &r, &s, &fail), OK);
        house_end(s, &o);
        assert_int_equal(o.tokens.length, 80);
        assert_memory_equal(o.tokens.ids, text + 20, 80 * sizeof *text);
        if (right == 1)
            assert_int_equal(o.last.stats.accepted, o.last.stats.drafted);
        else
            assert_int_equal(o.last.stats.accepted, 0);
        token_list_free(&o.tokens);
    }
    house_close(&h);
}

/* ---- its time ------------------------------------------------------------------------------- */

/* A large model drafts for a small one, so that its time is most of the time: the engine's turns
 * are charged with it. */
static void test_its_time_is_the_engines(void **state)
{
    (void)state;
    house h;
    outcome o = {0};
    engine_options options = few_slots();
    open_with(&h, LARGE, SMALL, &options);
    errand e = make_errand(1);
    e.where = SMALL;
    e.n_prompt = 500;
    house_run(&h, &e, &o);
    check_solo(&e, &o);
    wait_until_empty(&h);
    double drafting_ms = read_status(&h, SMALL).drafting_ms;
    assert_true(drafting_ms > 0);
    assert_true(h.engines[SMALL]->turn.used_ms >= drafting_ms);
    house_close(&h);
}

/* Where the step budget leaves no time, a prompt is read a few tokens a step: not to its end before
 * this reply's. */
static void test_reading_keeps_to_the_step_budget(void **state)
{
    (void)state;
    for (int tight = 0; tight < 2; tight++) {
        house h;
        outcome o = {0};
        engine_options options = few_slots();
        options.step_budget_ms = tight ? 1e-6 : 1e6;
        open_with(&h, SMALL, LARGE, &options);
        errand e = make_errand(2);
        e.n_prompt = 250;
        e.max_tokens = 29; /* steps of 8 tokens of the prompt each, or of 64 */
        house_run(&h, &e, &o);
        assert_int_equal(o.last.stats.drafted == 0, tight);
        check_solo(&e, &o);
        house_close(&h);
    }
}

/* Guesses that are all right, while another reply streams that gets none of them: one a step where
 * the budget leaves no time. The other has a token a step, from the same step on, and more to say.
 */
static void test_guessing_keeps_to_the_step_budget(void **state)
{
    (void)state;
    house h;
    failure fail;
    sequence *s;
    int32_t text[200];
    outcome o = {0}, beside = {0};
    engine_options options = few_slots();
    options.step_budget_ms = 1e-6;
    prepare_with(&h, SMALL, LARGE, &options);
    errand e = make_errand(1);
    e.lookup.mode = LOOKUP_OFF;
    e.max_tokens = 500;
    sequence *streams = house_start(&h, &e);
    for (int i = 0; i < 200; i++)
        text[i] = 40 + i * i % 200;
    sequence_request r = {.prompt = text,
                          .n_prompt = 20,
                          .forced = text + 20,
                          .n_forced = 180,
                          .forced_agreement = 1,
                          .sampling = sampling_defaults(),
                          .lookup = {.mode = LOOKUP_DRAFT}};
    assert_int_equal(engine_submit(h.engines[LARGE], &r, &s, &fail), OK);
    assert_int_equal(conductor_start(h.c, &fail), OK);
    house_end(s, &o);
    house_end(streams, &beside);
    assert_int_equal(beside.tokens.length, 500);
    assert_true(o.last.stats.steps < beside.last.stats.steps);
    assert_true(o.last.stats.drafted > 0);
    assert_true(o.last.stats.drafted <= o.last.stats.steps);
    token_list_free(&o.tokens);
    token_list_free(&beside.tokens);
    house_close(&h);
}

/* Probes that come while a slow draft model reads a prompt and guesses: no answer differs. */
static void test_probes_in_its_steps(void **state)
{
    (void)state;
    enum { PROBES = 20, MOST_PROBES = 1000 };
    house h;
    outcome o = {0};
    engine_options options = few_slots();
    options.step_budget_ms = 1e6;
    for (size_t n = 6; n < LOOKUP_MAX_DRAFT + 2; n++)
        options.step_ms[n] = 1000; /* so that few of the slow guesses are in vain */
    open_with(&h, LARGE, SMALL, &options);
    errand e = make_errand(1);
    e.where = SMALL;
    e.n_prompt = 500;
    /* On a busy machine a probe may come when there is no step to pause. */
    for (int32_t i = 0; i < PROBES || (i < MOST_PROBES && read_status(&h, SMALL).pauses == 0);
         i++) {
        outcome probe = {0};
        errand p = {.where = i % 2, .n_prompt = 40, .seed = 60 + i, .classify = true};
        e.seed = i;
        sequence *s = house_start(&h, &e);
        wait_for_tokens(s, &o, 1);
        house_run(&h, &p, &probe);
        check_solo(&p, &probe);
        house_end(s, &o);
        check_solo(&e, &o);
        o = (outcome){0};
    }
    assert_true(read_status(&h, SMALL).pauses > 0);
    house_close(&h);
}

static void test_refusals(void **state)
{
    (void)state;
    failure fail = {0};
    sequence *s;
    model *other;
    house h;
    errand e = make_errand(0);
    open_with_drafter(&h);
    e.where = SMALL;
    assert_int_equal(house_submit(&h, &e, &s, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "no draft model"));
    house_close(&h);
    engine_options o = few_slots();
    assert_int_equal(model_load(&other, "tests/golden/data/qwen2.F16.gguf",
                                &(model_options){.chat_template = "none"}, &fail),
                     OK);
    assert_int_equal(conductor_create(&h.c, 1, &fail), OK);
    assert_int_equal(conductor_add(h.c, house_models[LARGE], &o, &h.engines[LARGE], &fail), OK);
    assert_int_equal(engine_set_draft_model(h.engines[LARGE], other, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "vocabular"));
    house_close(&h);
    model_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_answer_with_a_draft_model),
        cmocka_unit_test(test_reply_outgrows_the_draft_model),
        cmocka_unit_test(test_forced_agreement),
        cmocka_unit_test(test_its_time_is_the_engines),
        cmocka_unit_test(test_reading_keeps_to_the_step_budget),
        cmocka_unit_test(test_guessing_keeps_to_the_step_budget),
        cmocka_unit_test(test_probes_in_its_steps),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
