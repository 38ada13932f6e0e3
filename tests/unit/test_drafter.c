/* A small model that drafts for a large one: the answers are the large one's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine_house.h"

enum { ERRANDS = 6 };

static engine_options few_slots(void)
{
    engine_options o = house_options();
    o.context = 600;
    o.slots = 3;
    return o;
}

static void open_with_drafter(house *h)
{
    failure fail = {0};
    engine_options o = few_slots();
    assert_int_equal(conductor_create(&h->c, 2, &fail), OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(conductor_add(h->c, house_models[i], &o, &h->engines[i], &fail), OK);
    if (engine_set_draft_model(h->engines[LARGE], house_models[SMALL], &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(conductor_start(h->c, &fail), OK);
}

static errand make_errand(int i)
{
    return (errand){.where = LARGE,
                    .n_prompt = 20 + (size_t)i * 17,
                    .max_tokens = 60,
                    .seed = i,
                    .priority = i % 2 == 0 ? SEQUENCE_INTERACTIVE : SEQUENCE_BATCH,
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
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
