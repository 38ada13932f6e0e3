/* a-io inspect, run as its own process: figures, exit statuses and messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <sys/wait.h>

#include "cli/cli.h"
#include "gguf_writer.h"

#define DATA "tests/golden/data/"

typedef struct outcome {
    int status;
    buffer out, err;
} outcome;

static void run(outcome *o, const char *option, const char *path)
{
    int out[2], err[2];
    assert_int_equal(pipe(out), 0);
    assert_int_equal(pipe(err), 0);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char *argv[4] = {(char[]){"inspect"}}, words[2][256];
        int argc = 1;
        if (option != NULL)
            argv[argc++] = strcpy(words[0], option);
        if (path != NULL)
            argv[argc++] = strcpy(words[1], path);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        int status = command_inspect(argc, argv);
        fflush(NULL);
        _exit(status); /* no leak check over what the parent had allocated */
    }
    close(out[1]);
    close(err[1]);
    buffer_init(&o->out, 1 << 20);
    buffer_init(&o->err, 1 << 16);
    buffer_add_text(&o->out, "");
    buffer_add_text(&o->err, "");
    /* The messages fit in a pipe, so reading one after the other cannot block. */
    assert_int_equal(buffer_read_fd(&o->out, out[0], NULL), OK);
    assert_int_equal(buffer_read_fd(&o->err, err[0], NULL), OK);
    close(out[0]);
    close(err[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    o->status = WEXITSTATUS(status);
}

static void outcome_free(outcome *o)
{
    buffer_free(&o->out);
    buffer_free(&o->err);
}

static json_t *run_json(const char *path)
{
    outcome o;
    run(&o, "--json", path);
    assert_int_equal(o.status, 0);
    assert_string_equal(o.err.data, "");
    json_t *json = json_loads(o.out.data, 0, NULL);
    assert_non_null(json);
    outcome_free(&o);
    return json;
}

static json_int_t number(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void figures(void **state)
{
    (void)state;
    json_t *json = run_json(DATA "qwen2.Q4_K.gguf");
    const json_t *tensors = json_object_get(json, "tensors");
    const json_t *types = json_object_get(tensors, "types");
    assert_int_equal(number(json_object_get(types, "Q4_K"), "count"), 11);
    assert_int_equal(number(json_object_get(types, "Q6_K"), "count"), 5);
    /* Per layer q and attn_output 256 × 256, k 128 × 256, gate and up 256 × 256 in Q4_K (144 bytes
     * for 256 values), v 128 × 256 and down 256 × 256 in Q6_K (210 bytes); two norms, three biases.
     */
    json_int_t layer = (4 * 256 + 128) * 144 + (128 + 256) * 210 + 4 * (2 * 256 + 256 + 2 * 128);
    json_int_t all = 2 * layer + 288 * 210 + 4 * 256;
    assert_int_equal(number(json, "weight_bytes_per_token"), all);
    assert_int_equal(number(tensors, "bytes"), all + 288 * 144); /* and the embedding */
    assert_int_equal(number(json, "kv_bytes_per_token"), 2 * 2 * 2 * 64 * 2);
    /* 34 bytes for 32 values; 36 for 64. */
    const json_t *kv = json_object_get(json, "kv_bytes_per_token_by_type");
    assert_int_equal(number(kv, "f16"), 2 * 2 * 2 * 64 * 2);
    assert_int_equal(number(kv, "q8_0"), 2 * 2 * 2 * 2 * 34);
    assert_int_equal(number(kv, "q4"), 2 * 2 * 2 * 36);
    assert_int_equal(number(json_object_get(json, "model"), "layers"), 2);
    assert_int_equal(number(json_object_get(json, "tokenizer"), "tokens"), 288);
    assert_int_equal(number(json, "context"), 512);
    const json_t *chat = json_object_get(json_object_get(json, "chat_template"), "name");
    assert_memory_equal(json_string_value(chat), "own ", 4);
    json_decref(json);
}

static void tied_head_is_read(void **state)
{
    (void)state;
    json_t *json = run_json(DATA "llama-linear-tied.F32.gguf");
    assert_int_equal(number(json, "weight_bytes_per_token"),
                     number(json_object_get(json, "tensors"), "bytes"));
    assert_true(json_is_true(json_object_get(json_object_get(json, "model"), "tied_output")));
    json_decref(json);
}

static void text_for_people(void **state)
{
    (void)state;
    outcome o;
    run(&o, "--keys", DATA "pangu.Q8_0.gguf");
    assert_int_equal(o.status, 0);
    assert_non_null(strstr(o.out.data, "\narchitecture        pangu-embedded\n"));
    assert_non_null(strstr(o.out.data, "\nchat template       none: raw prompts only\n"));
    assert_non_null(strstr(o.out.data, "tokenizer.ggml.tokens"));
    outcome_free(&o);
}

static void vocabulary_only(void **state)
{
    (void)state;
    if (access("../shared/tokenizers/gpt-2.gguf", R_OK) != 0) {
        print_message("../shared is not there: skipped\n");
        skip();
    }
    json_t *json = run_json("../shared/tokenizers/gpt-2.gguf");
    assert_int_equal(number(json_object_get(json, "tokenizer"), "tokens"), 50257);
    assert_null(json_object_get(json, "tensors"));
    json_decref(json);
}

static void expect(const char *option, const char *path, int status, const char *message)
{
    outcome o;
    run(&o, option, path);
    if (o.status != status || strstr(o.err.data, message) == NULL)
        fail_msg("expected %d \"%s\", got %d \"%s\"", status, message, o.status, o.err.data);
    assert_string_equal(o.out.data, "");
    outcome_free(&o);
}

static void refusals(void **state)
{
    (void)state;
    expect("--colour", DATA "qwen2.F32.gguf", 2, "--colour is not an option here");
    expect(NULL, NULL, 2, "no model file named");
    expect(DATA "qwen2.F32.gguf", DATA "qwen2.F16.gguf", 2, "one model file at a time");
    expect(NULL, "/nonexistent.gguf", 3, "/nonexistent.gguf: cannot open");
    char path[64];
    write_temporary("PK\3\4", 4, path);
    expect(NULL, path, 5, "not a GGUF file: magic is 'PK..' at byte 0");
    unlink(path);
}

/* A file that is sound but of no use here is shown all the same; the status says it. */
static void unknown_architecture(void **state)
{
    (void)state;
    buffer b;
    buffer_init(&b, 4096);
    put_header(&b, 3, 1, 1);
    put_key_text(&b, "general.architecture", "rwkv\x1b[1m");
    put_tensor(&b, "w", 1, (uint64_t[]){8}, 0, 0);
    put_zeros(&b, 32, 32);
    char path[64];
    write_temporary(b.data, b.length, path);
    outcome o;
    run(&o, "--json", path);
    assert_int_equal(o.status, 5);
    assert_non_null(strstr(o.err.data, "rwkv"));
    json_t *json = json_loads(o.out.data, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "architecture")), "rwkv\\x1b[1m");
    assert_non_null(json_object_get(json_object_get(json, "model"), "error"));
    json_decref(json);
    outcome_free(&o);
    unlink(path);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),         cmocka_unit_test(tied_head_is_read),
        cmocka_unit_test(text_for_people), cmocka_unit_test(vocabulary_only),
        cmocka_unit_test(refusals),        cmocka_unit_test(unknown_architecture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
