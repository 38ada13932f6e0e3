/* When a reply may end, what is told of its end, and the probabilities of what it was drawn from.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "engine_house.h"

typedef struct told {
    token_list tokens;
    buffer text;
    score_list scores;
    sequence_poll_result last;
    char stop[16]; /* which ended it; "": none */
} told;

static const int32_t prompt[] = {40, 41, 42, 43, 44, 45};

/* To its end, polled without pause. */
static void ask(sequence_request *r, told *out)
{
    failure fail = {0};
    sequence *s;
    r->prompt = prompt;
    r->n_prompt = sizeof prompt / sizeof *prompt;
    *out = (told){.tokens = {0}};
    buffer_init(&out->text, 1 << 20);
    if (engine_submit(solo_house.engines[SMALL], r, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    do {
        usleep(200);
        assert_int_equal(sequence_poll(s, &out->last, &out->text, &out->tokens), OK);
        assert_int_equal(score_list_append(&out->scores, sequence_scores(s)), OK);
    } while (out->last.state == SEQUENCE_RUNNING);
    assert_int_equal(out->last.state, SEQUENCE_FINISHED);
    snprintf(out->stop, sizeof out->stop, "%s", out->last.stop != NULL ? out->last.stop : "");
    sequence_release(s);
}

static void forget(told *t)
{
    token_list_free(&t->tokens);
    buffer_free(&t->text);
    score_list_free(&t->scores);
}

static sequence_request request_of(float temperature)
{
    sequence_request r = {.max_tokens = 12, .sampling = sampling_defaults()};
    r.sampling.temperature = temperature;
    return r;
}

/* The end is what the model wants at once, and gets when it may. */
static void test_least_length(void **state)
{
    (void)state;
    const logit_bias wish = {tokenizer_eos(house_models[SMALL]->tokenizer), 100};
    static const size_t least[] = {0, 1, 5, 12, SIZE_MAX};
    static const size_t lengths[] = {0, 1, 5, 12, 12};
    for (size_t i = 0; i < sizeof least / sizeof *least; i++) {
        for (uint32_t draft = 0; draft <= 4; draft += 4) {
            told t;
            sequence_request r = request_of(0);
            r.sampling.biases = &wish;
            r.sampling.n_biases = 1;
            r.min_tokens = least[i];
            r.lookup = (lookup_setting){draft > 0 ? LOOKUP_FIXED : LOOKUP_OFF, draft, 0};
            ask(&r, &t);
            assert_int_equal(t.tokens.length, lengths[i]);
            assert_int_equal(t.last.finish, lengths[i] < 12 ? FINISH_STOP : FINISH_LENGTH);
            forget(&t);
        }
    }
}

static void test_which_stop(void **state)
{
    (void)state;
    told free_one, stopped;
    sequence_request r = request_of(0);
    r.max_tokens = 60;
    r.min_tokens = SIZE_MAX;
    ask(&r, &free_one);
    assert_string_equal(free_one.stop, "");
    /* Its own third character on, as a stop string behind one that never comes. */
    char own[4] = {0};
    memcpy(own, free_one.text.data + 2, 3);
    const char *const stops[] = {"\x01never", own};
    r.stops = stops;
    r.n_stops = 2;
    ask(&r, &stopped);
    assert_int_equal(stopped.last.finish, FINISH_STOP);
    assert_string_equal(stopped.stop, own);
    assert_true(stopped.text.length <= 2);
    forget(&free_one);
    forget(&stopped);
}

/* Each token among those that could be drawn, whose probabilities are 1 together. */
static void check_shares(const told *t, size_t n_top, size_t could)
{
    assert_int_equal(t->scores.length, t->tokens.length);
    for (size_t i = 0; i < t->scores.length; i++) {
        const token_logprob *top = t->scores.top + i * n_top;
        double sum = 0;
        size_t n = 0, found = 0;
        for (size_t k = 0; k < n_top && isfinite(top[k].logprob); k++, n++) {
            sum += exp((double)top[k].logprob);
            found += top[k].token == t->scores.items[i].token &&
                     top[k].logprob == t->scores.items[i].logprob;
            assert_true(k == 0 || top[k].logprob <= top[k - 1].logprob);
        }
        assert_true(n <= could && n > 0);
        assert_int_equal(found, 1);
        assert_float_equal(sum, 1, 1e-5);
    }
}

static void test_shares(void **state)
{
    (void)state;
    const struct {
        float temperature;
        uint32_t top_k;
        size_t could;
    } cases[] = {{0, 0, 1}, {1, 1, 1}, {1, 3, 3}, {0.7f, 6, 6}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        told t;
        sequence_request r = request_of(cases[i].temperature);
        r.sampling.top_k = cases[i].top_k;
        r.min_tokens = SIZE_MAX;
        r.wants_scores = r.scores_drawn = true;
        r.n_top = 8;
        ask(&r, &t);
        check_shares(&t, 8, cases[i].could);
        forget(&t);
    }
}

/* Without a filter, the model's own distribution is what is drawn from at temperature 1. */
static void test_shares_of_all(void **state)
{
    (void)state;
    told drawn, own;
    sequence_request r = request_of(1);
    r.wants_scores = true;
    r.n_top = 5;
    ask(&r, &own);
    r.scores_drawn = true;
    ask(&r, &drawn);
    assert_int_equal(own.scores.length, drawn.scores.length);
    for (size_t i = 0; i < own.scores.length; i++) {
        assert_float_equal(own.scores.items[i].logprob, drawn.scores.items[i].logprob, 1e-4);
        assert_int_equal(own.scores.items[i].rank, drawn.scores.items[i].rank);
        for (size_t k = 0; k < 5; k++)
            assert_float_equal(own.scores.top[5 * i + k].logprob,
                               drawn.scores.top[5 * i + k].logprob, 1e-4);
    }
    forget(&drawn);
    forget(&own);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_length),
        cmocka_unit_test(test_which_stop),
        cmocka_unit_test(test_shares),
        cmocka_unit_test(test_shares_of_all),
    };
    return cmocka_run_group_tests(tests, house_load_models, house_free_models);
}
