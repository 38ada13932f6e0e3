/* test_scores.c: what a model thinks of tokens, and the states of its layers: the model's own
 * numbers, bit for bit the same whatever else runs and however the prompt is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "engine_house.h"

enum { TEXT = 160, TOP = 5, LONG_TEXT = 1500 };

static int32_t text[LONG_TEXT];

static int load(void **state)
{
    for (int i = 0; i < LONG_TEXT; i++)
        text[i] = 30 + i * i % 151;
    return house_load_models(state);
}

/* ---- requests -------------------------------------------------------------------------------- */

static sequence_request make_score(size_t n_prompt, size_t n_scored, size_t n_top)
{
    return (sequence_request){.kind = SEQUENCE_SCORE,
                              .prompt = text,
                              .n_prompt = n_prompt,
                              .n_scored = n_scored,
                              .n_top = n_top};
}

static sequence *start(engine *e, const sequence_request *r)
{
    failure fail = {0};
    sequence *s = NULL;
    if (engine_submit(e, r, &s, &fail) != OK)
        fail_msg("%s", fail.text);
    return s;
}

typedef struct answer {
    sequence_poll_result last;
    token_list tokens;
    score_list scores;
} answer;

/* Of a reply's tokens and their scores those of one poll belong together; the first n_before scores
 * are the prompt's. */
static void take(sequence *s, size_t n_before, answer *a)
{
    *a = (answer){0};
    do {
        usleep(100);
        assert_int_equal(sequence_poll(s, &a->last, NULL, &a->tokens), OK);
        assert_int_equal(score_list_append(&a->scores, sequence_scores(s)), OK);
        if (a->tokens.length > 0)
            assert_true(a->scores.length == 0 || a->scores.length == n_before + a->tokens.length);
    } while (a->last.state == SEQUENCE_RUNNING);
}

static void run(engine *e, const sequence_request *r, answer *a)
{
    sequence *s = start(e, r);
    take(s, r->n_scored, a);
    sequence_release(s);
    if (a->last.state != SEQUENCE_FINISHED)
        fail_msg("%s", a->last.failure.text);
}

static void answer_free(answer *a)
{
    token_list_free(&a->tokens);
    score_list_free(&a->scores);
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

/* ---- the model itself ------------------------------------------------------------------------ */

typedef struct truth {
    float *logits; /* of every position */
    double *states;
    size_t n_vocab, width, n_layers;
} truth;

static void ask_model(const model *m, size_t n, truth *t)
{
    failure fail;
    team *threads;
    forward *f;
    kv_cache *kv;
    uint32_t layers[MODEL_MAX_LAYERS + 1];
    forward_row *rows = calloc(n, sizeof *rows);
    state_reader *readers = calloc(n, sizeof *readers);
    *t = (truth){.n_vocab = m->config.n_vocab, .n_layers = model_last_state(m)};
    t->width = t->n_layers * m->config.n_embd;
    t->states = calloc(n * t->width, sizeof *t->states);
    t->logits = malloc(n * t->n_vocab * sizeof *t->logits);
    for (size_t i = 0; i < t->n_layers; i++)
        layers[i] = (uint32_t)i + 1;
    assert_int_equal(team_create(&threads, 2, &fail), OK);
    assert_int_equal(forward_create(&f, m, 2, n, n, &fail), OK);
    assert_int_equal(kv_create(&kv, &m->config, KV_F16, n, n, 1, &fail), OK);
    kv_slot *slot = kv_acquire(kv, text, 1);
    for (size_t i = 0; i < n; i++) {
        rows[i] = (forward_row){text[i], (uint32_t)i, &slot->view, WANT_LOGITS};
        readers[i] = (state_reader){i, 1, layers, t->n_layers, t->states + i * t->width};
    }
    forward_begin(f, rows, n);
    forward_read_states(f, readers, n);
    assert_true(forward_run(f, threads, NULL));
    memcpy(t->logits, forward_logits(f, 0), n * t->n_vocab * sizeof *t->logits);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(threads);
    free(rows);
    free(readers);
}

static void truth_free(truth *t)
{
    free(t->logits);
    free(t->states);
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

/* ---- what happens to a score on its way -------------------------------------------------------
 */

/* An engine whose memory holds one long prompt, without a cache that would give back what a
 * sequence had to give up. */
static void open_narrow(house *h)
{
    engine_options options = house_options();
    options.prefix_cache = false;
    options.prefill_chunk = 32;
    house_open(h, &options, weight_bytes() + kv_bytes_of(SMALL, LONG_TEXT + 64));
}

/* Takes the memory of the batch sequence there. */
static void interrupt(house *h)
{
    errand e = {.where = SMALL, .n_prompt = 1000, .max_tokens = 2, .seed = 3};
    outcome o = {0};
    house_run(h, &e, &o);
    token_list_free(&o.tokens);
}

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

/* ---- states -----------------------------------------------------------------------------------
 */

static sequence_request make_embedding(size_t n_prompt, const uint32_t *layers, size_t n_layers,
                                       sequence_pooling pooling)
{
    return (sequence_request){.kind = SEQUENCE_EMBEDDING,
                              .prompt = text,
                              .n_prompt = n_prompt,
                              .layers = layers,
                              .n_layers = n_layers,
                              .pooling = pooling};
}

static void check_result(const sequence *s, const sequence_request *r, const truth *t,
                         size_t n_embd)
{
    for (size_t k = 0; k < r->n_layers; k++) {
        for (size_t j = 0; j < n_embd; j++) {
            size_t at = (r->layers[k] - 1) * n_embd + j;
            double sum = 0;
            for (size_t i = 0; i < r->n_prompt; i++)
                sum += t->states[i * t->width + at];
            float expected = r->pooling == POOL_MEAN
                                 ? (float)(sum / (double)r->n_prompt)
                                 : (float)t->states[(r->n_prompt - 1) * t->width + at];
            assert_true(sequence_states(s)[k * n_embd + j] == expected);
        }
    }
}

static void check_states(engine *e, const sequence_request *r, const truth *t,
                         sequence_poll_result *last)
{
    answer a;
    sequence *s = start(e, r);
    take(s, 0, &a);
    if (a.last.state != SEQUENCE_FINISHED)
        fail_msg("%s", a.last.failure.text);
    check_result(s, r, t, engine_model(e)->config.n_embd);
    *last = a.last;
    sequence_release(s);
    answer_free(&a);
}

static void check_all_embeddings(engine *e, const truth *t, const uint32_t *layers, size_t n)
{
    sequence_poll_result last;
    for (int urgent = 0; urgent < 2; urgent++) {
        for (int pooling = POOL_LAST; pooling <= POOL_MEAN; pooling++) {
            sequence_request r = make_embedding(TEXT, layers, n, (sequence_pooling)pooling);
            r.is_urgent = urgent;
            check_states(e, &r, t, &last);
            if (pooling == POOL_MEAN)
                assert_int_equal(last.stats.cached_tokens, 0);
        }
    }
    /* All that was computed before is taken but what the state is of. */
    sequence_request r = make_embedding(TEXT, layers, n, POOL_LAST);
    check_states(e, &r, t, &last);
    assert_int_equal(last.stats.cached_tokens, TEXT - 1);
    /* And so does a reply after a probe. */
    answer a;
    sequence_request reply = {
        .prompt = text, .n_prompt = TEXT, .max_tokens = 2, .sampling = sampling_defaults()};
    run(e, &reply, &a);
    assert_int_equal(a.last.stats.cached_tokens, TEXT - 1);
    answer_free(&a);
}

static void test_embeddings(void **state)
{
    (void)state;
    for (int where = 0; where < 2; where++) {
        truth t;
        ask_model(house_models[where], TEXT, &t);
        uint32_t all[MODEL_MAX_LAYERS + 1], one[] = {2};
        for (size_t i = 0; i < t.n_layers; i++)
            all[i] = (uint32_t)i + 1;
        for (int in_company = 0; in_company < 2; in_company++) {
            house h;
            engine_options options = house_options();
            options.prefill_chunk = in_company ? 7 : 128;
            house_open(&h, &options, 0);
            errand e = {.where = where, .n_prompt = 300, .max_tokens = 600, .seed = 9};
            sequence *other = in_company ? house_start(&h, &e) : NULL;
            check_all_embeddings(h.engines[where], &t, all, t.n_layers);
            check_all_embeddings(h.engines[where], &t, one, 1);
            if (other != NULL)
                sequence_release(other);
            house_close(&h);
        }
        truth_free(&t);
    }
}

/* A batch embedding adds no position twice. */
static void test_embedding_gives_up_kv(void **state)
{
    (void)state;
    house h;
    truth t;
    sequence_poll_result result;
    answer got;
    const uint32_t layers[] = {1, model_last_state(house_models[SMALL])};
    ask_model(house_models[SMALL], LONG_TEXT, &t);
    open_narrow(&h);
    sequence_request r = make_embedding(LONG_TEXT, layers, 2, POOL_MEAN);
    r.priority = PRIORITY_BATCH;
    sequence *s = start(h.engines[SMALL], &r);
    do
        assert_int_equal(sequence_poll(s, &result, NULL, NULL), OK);
    while (read_status(&h, SMALL).kv_bytes == 0);
    interrupt(&h);
    take(s, 0, &got);
    assert_true(got.last.stats.refilled_tokens > 0);
    check_result(s, &r, &t, engine_model(h.engines[SMALL])->config.n_embd);
    sequence_release(s);
    truth_free(&t);
    house_close(&h);
}

/* ---- what is refused ---------------------------------------------------------------------------
 */

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
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_embedding_gives_up_kv),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, load, house_free_models);
}
