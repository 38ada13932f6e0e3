/* From a file's keys to the plans of its layers: where windows and RoPE go, how positions are
 * scaled, what is refused. That the forward pass computes what a plan says is shown by the golden
 * models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "gguf_writer.h"
#include "model/model.h"
#include "model/rope.h"

typedef struct keys {
    buffer body;
    uint64_t n;
    const char *architecture;
} keys;

static const char *full(const keys *k, const char *suffix)
{
    static char name[128];
    snprintf(name, sizeof name, "%s.%s", k->architecture, suffix);
    return name;
}

static void add_count(keys *k, const char *suffix, uint32_t value)
{
    put_key_u32(&k->body, full(k, suffix), value);
    k->n++;
}

static void add_float(keys *k, const char *suffix, float value)
{
    put_key(&k->body, full(k, suffix), 6);
    buffer_add(&k->body, &value, sizeof value);
    k->n++;
}

static void add_text(keys *k, const char *suffix, const char *value)
{
    put_key_text(&k->body, full(k, suffix), value);
    k->n++;
}

/* An array of truths (GGUF type 7) or of u32 (4). */
static void add_array(keys *k, const char *suffix, uint32_t type, const uint32_t *values, size_t n)
{
    put_key(&k->body, full(k, suffix), 9);
    put_u32(&k->body, type);
    put_u64(&k->body, n);
    for (size_t i = 0; i < n; i++) {
        char truth = (char)values[i];
        buffer_add(&k->body, type == 7 ? (const void *)&truth : &values[i], type == 7 ? 1 : 4);
    }
    k->n++;
}

/* The sizes that every architecture has: n_layers of 4 heads of 16. */
static keys start(const char *architecture, uint32_t n_layers)
{
    keys k = {.architecture = architecture};
    buffer_init(&k.body, 1 << 20);
    put_key_text(&k.body, "general.architecture", architecture);
    k.n = 1;
    add_count(&k, "block_count", n_layers);
    add_count(&k, "embedding_length", 64);
    add_count(&k, "feed_forward_length", 96);
    add_count(&k, "attention.head_count", 4);
    add_count(&k, "context_length", 8192);
    return k;
}

static error_code read_keys(keys *k, model_config *c, failure *fail)
{
    buffer file;
    char path[64];
    gguf *g;
    buffer_init(&file, 1 << 20);
    put_header(&file, 3, 0, k->n);
    buffer_add(&file, k->body.data, k->body.length);
    put_zeros(&file, 32, 0);
    write_temporary(file.data, file.length, path);
    error_code code = gguf_open(&g, path, fail);
    if (code == OK) {
        code = model_config_read(c, g, fail);
        gguf_close(g);
    }
    unlink(path);
    buffer_free(&file);
    buffer_free(&k->body);
    return code;
}

static model_config config_of(keys *k)
{
    model_config c;
    failure fail;
    if (read_keys(k, &c, &fail) != OK)
        fail_msg("%s", fail.text);
    return c;
}

/* 'w' for a layer with a window, 'f' without; in capitals where it turns queries and keys. */
static void check_layers(const model_config *c, const char *expected)
{
    char seen[MODEL_MAX_LAYERS + 1] = "";
    for (size_t i = 0; i < c->n_layers; i++) {
        const layer_plan *p = config_layer(c, i);
        char letter = p->window > 0 ? 'w' : 'f';
        seen[i] = p->rope == LAYER_NO_ROPE ? letter : (char)(letter - 32);
    }
    assert_string_equal(seen, expected);
}

static void test_windows(void **state)
{
    (void)state;
    static const struct {
        const char *architecture;
        uint32_t window, pattern; /* 0: no such key */
        const char *layers;
    } cases[] = {
        {"llama", 0, 0, "FFFFFFFF"},     {"llama", 4096, 0, "WWWWWWWW"},
        {"llama", 8192, 0, "FFFFFFFF"}, /* of the whole context: none */
        {"gemma2", 0, 0, "WFWFWFWF"},    {"gemma2", 512, 0, "WFWFWFWF"},
        {"gemma3", 0, 0, "FFFFFFFF"},    {"gemma3", 512, 0, "WWWWWFWW"},
        {"gemma3", 512, 3, "WWFWWFWW"},  {"cohere2", 512, 0, "WWWfWWWf"},
        {"exaone4", 0, 0, "FFFFFFFF"},   {"exaone4", 512, 0, "WWWfWWWf"},
        {"olmo2", 512, 0, "WWWFWWWF"},   {"smollm3", 0, 0, "FFFfFFFf"},
        {"phi3", 2047, 0, "WWWWWWWW"},   {"cohere2", 8192, 0, "WWWfWWWf"},
        {"gemma3", 8192, 0, "WWWWWFWW"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keys k = start(cases[i].architecture, 8);
        if (cases[i].window > 0)
            add_count(&k, "attention.sliding_window", cases[i].window);
        if (cases[i].pattern > 0)
            add_count(&k, "attention.sliding_window_pattern", cases[i].pattern);
        model_config c = config_of(&k);
        check_layers(&c, cases[i].layers);
    }
}

static void test_window_arrays(void **state)
{
    (void)state;
    static const uint32_t truths[6] = {1, 0, 0, 1, 1, 0};
    for (uint32_t type = 4; type <= 7; type += 3) {
        keys k = start("gemma3", 6);
        add_count(&k, "attention.sliding_window", 512);
        add_array(&k, "attention.sliding_window_pattern", type, truths, 6);
        model_config c = config_of(&k);
        check_layers(&c, "WFFWWF");
    }
    keys k = start("gemma3", 6);
    model_config c;
    failure fail;
    add_count(&k, "attention.sliding_window", 512);
    add_array(&k, "attention.sliding_window_pattern", 7, truths, 5);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_FORMAT);
    assert_non_null(strstr(fail.text, "5 values for 6 layers"));
}

static void test_rope_of_windows(void **state)
{
    (void)state;
    keys k = start("gemma3", 6);
    add_count(&k, "attention.sliding_window", 512);
    add_float(&k, "rope.freq_base", 1e6f);
    add_text(&k, "rope.scaling.type", "linear");
    add_float(&k, "rope.scaling.factor", 8);
    model_config c = config_of(&k);
    assert_int_equal(config_layer(&c, 0)->rope, 1);
    assert_int_equal(config_layer(&c, 5)->rope, 0);
    assert_true(c.ropes[0].base == 1e6f && c.ropes[0].scale == 0.125f);
    assert_true(c.ropes[1].base == 1e4f && c.ropes[1].scale == 1.0f);
    assert_true(c.embedding_scale == 8.0f);
}

/* Fast pairs keep their own frequency under YaRN, slow ones are divided by the factor; cosines and
 * sines grow by 1 + ln(factor) / 10. */
static void test_yarn(void **state)
{
    (void)state;
    keys k = start("llama", 2);
    add_text(&k, "rope.scaling.type", "yarn");
    add_float(&k, "rope.scaling.factor", 4);
    add_count(&k, "rope.scaling.original_context_length", 2048);
    add_count(&k, "attention.key_length", 64);
    add_count(&k, "attention.value_length", 64);
    model_config c = config_of(&k);
    double frequencies[32];
    rope_frequencies(&c.ropes[0], NULL, frequencies);
    assert_true(frequencies[0] == 1.0);
    double slowest = pow(10000, -62.0 / 64);
    assert_true(fabs(frequencies[31] / (slowest / 4) - 1) < 1e-12);
    for (size_t i = 1; i < 32; i++)
        assert_true(frequencies[i] < frequencies[i - 1]);
    assert_true(fabs((double)c.ropes[0].magnitude - (1 + 0.1 * log(4))) < 1e-6);
}

/* OLMo 3's files repeat the magnitude that its factor has anyway; others' give a part of it. */
static void test_yarn_factor(void **state)
{
    (void)state;
    static const struct {
        const char *architecture;
        double expected;
    } cases[] = {{"olmo2", 1.2079442}, {"llama", 1.2079442 * 1.2079442}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        keys k = start(cases[i].architecture, 4);
        add_text(&k, "rope.scaling.type", "yarn");
        add_float(&k, "rope.scaling.factor", 8);
        add_float(&k, "rope.scaling.attn_factor", 1.2079442f);
        model_config c = config_of(&k);
        assert_true(fabs((double)c.ropes[0].magnitude - cases[i].expected) < 1e-6);
    }
}

static void check_refused(const char *architecture, const char *suffix, float value,
                          const char *text)
{
    keys k = start(architecture, 2);
    model_config c;
    failure fail;
    add_float(&k, suffix, value);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    if (strstr(fail.text, text) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", fail.text, text);
}

static void test_refusals(void **state)
{
    (void)state;
    check_refused("qwen2", "logit_scale", 0.5f, "qwen2.logit_scale = 0.5 is not supported");
    check_refused("llama", "attn_logit_softcapping", 30, "attn_logit_softcapping");
    model_config c;
    failure fail;
    keys k = start("qwen2", 2);
    add_count(&k, "expert_count", 8);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    k = start("llama", 2);
    add_text(&k, "rope.scaling.type", "dynamic");
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "none, linear, yarn, longrope"));
    k = start("qwen2", 2);
    add_count(&k, "attention.sliding_window", 512);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    k = start("mamba", 2);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "'mamba' is not supported (known: llama"));
    assert_non_null(strstr(fail.text, "pangu-embedded)"));
}

/* Some converters write one count for every layer; layers that differ are refused. */
static void test_counts_by_layer(void **state)
{
    (void)state;
    static const uint32_t same[2] = {2, 2}, different[2] = {2, 4};
    keys k = start("llama", 2);
    add_array(&k, "attention.head_count_kv", 4, same, 2);
    model_config c = config_of(&k);
    assert_int_equal(c.n_kv_heads, 2);
    failure fail;
    k = start("llama", 2);
    add_array(&k, "attention.head_count_kv", 4, different, 2);
    assert_int_equal(read_keys(&k, &c, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "differs between layers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),         cmocka_unit_test(test_window_arrays),
        cmocka_unit_test(test_rope_of_windows), cmocka_unit_test(test_yarn),
        cmocka_unit_test(test_yarn_factor),     cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_counts_by_layer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
