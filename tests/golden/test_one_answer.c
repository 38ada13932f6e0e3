/* Promise 1: one answer. The tokens of a reply are the same whatever the draft length, the cut of
 * the prefill, the number of threads, the company in the batch, or the prefix cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "families.h"

#define REPLY_TOKENS 96
#define N_COMPANY 5

static const char *const model_paths[] = {
    "tests/golden/data/llama.Q6_K.gguf",
    "tests/golden/data/qwen3.Q4_0.gguf",
    "tests/golden/data/pangu.Q8_0.gguf",
    "models/demo/small.gguf",
    "models/demo/large.gguf",
    "../shared/golden/qwen2.Q4_K_M.gguf",
    "../shared/golden/qwen3moe.Q8_0.gguf",
};

typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool ringing;
} bell;

static void ring(void *context)
{
    bell *b = context;
    pthread_mutex_lock(&b->lock);
    b->ringing = true;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

static void wait_for(bell *b)
{
    pthread_mutex_lock(&b->lock);
    while (!b->ringing)
        pthread_cond_wait(&b->rung, &b->lock);
    b->ringing = false;
    pthread_mutex_unlock(&b->lock);
}

typedef struct variation {
    const char *name;
    lookup_setting lookup;
    size_t prefill_chunk;
    int threads;
    bool company; /* others run beside it */
    bool again;   /* the second time, from the prefix cache */
    kv_type kv;
} variation;

static const variation variations[] = {
    {"lookup 2", {LOOKUP_FIXED, 2, 0}, 64, 1, false, false, KV_F16},
    {"lookup 8", {LOOKUP_FIXED, 8, 0}, 64, 1, false, false, KV_F16},
    {"lookup 16", {LOOKUP_FIXED, 16, 0}, 64, 1, false, false, KV_F16},
    {"lookup auto", {LOOKUP_AUTO, 0, 0}, 64, 1, false, false, KV_F16},
    {"prefill cut at 1", {LOOKUP_OFF, 0, 0}, 1, 1, false, false, KV_F16},
    {"prefill cut at 7", {LOOKUP_OFF, 0, 0}, 7, 1, false, false, KV_F16},
    {"two threads", {LOOKUP_OFF, 0, 0}, 64, 2, false, false, KV_F16},
    {"two threads, lookup 8, cut at 7", {LOOKUP_FIXED, 8, 0}, 7, 2, false, false, KV_F16},
    {"in company", {LOOKUP_OFF, 0, 0}, 64, 2, true, false, KV_F16},
    {"in company, lookup auto", {LOOKUP_AUTO, 0, 0}, 7, 2, true, false, KV_F16},
    {"from the prefix cache", {LOOKUP_OFF, 0, 0}, 64, 1, false, true, KV_F16},
};

typedef struct answer {
    token_list tokens;
    sequence_stats stats;
} answer;

static void collect(sequence *s, bell *b, answer *out)
{
    sequence_poll_result result;
    do {
        wait_for(b);
        assert_int_equal(sequence_poll(s, &result, NULL, &out->tokens), OK);
    } while (result.state == SEQUENCE_RUNNING);
    if (result.state != SEQUENCE_FINISHED)
        fail_msg("%s", result.failure.text);
    out->stats = result.stats;
}

static sequence_request make_request(const token_list *prompt, const sampling_params *sampling,
                                     lookup_setting lookup, bell *b)
{
    return (sequence_request){.prompt = prompt->ids,
                              .n_prompt = prompt->length,
                              .sampling = *sampling,
                              .max_tokens = REPLY_TOKENS,
                              .lookup = lookup,
                              .wake = ring,
                              .wake_context = b};
}

/* Other requests, of other lengths and seeds, that come and go meanwhile. */
static void start_company(engine *e, const token_list *prompt, sequence **others)
{
    failure fail;
    for (size_t i = 0; i < N_COMPANY; i++) {
        sampling_params sampling = sampling_defaults();
        sampling.seed = 1000 + i;
        lookup_setting lookup = {i % 2 ? LOOKUP_FIXED : LOOKUP_OFF, 4, 0};
        sequence_request r = make_request(prompt, &sampling, lookup, NULL);
        r.wake = NULL;
        r.n_prompt = 1 + i * 5 % prompt->length;
        r.max_tokens = 8 + 20 * i;
        assert_int_equal(engine_submit(e, &r, &others[i], &fail), OK);
    }
}

static void run_variation(const model *m, const token_list *prompt, const sampling_params *sampling,
                          const variation *v, answer *out)
{
    failure fail = {0};
    conductor *c;
    engine *e;
    sequence *s, *others[N_COMPANY] = {NULL};
    bell b = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    engine_options options = engine_defaults();
    options.prefill_chunk = v->prefill_chunk;
    options.context = 1024;
    options.kv = v->kv;
    assert_int_equal(conductor_create(&c, v->threads, &fail), OK);
    assert_int_equal(conductor_add(c, m, &options, &e, &fail), OK);
    assert_int_equal(conductor_start(c, &fail), OK);
    for (int round = 0; round < (v->again ? 2 : 1); round++) {
        out->tokens.length = 0;
        if (v->company)
            start_company(e, prompt, others);
        sequence_request r = make_request(prompt, sampling, v->lookup, &b);
        if (engine_submit(e, &r, &s, &fail) != OK)
            fail_msg("%s", fail.text);
        collect(s, &b, out);
        sequence_release(s);
    }
    for (size_t i = 0; i < N_COMPANY && others[i] != NULL; i++)
        sequence_release(others[i]);
    conductor_destroy(c);
}

static void check_same(const model *m, const char *path, const token_list *prompt,
                       const sampling_params *sampling, kv_type kv, const char *how)
{
    const variation plain = {"plain", {LOOKUP_OFF, 0, 0}, 64, 1, false, false, kv};
    answer expected = {0};
    size_t drafted = 0, accepted = 0;
    run_variation(m, prompt, sampling, &plain, &expected);
    assert_true(expected.tokens.length > 0);
    for (size_t i = 0; i < sizeof variations / sizeof variations[0]; i++) {
        variation v = variations[i];
        v.kv = kv;
        answer got = {0};
        run_variation(m, prompt, sampling, &v, &got);
        if (got.tokens.length != expected.tokens.length ||
            memcmp(got.tokens.ids, expected.tokens.ids, got.tokens.length * sizeof(int32_t)) != 0)
            fail_msg("%s, %s: the answer with '%s' differs", path, how, v.name);
        size_t held = prompt->length - 1; /* or, of grouped keys, what is closed of it */
        if (v.again && kv_groups_keys(kv) && got.stats.cached_tokens < held)
            held = held / KV_GROUP * KV_GROUP;
        if (v.again)
            assert_int_equal(got.stats.cached_tokens, held);
        drafted += got.stats.drafted;
        accepted += got.stats.accepted;
        token_list_free(&got.tokens);
    }
    printf("  %-36s %-15s %zu tokens, drafted %zu, accepted %zu\n", path, how,
           expected.tokens.length, drafted, accepted);
    token_list_free(&expected.tokens);
}

/* Something with repetitions, so that there is something to look up. */
static void make_prompt(const model *m, token_list *out)
{
    static const char text[] =
        "def add(a, b):\n    return a + b\n\ndef add(a, b):\n    return a + b\n"
        "\nThe lamp of the house is blue. The lamp of the house is";
    failure fail;
    for (int i = 0; i < 2; i++)
        assert_int_equal(
            tokenizer_encode(m->tokenizer, text, strlen(text), false, i == 0, out, &fail), OK);
}

typedef struct opened_model {
    model *model;
    token_list prompt;
    logit_bias no_end; /* long replies test more */
    sampling_params greedy;
} opened_model;

static void open_model(const char *path, opened_model *out)
{
    failure fail = {0};
    const model_options options = {.chat_template = "none"};
    memset(out, 0, sizeof *out);
    assert_int_equal(kernel_init(NULL, &fail), OK);
    if (model_load(&out->model, path, &options, &fail) != OK)
        fail_msg("%s", fail.text);
    make_prompt(out->model, &out->prompt);
    out->no_end = (logit_bias){tokenizer_eos(out->model->tokenizer), -100};
    out->greedy = sampling_defaults();
    out->greedy.temperature = 0;
    out->greedy.biases = &out->no_end;
    out->greedy.n_biases = out->no_end.token >= 0 ? 1 : 0;
}

static void close_model(opened_model *m)
{
    token_list_free(&m->prompt);
    model_destroy(m->model);
}

static void check_small_kv(const opened_model *m, const char *path)
{
    if (m->model->config.head_dim % kv_block_values(KV_Q8_0) == 0)
        check_same(m->model, path, &m->prompt, &m->greedy, KV_Q8_0, "greedy, KV q8_0");
    if (m->model->config.head_dim % kv_block_values(KV_Q4) == 0)
        check_same(m->model, path, &m->prompt, &m->greedy, KV_Q4, "greedy, KV q4");
}

static void test_one_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof model_paths / sizeof model_paths[0]; i++) {
        opened_model m;
        if (access(model_paths[i], R_OK) != 0) {
            printf("  skipped: %s is not here\n", model_paths[i]);
            continue;
        }
        open_model(model_paths[i], &m);
        check_same(m.model, model_paths[i], &m.prompt, &m.greedy, KV_F16, "greedy");
        check_small_kv(&m, model_paths[i]);
        sampling_params warm = m.greedy;
        warm.temperature = 0.8f;
        warm.seed = 42;
        check_same(m.model, model_paths[i], &m.prompt, &warm, KV_F16, "temperature 0.8");
        warm.repetition_penalty = 1.1f;
        warm.frequency_penalty = 0.3f;
        warm.top_p = 0.9f;
        warm.top_k = 40;
        check_same(m.model, model_paths[i], &m.prompt, &warm, KV_F16, "penalties");
        close_model(&m);
    }
}

/* Architectures differ in what attention sees and in what a step leaves behind, not in sampling. */
static void test_family(void **state)
{
    char path[512];
    opened_model m;
    snprintf(path, sizeof path, "%s/%s", FAMILIES_FOLDER,
             json_string_value(json_object_get(*state, "model")));
    open_model(path, &m);
    sampling_params warm = m.greedy;
    warm.temperature = 0.8f;
    warm.seed = 42;
    check_same(m.model, path, &m.prompt, &warm, KV_F16, "temperature 0.8");
    check_small_kv(&m, path);
    close_model(&m);
}

int main(void)
{
    json_t *models = families_read(), *entry;
    size_t i, n = 0;
    struct CMUnitTest *tests = calloc(1 + json_array_size(models), sizeof *tests);
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(test_one_answer);
    json_array_foreach(models, i, entry)
    {
        if (strcmp(json_string_value(json_object_get(entry, "type")), "F16") == 0)
            continue; /* their twins in few bits take the same ways, and those of integers too */
        tests[n++] = (struct CMUnitTest){
            .name = json_string_value(json_object_get(entry, "model")),
            .test_func = test_family,
            .initial_state = entry,
        };
    }
    int failed = _cmocka_run_group_tests("one_answer", tests, n, NULL, NULL);
    free(tests);
    json_decref(models);
    return failed;
}
