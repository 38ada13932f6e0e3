/* The states of a model's layers: its own numbers, bit for bit the same whatever else runs and
 * however the prompt is cut. */
#include "score_truth.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_embeddings),
        cmocka_unit_test(test_embedding_gives_up_kv),
    };
    return cmocka_run_group_tests(tests, load, house_free_models);
}
