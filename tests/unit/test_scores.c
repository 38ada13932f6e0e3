/* test_scores.c: what a model thinks of tokens: the model's own numbers, bit for bit the same
 * whatever else runs and however the prompt is cut. */
#include "score_truth.h"

static sequence_request make_score(size_t n_prompt, size_t n_scored, size_t n_top)
{
    return (sequence_request){.kind = SEQUENCE_SCORE,
                              .prompt = text,
                              .n_prompt = n_prompt,
                              .n_scored = n_scored,
                              .n_top = n_top};
}

/* From the lists' items a and b on. */
static void check_same_scores(const score_list *x, size_t a, const score_list *y, size_t b,
                              size_t n)
{
    assert_true(a + n <= x->length && b + n <= y->length);
    assert_int_equal(x->n_top, y->n_top);
    assert_memory_equal(x->items + a, y->items + b, n * sizeof *x->items);
    if (x->n_top > 0)
        assert_memory_equal(x->top + a * x->n_top, y->top + b * y->n_top,
                            n * x->n_top * sizeof *x->top);
}

static double log_probability(const float *logits, size_t n, int32_t token)
{
    double best = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++)
        best = fmax(best, (double)logits[i]);
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - best);
    return (double)logits[token] - best - log(sum);
}

/* How many come before the token, by logit and then by id. */
static uint32_t count_before(const float *logits, size_t n, int32_t token)
{
    uint32_t before = 0;
    for (int32_t i = 0; i < (int32_t)n; i++)
        before += logits[i] > logits[token] || (logits[i] == logits[token] && i < token);
    return before;
}

static void check_score(const score_list *list, size_t item, const float *logits, size_t n_vocab,
                        int32_t token)
{
    const token_score *s = &list->items[item];
    const token_logprob *top = list->top + item * list->n_top;
    assert_int_equal(s->token, token);
    assert_int_equal(s->rank, count_before(logits, n_vocab, token));
    assert_float_equal(s->logprob, log_probability(logits, n_vocab, token), 2e-5);
    for (size_t k = 0; k < list->n_top; k++) {
        assert_int_equal(count_before(logits, n_vocab, top[k].token), k);
        assert_float_equal(top[k].logprob, log_probability(logits, n_vocab, top[k].token), 2e-5);
        if (top[k].token == token)
            assert_true(top[k].logprob == s->logprob);
    }
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void test_scores_are_the_models(void **state)
{
    (void)state;
    house h;
    engine_options options = house_options();
    house_open(&h, &options, 0);
    for (int where = 0; where < 2; where++) {
        truth t;
        answer a;
        ask_model(house_models[where], TEXT, &t);
        sequence_request r = make_score(TEXT, TEXT - 1, TOP);
        run(h.engines[where], &r, &a);
        assert_int_equal(a.last.finish, FINISH_LENGTH);
        assert_int_equal(a.tokens.length, 0);
        assert_int_equal(a.scores.length, TEXT - 1);
        for (size_t i = 0; i + 1 < TEXT; i++)
            check_score(&a.scores, i, t.logits + i * t.n_vocab, t.n_vocab, text[i + 1]);
        answer_free(&a);
        truth_free(&t);
    }
    house_close(&h);
}

/* Beside replies that stream and draft, in small pieces, from a cached prefix, waiting long. */
static void test_scores_do_not_depend_on_others(void **state)
{
    (void)state;
    house h;
    answer expected, got;
    sequence_request all = make_score(TEXT, TEXT - 1, TOP), some = make_score(TEXT, 20, TOP);
    run(solo_house.engines[LARGE], &all, &expected);
    engine_options options = house_options();
    options.prefill_chunk = 7;
    house_open(&h, &options, 0);
    sequence *others[6];
    errand e = {.where = LARGE, .n_prompt = 40, .max_tokens = 400};
    for (int i = 0; i < 6; i++) {
        e.seed = i;
        e.lookup = (lookup_setting){i % 2 == 0 ? LOOKUP_FIXED : LOOKUP_AUTO, 16, 0};
        others[i] = house_start(&h, &e);
    }
    some.priority = PRIORITY_INTERACTIVE;
    all.priority = PRIORITY_BATCH;
    sequence *first = start(h.engines[LARGE], &all);
    run(h.engines[LARGE], &some, &got);
    check_same_scores(&got.scores, 0, &expected.scores, TEXT - 21, 20);
    answer_free(&got);
    take(first, all.n_scored, &got);
    sequence_release(first);
    check_same_scores(&got.scores, 0, &expected.scores, 0, TEXT - 1);
    answer_free(&got);
    run(h.engines[LARGE], &some, &got);
    assert_int_equal(got.last.stats.cached_tokens, TEXT - 21); /* nothing of it needs logits */
    check_same_scores(&got.scores, 0, &expected.scores, TEXT - 21, 20);
    answer_free(&got);
    answer_free(&expected);
    for (int i = 0; i < 6; i++)
        sequence_release(others[i]);
    house_close(&h);
}

/* A reply's scores are the model's own opinion, whatever is done to the logits before sampling, and
 * however many of its tokens were drafted: those that a score of the same tokens has. */
static void test_reply_is_scored(void **state)
{
    (void)state;
    static const lookup_setting settings[] = {
        {LOOKUP_OFF, 0, 0}, {LOOKUP_FIXED, 8, 0}, {LOOKUP_AUTO, 0, 0}};
    const logit_bias biases[] = {{tokenizer_eos(house_models[LARGE]->tokenizer), -100}, {60, 3}};
    int32_t whole[TEXT + 60];
    score_list first = {0};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        answer reply, score;
        sequence_request r = {.prompt = text,
                              .n_prompt = TEXT,
                              .n_scored = i == 0 ? 0 : TEXT - 1,
                              .n_top = TOP,
                              .wants_scores = true,
                              .max_tokens = 60,
                              .lookup = settings[i],
                              .sampling = sampling_defaults()};
        r.sampling.biases = biases;
        r.sampling.n_biases = 2;
        r.sampling.repetition_penalty = 1.2f;
        r.sampling.temperature = 0.7f;
        run(solo_house.engines[LARGE], &r, &reply);
        assert_int_equal(reply.tokens.length, 60);
        assert_int_equal(reply.scores.length, r.n_scored + 60);
        if (i == 0)
            assert_int_equal(score_list_append(&first, &reply.scores), OK);
        check_same_scores(&reply.scores, r.n_scored, &first, 0, 60);
        memcpy(whole, text, TEXT * sizeof *text);
        memcpy(whole + TEXT, reply.tokens.ids, 60 * sizeof *whole);
        sequence_request s = make_score(TEXT + 60, r.n_scored + 60, TOP);
        s.prompt = whole;
        run(solo_house.engines[LARGE], &s, &score);
        check_same_scores(&reply.scores, 0, &score.scores, 0, score.scores.length);
        answer_free(&reply);
        answer_free(&score);
    }
    score_list_free(&first);
}

/* ---- what happens to a score on its way ------------------------------------------------------ */

/* A batch score that has to give up its KV in the middle goes on where it was. */
static void test_score_gives_up_kv(void **state)
{
    (void)state;
    house h;
    answer expected, got;
    sequence_request r = make_score(LONG_TEXT, LONG_TEXT - 1, 0);
    run(solo_house.engines[SMALL], &r, &expected);
    open_narrow(&h);
    r.priority = PRIORITY_BATCH;
    sequence *s = start(h.engines[SMALL], &r);
    sequence_poll_result result;
    score_list begun = {0};
    do {
        assert_int_equal(sequence_poll(s, &result, NULL, NULL), OK);
        assert_int_equal(score_list_append(&begun, sequence_scores(s)), OK);
    } while (begun.length == 0);
    interrupt(&h);
    take(s, r.n_scored, &got);
    sequence_release(s);
    assert_int_equal(got.last.state, SEQUENCE_FINISHED);
    assert_true(got.last.stats.refilled_tokens > 0);
    assert_int_equal(score_list_append(&begun, &got.scores), OK);
    assert_int_equal(begun.length, LONG_TEXT - 1);
    check_same_scores(&begun, 0, &expected.scores, 0, LONG_TEXT - 1);
    score_list_free(&begun);
    answer_free(&expected);
    answer_free(&got);
    house_close(&h);
}

static void test_cancelled(void **state)
{
    (void)state;
    sequence_request r = make_score(LONG_TEXT, LONG_TEXT - 1, TOP);
    sequence *s = start(solo_house.engines[LARGE], &r);
    answer a;
    sequence_cancel(s);
    take(s, r.n_scored, &a);
    sequence_release(s);
    assert_int_equal(a.last.failure.code, ERR_CANCELLED);
    answer_free(&a);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void refuse(const sequence_request *r, const char *why)
{
    failure fail = {0};
    sequence *s;
    assert_int_equal(engine_submit(solo_house.engines[SMALL], r, &s, &fail), ERR_INVALID);
    if (strstr(fail.text, why) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fail.text, why);
}

static void test_refused(void **state)
{
    (void)state;
    const uint32_t last = model_last_state(house_models[SMALL]);
    const uint32_t none[] = {0}, high[] = {last + 1}, falling[] = {2, 1}, good[] = {1};
    sequence_request r = make_score(TEXT, TEXT, 0);
    refuse(&r, "the first follows nothing");
    r = make_score(TEXT, 0, 0);
    refuse(&r, "no tokens to be scored");
    r = make_score(TEXT, 1, SCORE_MAX_TOP + 1);
    refuse(&r, "at most 20");
    r = make_embedding(TEXT, NULL, 0, POOL_LAST);
    refuse(&r, "no layer");
    r = make_embedding(TEXT, none, 1, POOL_LAST);
    refuse(&r, "layer 0");
    r = make_embedding(TEXT, high, 1, POOL_LAST);
    refuse(&r, "are known");
    r = make_embedding(TEXT, falling, 2, POOL_LAST);
    refuse(&r, "must increase");
    r = make_embedding(TEXT, good, 1, POOL_LAST);
    r.n_scored = 1;
    refuse(&r, "several kinds");
    r = make_score(TEXT, 1, 0);
    r.labels = text;
    r.n_labels = 2;
    refuse(&r, "several kinds");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scores_are_the_models),
        cmocka_unit_test(test_scores_do_not_depend_on_others),
        cmocka_unit_test(test_reply_is_scored),
        cmocka_unit_test(test_score_gives_up_kv),
        cmocka_unit_test(test_cancelled),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, load, house_free_models);
}
