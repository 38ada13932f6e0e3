/* a-io quantize: models before and after, and what it refuses. */
#include "cli/cli.h"
#include "engine/kv.h"
#include "model/forward.h"
#include "model/synthetic_internal.h"
#include "partial_files.h"
#include "quantize_types.h"
#include "unit/small_shape.h"

#define DATA "tests/golden/data/"

static char output[64], input[64]; /* of this process: two test runs do not meet */

static int redirect(int fd, char *path)
{
    int kept = dup(fd), file = mkstemp(path);
    assert_true(kept >= 0 && file >= 0);
    dup2(file, fd);
    close(file);
    return kept;
}

static void restore(int fd, int kept, const char *path, char *text, size_t size)
{
    fflush(NULL);
    dup2(kept, fd);
    close(kept);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
    fclose(file);
    unlink(path);
}

typedef struct outcome {
    int status;
    char out[4096], err[4096];
} outcome;

static void quantize(outcome *o, const char *const *words)
{
    char copies[8][128], *argv[9] = {(char[]){"quantize"}};
    int argc = 1;
    for (; words[argc - 1] != NULL; argc++)
        argv[argc] = strcpy(copies[argc - 1], words[argc - 1]);
    char out_path[] = "/tmp/a-io-out-XXXXXX", err_path[] = "/tmp/a-io-err-XXXXXX";
    fflush(NULL);
    int out = redirect(STDOUT_FILENO, out_path), err = redirect(STDERR_FILENO, err_path);
    o->status = command_quantize(argc, argv);
    restore(STDOUT_FILENO, out, out_path, o->out, sizeof o->out);
    restore(STDERR_FILENO, err, err_path, o->err, sizeof o->err);
}

#define QUANTIZE(o, ...) quantize(o, (const char *const[]){__VA_ARGS__, NULL})

static gguf *open_file(const char *path)
{
    failure fail = {0};
    gguf *file;
    if (gguf_open(&file, path, &fail) != OK)
        fail_msg("%s", fail.text);
    return file;
}

/* All keys of `a` are in `b`, but for what says how the weights are kept. */
static void assert_keys_kept(const gguf *a, const gguf *b)
{
    for (size_t i = 0; i < gguf_key_count(a); i++) {
        char name[128], text_a[1024], text_b[1024] = "";
        gguf_string key = gguf_key_at(a, i);
        snprintf(name, sizeof name, "%.*s", (int)key.length, key.data);
        if (strcmp(name, "general.file_type") == 0)
            continue;
        assert_true(gguf_has(b, name));
        gguf_key_render(a, i, text_a, sizeof text_a);
        for (size_t k = 0; k < gguf_key_count(b); k++)
            if (gguf_key_at(b, k).length == key.length &&
                memcmp(gguf_key_at(b, k).data, key.data, key.length) == 0)
                gguf_key_render(b, k, text_b, sizeof text_b);
        assert_string_equal(text_a, text_b);
    }
}

static void assert_converted(const gguf *a, const gguf *b, tensor_type type)
{
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_int_equal(y->type->type, x->n_dims == 1 ? TENSOR_F32 : type);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_int_equal(x->name.length, y->name.length);
        assert_memory_equal(x->name.data, y->name.data, x->name.length);
    }
}

enum { N_TOKENS = 24 };

static float *logits_of(const char *path, size_t *n)
{
    failure fail = {0};
    model *m;
    forward *f;
    kv_cache *kv;
    team *one;
    const model_options options = {.chat_template = "none"};
    if (model_load(&m, path, &options, &fail) != OK)
        fail_msg("%s", fail.text);
    forward_row rows[N_TOKENS];
    int32_t first = 1;
    assert_int_equal(team_create(&one, 1, &fail), OK);
    assert_int_equal(forward_create(&f, m, 1, N_TOKENS, N_TOKENS, &fail), OK);
    assert_int_equal(kv_create(&kv, &m->config, KV_F32, N_TOKENS, N_TOKENS, 1, &fail), OK);
    kv_slot *slot = kv_acquire(kv, &first, 1);
    for (uint32_t i = 0; i < N_TOKENS; i++)
        rows[i] = (forward_row){(int32_t)(i * 7 % 200 + 1), i, &slot->view, WANT_LOGITS};
    forward_step(f, one, rows, N_TOKENS);
    *n = N_TOKENS * m->config.n_vocab;
    float *logits = malloc(*n * sizeof *logits);
    memcpy(logits, forward_logits(f, 0), *n * sizeof *logits);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(one);
    model_destroy(m);
    return logits;
}

static void check_model(const char *path, tensor_type type, double bound)
{
    outcome o;
    uint64_t value;
    QUANTIZE(&o, path, output, info_of(type)->name, "-t", type == TENSOR_Q6_K ? "1" : "2");
    if (o.status != 0)
        fail_msg("%s", o.err);
    assert_non_null(strstr(o.out, "relative error"));
    assert_string_equal(o.err, "");
    gguf *from = open_file(path), *to = open_file(output);
    assert_keys_kept(from, to);
    assert_converted(from, to, type);
    assert_true(gguf_u64(to, "general.quantization_version", &value) && value == 2);
    static const uint64_t file_types[N_TYPES] = {7, 18, 14, 2};
    for (size_t t = 0; t < N_TYPES; t++)
        if (types[t] == type)
            assert_true(gguf_u64(to, "general.file_type", &value) && value == file_types[t]);
    gguf_close(from);
    gguf_close(to);
    size_t n, n_quantized;
    float *reference = logits_of(path, &n), *quantized = logits_of(output, &n_quantized);
    assert_int_equal(n, n_quantized);
    double error = relative_error(reference, quantized, n);
    printf("  %s to %s: relative error of the logits %.4f\n", path, info_of(type)->name, error);
    assert_true(error <= bound);
    free(reference);
    free(quantized);
}

static void write_wide_model(void)
{
    failure fail = {0};
    const synthetic_shape shape = small_shape("qwen2", false);
    const synthetic_options options = {.mix = weight_mix_uniform(TENSOR_F32)};
    if (synthetic_write_shape(&shape, &options, input, &fail) != OK)
        fail_msg("%s", fail.text);
}

static const double logit_bounds[N_TYPES] = {.035, .09, .3, .35};

static void test_models(void **state)
{
    (void)state;
    write_wide_model();
    for (size_t t = 0; t < N_TYPES; t++)
        check_model(input, types[t], logit_bounds[t]);
    check_model(DATA "qwen2.F32.gguf", TENSOR_Q8_0, logit_bounds[0]);
    check_model(DATA "qwen2.F16.gguf", TENSOR_Q4_0, logit_bounds[3]);
    check_model(DATA "llama.BF16.gguf", TENSOR_Q8_0, logit_bounds[0]);
}

static void test_shared_model(void **state)
{
    (void)state;
    if (access(SHARED "llama.F32.gguf", R_OK) != 0) {
        printf("  skipped: %s is not here\n", SHARED);
        skip();
    }
    for (size_t t = 0; t < N_TYPES; t++)
        check_model(SHARED "llama.F32.gguf", types[t], logit_bounds[t]);
}

/* The number of threads changes nothing in the file. */
static void test_threads(void **state)
{
    (void)state;
    buffer files[2];
    write_wide_model();
    for (int i = 0; i < 2; i++) {
        outcome o;
        QUANTIZE(&o, input, output, "q4_k", "-t", i == 0 ? "1" : "3");
        assert_int_equal(o.status, 0);
        buffer_init(&files[i], 1 << 28);
        assert_int_equal(buffer_read_file(&files[i], output, NULL), OK);
    }
    assert_int_equal(files[0].length, files[1].length);
    assert_memory_equal(files[0].data, files[1].data, files[0].length);
    buffer_free(&files[0]);
    buffer_free(&files[1]);
}

/* Between its parts in size and in error; the file says what it is. */
static void test_mixture(void **state)
{
    (void)state;
    outcome o;
    uint64_t file_type;
    write_wide_model();
    QUANTIZE(&o, input, output, "q4_k_m");
    if (o.status != 0)
        fail_msg("%s", o.err);
    assert_non_null(strstr(o.out, "relative error of the Q4_K_M weights"));
    gguf *file = open_file(output);
    assert_true(gguf_u64(file, "general.file_type", &file_type) && file_type == 15);
    static const struct {
        const char *tensor;
        tensor_type type;
    } expected[] = {{"output.weight", TENSOR_Q6_K},         {"token_embd.weight", TENSOR_Q4_K},
                    {"blk.0.ffn_down.weight", TENSOR_Q4_K}, {"blk.1.ffn_down.weight", TENSOR_Q6_K},
                    {"blk.1.attn_v.weight", TENSOR_Q6_K},   {"blk.1.attn_q.weight", TENSOR_Q4_K},
                    {"output_norm.weight", TENSOR_F32}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++)
        assert_int_equal(gguf_tensor_find(file, expected[i].tensor)->type->type, expected[i].type);
    gguf_close(file);
    size_t n;
    float *reference = logits_of(input, &n), *mixed = logits_of(output, &n);
    double error = relative_error(reference, mixed, n);
    printf("  to Q4_K_M: relative error of the logits %.4f\n", error);
    assert_true(error > logit_bounds[1] / 4 && error < logit_bounds[2]);
    free(reference);
    free(mixed);
}

/* ---- refusals ------------------------------------------------------------------------------- */

static void refused(int status, const char *said, const char *from, const char *to,
                    const char *type)
{
    outcome o;
    QUANTIZE(&o, from, to, type);
    if (o.status != status || strstr(o.err, said) == NULL)
        fail_msg("status %d, not %d, or \"%s\" not in: %s", o.status, status, said, o.err);
    assert_int_equal(partial_files(to), 0);
}

/* One matrix of `rows` rows; its last value may be set to something bad. */
static void write_model(uint64_t columns, uint64_t rows, tensor_type type, float last)
{
    failure fail = {0};
    gguf_writer *w;
    float values[1024] = {0};
    values[columns * rows - 1] = last;
    assert_int_equal(gguf_writer_create(&w, input, &fail), OK);
    gguf_writer_text(w, "general.architecture", "llama");
    gguf_writer_tensor(w, (gguf_string){"blk.0.odd.weight", 16}, rows == 1 ? 1 : 2,
                       (uint64_t[]){columns, rows}, info_of(type));
    assert_int_equal(gguf_writer_begin(w, &fail), OK);
    size_t bytes = columns * rows / info_of(type)->block_values * info_of(type)->block_bytes;
    assert_int_equal(gguf_writer_data(w, values, bytes, &fail), OK);
    assert_int_equal(gguf_writer_finish(w, &fail), OK);
    gguf_writer_destroy(w);
}

static void test_refused_models(void **state)
{
    (void)state;
    refused(5, "is already Q8_0", DATA "pangu.Q8_0.gguf", output, "q4_0");
    write_model(48, 2, TENSOR_F32, 1);
    refused(5, "'blk.0.odd.weight' cannot be Q8_0: its rows of 48", input, output, "q8_0");
    write_model(96, 2, TENSOR_F32, 1);
    refused(5, "q8_0 and q4_0 can", input, output, "q4_k");
    write_model(64, 2, TENSOR_F32, NAN);
    refused(5, "'blk.0.odd.weight' holds a value that Q4_0 cannot express", input, output, "q4_0");
    write_model(64, 1, TENSOR_F32, 1);
    refused(5, "no matrix", input, output, "q8_0");
    refused(3, "cannot open", "/tmp/no/such.gguf", output, "q8_0");
    refused(5, "not a GGUF file", "tests/run.py", output, "q8_0");
    assert_int_equal(access(output, F_OK), -1);
}

static void test_refused_outputs(void **state)
{
    (void)state;
    write_model(64, 2, TENSOR_F32, 1);
    refused(2, "would destroy the input", input, input, "q8_0");
    assert_int_equal(link(input, output), 0);
    refused(2, "would destroy the input", input, output, "q8_0");
    refused(6, "No such file", input, "/tmp/no/such/folder/x", "q8_0");
    refused(2, "not a regular file", input, "/dev/null", "q8_0");
}

static void test_refused_words(void **state)
{
    (void)state;
    refused(2, "\"q3_x\" is no type", input, output, "q3_x");
    refused(5, "cannot quantize to Q5_K_M", DATA "qwen2.F32.gguf", output, "q5_k_m");
    refused(5, "cannot quantize to F16", DATA "qwen2.F32.gguf", output, "f16");
    refused(2, "no synthetic shape 'tiny'", "synthetic:tiny", output, "q8_0");
    refused(2, "whole blocks", "synthetic:qwen2.5-0.5b", output, "q6_K");
    outcome o;
    QUANTIZE(&o, "a", "b");
    assert_int_equal(o.status, 2);
    QUANTIZE(&o, "a", "b", "q8_0", "--fast");
    assert_int_equal(o.status, 2);
    assert_non_null(strstr(o.err, "--fast is not an option"));
    QUANTIZE(&o, "synthetic:pangu-1b", output, "q8_0", "-t", "2");
    assert_int_equal(o.status, 2);
    QUANTIZE(&o, "--help");
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.out, "synthetic:pangu-7b-llama\n"));
}

static int remove_files(void **state)
{
    (void)state;
    unlink(output);
    unlink(input);
    return 0;
}

int main(void)
{
    snprintf(input, sizeof input, "/tmp/a-io-test-input-%d.gguf", (int)getpid());
    snprintf(output, sizeof output, "/tmp/a-io-test-quantized-%d.gguf", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_models, remove_files),
        cmocka_unit_test_teardown(test_shared_model, remove_files),
        cmocka_unit_test_teardown(test_threads, remove_files),
        cmocka_unit_test_teardown(test_mixture, remove_files),
        cmocka_unit_test_teardown(test_refused_models, remove_files),
        cmocka_unit_test_teardown(test_refused_outputs, remove_files),
        cmocka_unit_test_teardown(test_refused_words, remove_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
