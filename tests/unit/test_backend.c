/* test_backend.c: one prompt, prepared once: what a backend of the demo's small model does with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/house.h"

static backend_houses all;
static backend *b;
static const model *small;

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

static int open_backend(void **state)
{
    failure fail;
    static const config_model own = {
        .name = "small", .path = "models/demo/small.gguf", .context = 512, .slots = 4};
    static const config_engine shared = {.threads = 2,
                                         .queue_limit = 64,
                                         .prefill_chunk = 256,
                                         .step_budget_ms = 100,
                                         .prefix_cache = true};
    const house_setting setting = {.engine = &shared};
    (void)state;
    must(kernel_init(NULL, &fail), &fail);
    must(backend_houses_add(&all, house_kinds, &setting, &own, &(house_progress){.call = NULL}, &b,
                            &fail),
         &fail);
    must(backend_houses_start(&all, &fail), &fail);
    small = backend_local_model(b);
    return 0;
}

static int close_backend(void **state)
{
    (void)state;
    backend_destroy(b);
    backend_houses_close(&all);
    return 0;
}

static const char question[] = "What colour is the lamp of the house?";
static const char raw[] = "The lamp of the house is blue.";

static request raw_request(void)
{
    return (request){.prompt = raw, .prompt_length = strlen(raw), .sampling = sampling_defaults()};
}

static prepared_prompt *prepare(const request *q)
{
    failure fail;
    prepared_prompt *p = NULL;
    must(backend_prepare(b, q, &p, &fail), &fail);
    return p;
}

typedef struct answer {
    reply_status status;
    token_list tokens;
    score_list scores;
} answer;

static void ask(const request *q, answer *a)
{
    failure fail;
    reply *r;
    prepared_prompt *p = prepare(q);
    *a = (answer){0};
    must(backend_submit(b, q, p, &(lookup_wish){WISH_OFF, 0, 0}, (wakeup){0}, &r, &fail), &fail);
    prompt_destroy(p); /* nothing needs it any more */
    do {
        usleep(200);
        must(reply_poll(r, &a->status, NULL, &a->tokens), &a->status.failure);
        assert_int_equal(score_list_append(&a->scores, reply_scores(r)), OK);
    } while (a->status.state == WORK_RUNNING);
    reply_release(r);
    if (a->status.state == WORK_FAILED)
        fail_msg("%s", a->status.failure.text);
}

static void answer_free(answer *a)
{
    token_list_free(&a->tokens);
    score_list_free(&a->scores);
}

/* ---- prompts --------------------------------------------------------------------------------- */

static void test_ids_are_the_prompt(void **state)
{
    (void)state;
    const request text = raw_request();
    prepared_prompt *p = prepare(&text);
    request ids = {.prompt_ids = prompt_ids(p),
                   .n_prompt_ids = prompt_tokens(p),
                   .sampling = sampling_defaults()};
    prepared_prompt *same = prepare(&ids);
    size_t counted = 0;
    failure fail;
    must(backend_count_tokens(b, &ids, &counted, &fail), &fail);
    assert_int_equal(prompt_tokens(same), prompt_tokens(p));
    assert_int_equal(counted, prompt_tokens(p));
    assert_memory_equal(prompt_ids(same), prompt_ids(p), prompt_tokens(p) * sizeof(int32_t));
    prompt_destroy(same);
    prompt_destroy(p);

    const int32_t none[] = {4, -1}, high[] = {(int32_t)small->config.n_vocab};
    ids.prompt_ids = none;
    ids.n_prompt_ids = 2;
    assert_int_equal(backend_prepare(b, &ids, &same, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "token 1 is -1"));
    ids.prompt_ids = high;
    ids.n_prompt_ids = 1;
    assert_int_equal(backend_prepare(b, &ids, &same, &fail), ERR_INVALID);
}

/* What follows a probe's question in a conversation is the conversation's own prompt. */
static void test_one_prompt_for_all(void **state)
{
    (void)state;
    static const char *const labels[] = {"a", "b"};
    const probe_template suffix = {"{conversation}x", 200, 200, false};
    chat_message message = {"user", question, strlen(question)};
    request q = {.messages = &message, .n_messages = 1, .sampling = sampling_defaults()};
    failure fail;
    prepared_prompt *p = prepare(&q);
    classification *c;
    classification_result said;
    must(backend_classify(b, &q, p, &suffix, labels, 2, (wakeup){0}, &c, &fail), &fail);
    do
        must(classification_poll(c, &said), &said.failure);
    while (said.state == WORK_RUNNING);
    classification_release(c);
    assert_int_equal(said.state, WORK_FINISHED);
    assert_int_equal(said.prompt_tokens, prompt_tokens(p));
    assert_int_equal(said.probe_tokens, prompt_tokens(p) + 1);

    uint32_t layer = backend_last_state(b);
    embedding_job *e;
    embedding_result got;
    const embedding_request wanted = {.layers = &layer, .n_layers = 1, .is_urgent = true};
    must(backend_embed(b, p, &wanted, (wakeup){0}, &e, &fail), &fail);
    do
        must(embedding_poll(e, &got), &got.failure);
    while (got.state == WORK_RUNNING);
    assert_int_equal(got.state, WORK_FINISHED);
    assert_int_equal(backend_state_width(b), small->config.n_embd);
    assert_true(vector_is_finite(got.states, backend_state_width(b)));
    assert_int_equal(got.stats.cached_tokens, prompt_tokens(p) - 1);
    embedding_release(e);

    q.max_tokens = 2;
    answer a;
    ask(&q, &a);
    assert_int_equal(a.status.stats.cached_tokens, prompt_tokens(p) - 1);
    answer_free(&a);
    prompt_destroy(p);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static void test_completion_is_scored(void **state)
{
    (void)state;
    static const char completion[] = " And the door?";
    request q = raw_request();
    answer whole, part;
    q.kind = REQUEST_SCORE;
    q.n_top = 3;
    q.completion = completion;
    q.completion_length = strlen(completion);
    prepared_prompt *p = prepare(&q);
    ask(&q, &part);
    assert_true(part.scores.length > 1);
    for (size_t i = 0; i < part.scores.length; i++)
        assert_int_equal(part.scores.items[i].token, prompt_ids(p)[prompt_tokens(p) + i]);
    assert_int_equal(part.status.stats.prompt_tokens, prompt_tokens(p) + part.scores.length);
    q.scores_prompt = true;
    ask(&q, &whole);
    assert_int_equal(whole.scores.length, prompt_tokens(p) - 1 + part.scores.length);
    assert_memory_equal(whole.scores.items + prompt_tokens(p) - 1, part.scores.items,
                        part.scores.length * sizeof *part.scores.items);
    q.completion = NULL;
    q.scores_prompt = false;
    answer prompt;
    ask(&q, &prompt);
    assert_int_equal(prompt.scores.length, prompt_tokens(p) - 1);
    assert_memory_equal(prompt.scores.items, whole.scores.items,
                        prompt.scores.length * sizeof *whole.scores.items);
    prompt_destroy(p);
    answer_free(&whole);
    answer_free(&part);
    answer_free(&prompt);
}

static void test_reply_is_scored(void **state)
{
    (void)state;
    const logit_bias no_end = {tokenizer_eos(small->tokenizer), -100};
    request q = raw_request();
    answer a;
    q.max_tokens = 8;
    q.sampling.temperature = 0;
    q.sampling.biases = &no_end;
    q.sampling.n_biases = 1;
    q.wants_scores = true;
    q.n_top = 2;
    ask(&q, &a);
    assert_int_equal(a.scores.length, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(a.scores.items[i].token, a.tokens.ids[i]);
        if (a.scores.items[i].rank == 0)
            assert_int_equal(a.scores.top[2 * i].token, a.tokens.ids[i]);
    }
    answer_free(&a);
    q.scores_prompt = true;
    prepared_prompt *p = prepare(&q);
    ask(&q, &a);
    assert_int_equal(a.scores.length, prompt_tokens(p) - 1 + 8);
    prompt_destroy(p);
    answer_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_the_prompt),
        cmocka_unit_test(test_one_prompt_for_all),
        cmocka_unit_test(test_completion_is_scored),
        cmocka_unit_test(test_reply_is_scored),
    };
    return cmocka_run_group_tests(tests, open_backend, close_backend);
}
