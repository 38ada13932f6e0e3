/*
 * Real model files beside two other engines: float32 arithmetic on the same dequantised weights is
 * the truth, llama.cpp the yardstick. Tokens equal; mean negative log-likelihood within 0.5 % of
 * float32's; the most probable token float32's at least as often as llama.cpp's is.
 *
 * Files: A_IO_REAL_MODELS or the cache folder (`make real-models`); references: ../shared/real.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/kv.h"
#include "model/forward.h"

#define REFERENCES "../shared/real/"

typedef struct sample {
    const char *file, *reference;
} sample;

static const sample samples[] = {
    {"SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct-q4_1"},
    {"gemma-3-270m-q4_k_m.gguf", "gemma-3-270m-q4_k_m"},
    {"qwen2.5-coder-0.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m"},
    {"qwen2.5-coder-1.5b-instruct-q4_k_m.gguf", "qwen2.5-coder-1.5b-instruct-q4_k_m"},
};

/* What the references say, and the file they say it of. */
typedef struct fixture {
    char path[4096];
    json_t *llama_cpp, *float32;
    const char *text;
    token_list tokens;
} fixture;

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

/* ---- the references -------------------------------------------------------------------------- */

static void model_path(char path[4096], const char *file)
{
    const char *folder = getenv("A_IO_REAL_MODELS"), *cache = getenv("XDG_CACHE_HOME");
    if (folder != NULL && folder[0] != '\0')
        snprintf(path, 4096, "%s/%s", folder, file);
    else if (cache != NULL && cache[0] != '\0')
        snprintf(path, 4096, "%s/a-io/real/%s", cache, file);
    else
        snprintf(path, 4096, "%s/.cache/a-io/real/%s", getenv("HOME"), file);
}

static json_t *read_reference(const char *name, const char *suffix)
{
    char path[256];
    snprintf(path, sizeof path, REFERENCES "%s%s", name, suffix);
    return json_load_file(path, 0, NULL);
}

static void open_fixture(fixture *x, const sample *s)
{
    *x = (fixture){.text = NULL};
    model_path(x->path, s->file);
    if (access(x->path, R_OK) != 0) {
        printf("  skipped: no %s (make real-models)\n", x->path);
        skip();
    }
    x->llama_cpp = read_reference(s->reference, ".json");
    x->float32 = read_reference(s->reference, ".float32.json");
    if (x->llama_cpp == NULL || x->float32 == NULL) {
        json_decref(x->llama_cpp);
        json_decref(x->float32);
        printf("  skipped: no " REFERENCES "%s.json\n", s->reference);
        skip();
    }
    x->text = json_string_value(json_object_get(x->llama_cpp, "text"));
    size_t i;
    json_t *id;
    json_array_foreach(json_object_get(x->llama_cpp, "tokens"), i, id)
        assert_int_equal(token_list_add(&x->tokens, (int32_t)json_integer_value(id)), OK);
    assert_true(x->tokens.length > 100);
}

static void close_fixture(fixture *x)
{
    json_decref(x->llama_cpp);
    json_decref(x->float32);
    token_list_free(&x->tokens);
}

static int32_t most_probable(const json_t *reference, size_t position)
{
    const json_t *top = json_array_get(json_object_get(reference, "top10"), position);
    return (int32_t)json_integer_value(json_array_get(json_array_get(top, 0), 0));
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void test_tokens(void **state)
{
    fixture x;
    gguf *file;
    tokenizer *t;
    failure fail;
    token_list ids = {0};
    open_fixture(&x, *state);
    must(gguf_open(&file, x.path, &fail), &fail);
    must(tokenizer_load(&t, file, &fail), &fail);
    if (tokenizer_adds_bos(t))
        assert_int_equal(token_list_add(&ids, tokenizer_bos(t)), OK);
    must(tokenizer_encode(t, x.text, strlen(x.text), false, true, &ids, &fail), &fail);
    for (size_t i = 0; i < ids.length && i < x.tokens.length; i++)
        if (ids.ids[i] != x.tokens.ids[i])
            fail_msg("token %zu is %d, not %d", i, (int)ids.ids[i], (int)x.tokens.ids[i]);
    assert_int_equal(ids.length, x.tokens.length);
    token_list_free(&ids);
    tokenizer_destroy(t);
    gguf_close(file);
    close_fixture(&x);
}

/* ---- logits ---------------------------------------------------------------------------------- */

/* What all positions give together. */
typedef struct account {
    double nll;             /* nats, summed over tokens 2 … n */
    size_t ours, llama_cpp; /* positions whose most probable token is float32's */
} account;

static double log_sum_exp(const float *logits, size_t n)
{
    double most = (double)logits[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = (double)logits[i] > most ? (double)logits[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)logits[i] - most);
    return most + log(sum);
}

static void take_position(account *a, const fixture *x, size_t position, const float *logits,
                          size_t n_vocab)
{
    size_t best = 0;
    for (size_t i = 1; i < n_vocab; i++)
        best = logits[i] > logits[best] ? i : best;
    int32_t truth = most_probable(x->float32, position);
    a->ours += (int32_t)best == truth;
    a->llama_cpp += most_probable(x->llama_cpp, position) == truth;
    if (position + 1 < x->tokens.length)
        a->nll += log_sum_exp(logits, n_vocab) - (double)logits[x->tokens.ids[position + 1]];
}

enum { ROWS = 32 };

static void evaluate(account *a, const fixture *x, const model *m)
{
    failure fail;
    team *threads;
    forward *f;
    kv_cache *kv;
    size_t n = x->tokens.length;
    int n_threads = team_default_size();
    must(team_create(&threads, n_threads, &fail), &fail);
    must(forward_create(&f, m, n_threads, ROWS, ROWS, &fail), &fail);
    must(kv_create(&kv, &m->config, KV_F32, n, n, 1, &fail), &fail);
    kv_slot *slot = kv_acquire(kv, x->tokens.ids, 1);
    for (size_t at = 0; at < n; at += ROWS) {
        forward_row rows[ROWS];
        size_t count = n - at < ROWS ? n - at : ROWS;
        for (size_t i = 0; i < count; i++)
            rows[i] =
                (forward_row){x->tokens.ids[at + i], (uint32_t)(at + i), &slot->view, WANT_LOGITS};
        forward_step(f, threads, rows, count);
        for (size_t i = 0; i < count; i++)
            take_position(a, x, at + i, forward_logits(f, i), m->config.n_vocab);
    }
    kv_release(kv, slot);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(threads);
}

static void test_logits(void **state)
{
    fixture x;
    model *m;
    failure fail;
    account a = {.nll = 0};
    const model_options options = {.chat_template = "none"};
    open_fixture(&x, *state);
    must(model_load(&m, x.path, &options, &fail), &fail);
    evaluate(&a, &x, m);
    model_destroy(m);
    double n = (double)x.tokens.length, nll = a.nll / (n - 1);
    double truth = json_number_value(json_object_get(x.float32, "mean_nll_nats"));
    printf("  mean NLL %.4f nats, float32 %.4f, llama.cpp %.4f; most probable token float32's "
           "%.1f %%, llama.cpp's %.1f %%\n",
           nll, truth, json_number_value(json_object_get(x.llama_cpp, "mean_nll_nats")),
           100 * (double)a.ours / n, 100 * (double)a.llama_cpp / n);
    assert_true(fabs(nll - truth) <= 0.005 * truth);
    assert_true(a.ours >= a.llama_cpp);
    close_fixture(&x);
}

int main(void)
{
    failure fail;
    if (kernel_init(NULL, &fail) != OK)
        return 1;
    enum { N = sizeof samples / sizeof samples[0] };
    static char names[2 * N][80];
    struct CMUnitTest tests[2 * N];
    for (size_t i = 0; i < N; i++) {
        snprintf(names[2 * i], sizeof names[0], "tokens of %s", samples[i].file);
        snprintf(names[2 * i + 1], sizeof names[0], "logits of %s", samples[i].file);
        tests[2 * i] = (struct CMUnitTest){.name = names[2 * i],
                                           .test_func = test_tokens,
                                           .initial_state = (void *)(uintptr_t)&samples[i]};
        tests[2 * i + 1] = tests[2 * i];
        tests[2 * i + 1].name = names[2 * i + 1];
        tests[2 * i + 1].test_func = test_logits;
    }
    return cmocka_run_group_tests_name("real files", tests, NULL, NULL);
}
