/* The engine as its users meet it: limits, cancelling, classification, what the prefix cache gives.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"

#define MODEL "tests/golden/data/qwen2.F16.gguf"

typedef struct house {
    model *m;
    conductor *c;
    engine *e;
} house;

static int32_t prompt_tokens[64];

static int set_up(void **state)
{
    static house h;
    failure fail = {0};
    const model_options options = {.chat_template = "none"};
    engine_options o = engine_defaults();
    o.slots = 2;
    o.queue_limit = 3;
    o.context = 600;
    o.prefill_chunk = 8;
    for (int i = 0; i < 64; i++)
        prompt_tokens[i] = 30 + i;
    assert_int_equal(kernel_init(NULL, &fail), OK);
    assert_int_equal(model_load(&h.m, MODEL, &options, &fail), OK);
    assert_int_equal(conductor_create(&h.c, 2, &fail), OK);
    assert_int_equal(conductor_add(h.c, h.m, &o, &h.e, &fail), OK);
    assert_int_equal(conductor_start(h.c, &fail), OK);
    *state = &h;
    return 0;
}

static int tear_down(void **state)
{
    house *h = *state;
    conductor_destroy(h->c);
    model_destroy(h->m);
    return 0;
}

static sequence_request make_request(size_t n_prompt, size_t max_tokens)
{
    sequence_request r = {.prompt = prompt_tokens, .n_prompt = n_prompt, .max_tokens = max_tokens};
    r.sampling = sampling_defaults();
    r.sampling.temperature = 0;
    return r;
}

/* Polls every millisecond: these tests need no wake-ups. */
static sequence_poll_result wait_for_end(sequence *s, token_list *tokens)
{
    sequence_poll_result result;
    for (;;) {
        assert_int_equal(sequence_poll(s, &result, NULL, tokens), OK);
        if (result.state != SEQUENCE_RUNNING)
            return result;
        usleep(1000);
    }
}

static void test_refusals(void **state)
{
    const house *h = *state;
    failure fail;
    sequence *s;
    static int32_t many[700];
    const int32_t outside[] = {1, 1 << 20};
    sequence_request r = make_request(0, 4);
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
    r = make_request(600, 4);
    r.prompt = many;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_CONTEXT);
    assert_non_null(strstr(fail.text, "600"));
    r = make_request(2, 4);
    r.prompt = outside;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "1048576"));
    r = make_request(2, 4);
    r.lookup = (lookup_setting){LOOKUP_FIXED, LOOKUP_MAX_DRAFT + 1, 0};
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
    r = make_request(2, 4);
    r.sampling.temperature = -1;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
}

/* A forced reply is given out as it is, and what it repeats is drafted. */
static void test_forced_reply(void **state)
{
    const house *h = *state;
    static const lookup_setting settings[] = {
        {LOOKUP_OFF, 0, 0}, {LOOKUP_FIXED, 4, 0}, {LOOKUP_AUTO, 0, 0}};
    int32_t forced[40];
    failure fail;
    sequence *s;
    for (int i = 0; i < 40; i++)
        forced[i] = prompt_tokens[i + 10];
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        token_list tokens = {0};
        sequence_request r = make_request(64, 0);
        r.forced = forced;
        r.n_forced = 40;
        r.lookup = settings[i];
        assert_int_equal(engine_submit(h->e, &r, &s, &fail), OK);
        sequence_poll_result result = wait_for_end(s, &tokens);
        assert_int_equal(result.finish, FINISH_LENGTH);
        assert_int_equal(tokens.length, 40);
        assert_memory_equal(tokens.ids, forced, sizeof forced);
        if (settings[i].mode == LOOKUP_FIXED)
            assert_true(result.stats.accepted == 31 && result.stats.steps == 8);
        sequence_release(s);
        token_list_free(&tokens);
    }
    sequence_request r = make_request(64, 3);
    r.forced = forced;
    r.n_forced = 40;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
    r.max_tokens = 0;
    forced[7] = -1;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_INVALID);
    forced[7] = 0;
    r.n_forced = 600;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), ERR_CONTEXT);
}

static void test_length_is_kept(void **state)
{
    const house *h = *state;
    failure fail;
    sequence *s;
    token_list tokens = {0};
    const logit_bias no_end = {tokenizer_eos(h->m->tokenizer), -100};
    sequence_request r = make_request(5, 12);
    if (no_end.token >= 0) {
        r.sampling.biases = &no_end;
        r.sampling.n_biases = 1;
    }
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), OK);
    sequence_poll_result result = wait_for_end(s, &tokens);
    assert_int_equal(result.state, SEQUENCE_FINISHED);
    if (result.finish == FINISH_LENGTH)
        assert_int_equal(tokens.length, 12);
    assert_int_equal(result.stats.reply_tokens, tokens.length);
    assert_int_equal(result.stats.prompt_tokens, 5);
    assert_true(result.stats.weight_bytes > 0 && result.stats.kv_bytes > 0);
    sequence_release(s);
    token_list_free(&tokens);
}

/* More than slots and queue hold: the last ones are refused, the others all end, none is lost. */
static void test_queue_has_a_limit(void **state)
{
    const house *h = *state;
    sequence *s[32];
    size_t n = 0;
    failure fail;
    for (int i = 0; i < 32; i++) {
        sequence_request r = make_request(20, 400);
        error_code code = engine_submit(h->e, &r, &s[n], &fail);
        assert_true(code == OK || code == ERR_BUSY);
        n += code == OK;
    }
    assert_true(n >= 5 && n < 32);
    for (size_t i = 0; i < n; i++)
        sequence_cancel(s[i]);
    for (size_t i = 0; i < n; i++) {
        sequence_poll_result result = wait_for_end(s[i], NULL);
        assert_true(result.state == SEQUENCE_FINISHED || result.failure.code == ERR_CANCELLED);
        sequence_release(s[i]);
    }
}

static void test_release_while_running(void **state)
{
    const house *h = *state;
    failure fail;
    sequence *s;
    for (int i = 0; i < 20; i++) {
        sequence_request r = make_request(30, 300);
        assert_int_equal(engine_submit(h->e, &r, &s, &fail), OK);
        usleep(500u * (unsigned)(i % 4));
        sequence_release(s);
        engine_status status;
        do {
            engine_read_status(h->e, &status);
        } while (status.running + status.waiting > 0);
    }
}

static sequence_poll_result classify(const house *h, bool is_alone)
{
    static const int32_t labels[] = {40, 41, 42};
    failure fail;
    sequence *s;
    sequence_request r = make_request(40, 0);
    r.kind = SEQUENCE_CLASSIFICATION;
    r.labels = labels;
    r.n_labels = 3;
    r.is_alone = is_alone;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), OK);
    sequence_poll_result probe = wait_for_end(s, NULL);
    assert_int_equal(probe.state, SEQUENCE_FINISHED);
    sequence_release(s);
    return probe;
}

/* Shares 38 tokens with what is classified. */
static sequence_poll_result answer_after(const house *h, token_list *tokens)
{
    failure fail;
    sequence *s;
    int32_t answer[40];
    memcpy(answer, prompt_tokens, sizeof answer);
    answer[38] = 3;
    sequence_request r = make_request(40, 20);
    r.prompt = answer;
    assert_int_equal(engine_submit(h->e, &r, &s, &fail), OK);
    sequence_poll_result reply = wait_for_end(s, tokens);
    sequence_release(s);
    return reply;
}

static void open_alone(house *h, const house *like)
{
    failure fail;
    engine_options o = engine_defaults();
    *h = (house){.m = like->m};
    assert_int_equal(conductor_create(&h->c, 1, &fail), OK);
    assert_int_equal(conductor_add(h->c, h->m, &o, &h->e, &fail), OK);
    assert_int_equal(conductor_start(h->c, &fail), OK);
}

/* A classification that is alone leaves nothing and takes nothing; what it and the answer say is
 * the same. */
static void test_classification_alone(void **state)
{
    house apart, shared;
    token_list with = {0}, without = {0};
    open_alone(&apart, *state);
    open_alone(&shared, *state);
    sequence_poll_result first = classify(&shared, false);
    assert_int_equal(answer_after(&shared, &with).stats.cached_tokens, 38);
    sequence_poll_result alone = classify(&apart, true);
    assert_int_equal(answer_after(&apart, &without).stats.cached_tokens, 0);
    assert_int_equal(classify(&apart, true).stats.cached_tokens, 0);
    assert_int_equal(classify(&apart, false).stats.cached_tokens, 38); /* of the answer */
    assert_memory_equal(first.label_logits, alone.label_logits, 3 * sizeof(float));
    assert_memory_equal(&first.log_sum_exp, &alone.log_sum_exp, sizeof(float));
    assert_int_equal(with.length, without.length);
    assert_memory_equal(with.ids, without.ids, with.length * sizeof *with.ids);
    token_list_free(&with);
    token_list_free(&without);
    conductor_destroy(apart.c);
    conductor_destroy(shared.c);
}

static void test_classification_and_prefix(void **state)
{
    const house *h = *state;
    sequence_poll_result probe = classify(h, false);
    double inside = 0;
    for (int i = 0; i < 3; i++)
        inside += exp((double)(probe.label_logits[i] - probe.log_sum_exp));
    assert_true(inside > 0 && inside < 1);
    assert_int_equal(answer_after(h, NULL).stats.cached_tokens, 38);
}

/* What is known of a step's cost is not measured again. */
static void test_known_step_cost(void **state)
{
    const house *h = *state;
    conductor *c;
    engine *e;
    failure fail;
    engine_status status;
    engine_options o = engine_defaults();
    for (size_t n = 1; n < LOOKUP_MAX_DRAFT + 2; n++)
        o.step_ms[n] = 1000.0 + (double)n;
    o.step_ms[ENGINE_STEP_ROWS] = 5000;
    o.prefill_row_ms = 77;
    assert_int_equal(conductor_create(&c, 1, &fail), OK);
    assert_int_equal(conductor_add(c, h->m, &o, &e, &fail), OK);
    assert_int_equal(conductor_start(c, &fail), OK);
    for (int i = 0; i < 10000; i++) {
        engine_read_status(e, &status);
        if (status.prefill_row_ms > 0)
            break;
        usleep(1000);
    }
    for (size_t n = 1; n < LOOKUP_MAX_DRAFT + 2; n++)
        assert_true(fabs(status.step_ms[n] - 1000.0 - (double)n) < 1e-9);
    assert_true(status.step_ms[32] == 0 && status.step_ms[ENGINE_STEP_ROWS] == 5000);
    /* Attention has a part of it. */
    assert_true(status.prefill_row_ms > 30 && status.prefill_row_ms <= 77);
    conductor_destroy(c);
}

/* What a reply that repeats its prompt drafts where a step of n > 1 rows costs so much more. */
static size_t drafted_at(const house *like, double factor, size_t *tokens)
{
    conductor *c;
    engine *e;
    failure fail;
    engine_options o = engine_defaults();
    o.step_ms[1] = 1;
    for (size_t n = 2; n < LOOKUP_MAX_DRAFT + 2; n++)
        o.step_ms[n] = factor;
    o.prefill_row_ms = 0.1;
    assert_int_equal(conductor_create(&c, 1, &fail), OK);
    assert_int_equal(conductor_add(c, like->m, &o, &e, &fail), OK);
    assert_int_equal(conductor_start(c, &fail), OK);
    int32_t prompt[128];
    size_t drafted = 0;
    for (size_t i = 0; i < 128; i++)
        prompt[i] = prompt_tokens[i % 64];
    for (int i = 0; i < 5; i++) {
        sequence *s;
        sequence_request r = {.prompt = prompt, .n_prompt = 128, .forced = prompt, .n_forced = 128};
        r.sampling = sampling_defaults();
        r.lookup = (lookup_setting){.mode = LOOKUP_AUTO};
        assert_int_equal(engine_submit(e, &r, &s, &fail), OK);
        sequence_poll_result result = wait_for_end(s, NULL);
        assert_int_equal(result.stats.reply_tokens, 128);
        *tokens += result.stats.reply_tokens;
        drafted += result.stats.drafted;
        sequence_release(s);
    }
    conductor_destroy(c);
    return drafted;
}

/* A static-graph accelerator rebuilds its graph for every new number of rows: n > 1 costs hundreds
 * of steps of one. Known from the start (engine: machine:), auto never drafts. */
static void test_jumping_step_cost(void **state)
{
    size_t tokens = 0;
    assert_int_equal(drafted_at(*state, 500, &tokens), 0);
    assert_int_equal(tokens, 5 * 128);
    assert_true(drafted_at(*state, 1.05, &tokens) > 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_step_cost),
        cmocka_unit_test(test_jumping_step_cost),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_forced_reply),
        cmocka_unit_test(test_length_is_kept),
        cmocka_unit_test(test_queue_has_a_limit),
        cmocka_unit_test(test_release_while_running),
        cmocka_unit_test(test_classification_and_prefix),
        cmocka_unit_test(test_classification_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
