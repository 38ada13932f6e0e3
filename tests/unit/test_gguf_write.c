/* Writing GGUF files: copies of sound files, every kind of key, and what happens when it fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/resource.h>

#include "gguf_writer.h"
#include "model/gguf_write.h"
#include "partial_files.h"

#define SOURCE "tests/golden/data/qwen2.F32.gguf"

static char output[64]; /* of this process, so that two test runs do not meet */

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static int remove_files(void **state)
{
    (void)state;
    unlink(output);
    return 0;
}

static gguf_writer *writer(void)
{
    failure fail = {0};
    gguf_writer *w;
    if (gguf_writer_create(&w, output, &fail) != OK)
        fail_msg("%s", fail.text);
    return w;
}

static gguf *open_file(const char *path)
{
    failure fail = {0};
    gguf *file;
    if (gguf_open(&file, path, &fail) != OK)
        fail_msg("%s", fail.text);
    return file;
}

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

/* Data in pieces of at most `piece` bytes. */
static void copy_file(const gguf *from, size_t piece)
{
    failure fail = {0};
    gguf_writer *w = writer();
    for (size_t i = 0; i < gguf_key_count(from); i++)
        gguf_writer_copy_key(w, from, i);
    for (size_t i = 0; i < gguf_tensor_count(from); i++) {
        const gguf_tensor *t = gguf_tensor_at(from, i);
        gguf_writer_tensor(w, t->name, t->n_dims, t->dims, t->type);
    }
    must(gguf_writer_begin(w, &fail), &fail);
    assert_int_equal(partial_files(output), 1);
    for (size_t i = 0; i < gguf_tensor_count(from); i++) {
        const gguf_tensor *t = gguf_tensor_at(from, i);
        for (size_t at = 0; at < t->bytes; at += piece) {
            size_t n = t->bytes - at < piece ? t->bytes - at : piece;
            must(gguf_writer_data(w, (const char *)t->data + at, n, &fail), &fail);
        }
    }
    assert_false(exists(output));
    must(gguf_writer_finish(w, &fail), &fail);
    uint64_t bytes = gguf_writer_file_bytes(w);
    gguf_writer_destroy(w);
    assert_int_equal(partial_files(output), 0);
    gguf *copy = open_file(output);
    assert_int_equal(gguf_file_bytes(copy), bytes);
    gguf_close(copy);
}

static void assert_same(const gguf *a, const gguf *b)
{
    assert_int_equal(gguf_key_count(a), gguf_key_count(b));
    for (size_t i = 0; i < gguf_key_count(a); i++) {
        char text_a[4096], text_b[4096];
        gguf_string name_a = gguf_key_at(a, i), name_b = gguf_key_at(b, i);
        assert_int_equal(name_a.length, name_b.length);
        assert_memory_equal(name_a.data, name_b.data, name_a.length);
        gguf_key_render(a, i, text_a, sizeof text_a);
        gguf_key_render(b, i, text_b, sizeof text_b);
        assert_string_equal(text_a, text_b);
    }
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i), *y = gguf_tensor_at(b, i);
        assert_int_equal(x->name.length, y->name.length);
        assert_memory_equal(x->name.data, y->name.data, x->name.length);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_ptr_equal(x->type, y->type);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
}

static void test_copy_of_a_model(void **state)
{
    (void)state;
    gguf *from = open_file(SOURCE);
    copy_file(from, 1000);
    gguf *copy = open_file(output);
    assert_same(from, copy);
    const gguf_string *a, *b;
    size_t n_a, n_b;
    assert_true(gguf_text_array(from, "tokenizer.ggml.tokens", &a, &n_a));
    assert_true(gguf_text_array(copy, "tokenizer.ggml.tokens", &b, &n_b));
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        assert_int_equal(a[i].length, b[i].length);
        assert_memory_equal(a[i].data, b[i].data, a[i].length);
    }
    gguf_close(copy);
    gguf_close(from);
}

/* One key of every type of number, an array of each, and an alignment of its own: the copy of such
 * a file, written by other code, is the same to the last byte. */
static void test_copy_of_every_type(void **state)
{
    (void)state;
    static const size_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    char path[64], name[32];
    buffer b;
    buffer_init(&b, 1 << 20);
    put_header(&b, 3, 2, 25);
    for (uint32_t type = 0; type <= 12; type++) {
        if (bytes[type] == 0)
            continue;
        snprintf(name, sizeof name, "test.%u", type);
        put_key(&b, name, type);
        buffer_add(&b, "\1\0\0\0\0\0\0\0", bytes[type]);
        snprintf(name, sizeof name, "test.array.%u", type);
        put_key(&b, name, 9);
        put_u32(&b, type);
        put_u64(&b, 3);
        for (int i = 0; i < 3; i++)
            buffer_add(&b, "\1\0\0\0\0\0\0\0", bytes[type]);
    }
    put_key_text(&b, "test.text", "two\nlines");
    put_key(&b, "test.empty", 9);
    put_u32(&b, 8);
    put_u64(&b, 0);
    put_key_u32(&b, "general.alignment", 128);
    put_tensor(&b, "a", 1, (uint64_t[]){5}, 0, 0);
    put_tensor(&b, "b", 2, (uint64_t[]){3, 7}, 1, 128);
    put_zeros(&b, 128, 0);
    buffer_add(&b, "a tensor of 5 floats", 20);
    put_zeros(&b, 128, 0);
    buffer_add(&b, "3 x 7 halves, or forty-two bytes in it...", 42);
    put_zeros(&b, 128, 0);
    write_temporary(b.data, b.length, path);
    gguf *from = open_file(path);
    copy_file(from, 4096);
    gguf_close(from);
    buffer written;
    buffer_init(&written, 1 << 20);
    assert_int_equal(buffer_read_file(&written, output, NULL), OK);
    assert_int_equal(written.length, b.length);
    assert_memory_equal(written.data, b.data, b.length);
    buffer_free(&written);
    buffer_free(&b);
    unlink(path);
}

static const gguf_string a_name = {"t", 1};

static void test_nothing_is_left_behind(void **state)
{
    (void)state;
    failure fail = {0};
    gguf_writer *w = writer();
    gguf_writer_tensor(w, a_name, 1, (uint64_t[]){4}, tensor_type_find(TENSOR_F32));
    must(gguf_writer_begin(w, &fail), &fail);
    must(gguf_writer_data(w, "12345678", 8, &fail), &fail);
    assert_int_equal(gguf_writer_finish(w, &fail), ERR_INTERNAL);
    assert_int_equal(gguf_writer_data(w, "123456789", 9, &fail), ERR_INTERNAL);
    gguf_writer_destroy(w);
    assert_false(exists(output));
    assert_int_equal(partial_files(output), 0);
}

/* A limit on the size of files stands for a full disk. */
static void test_full_disk(void **state)
{
    (void)state;
    failure fail = {0};
    struct rlimit before, low;
    getrlimit(RLIMIT_FSIZE, &before);
    low = before;
    low.rlim_cur = 1 << 16;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &low);
    gguf_writer *w = writer();
    gguf_writer_tensor(w, a_name, 1, (uint64_t[]){1 << 20}, tensor_type_find(TENSOR_F32));
    static const char zeros[1 << 20];
    error_code code = gguf_writer_begin(w, &fail);
    if (code == OK)
        code = gguf_writer_data(w, zeros, sizeof zeros, &fail);
    gguf_writer_destroy(w);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(code, ERR_IO);
    assert_non_null(strstr(fail.text, "File too large"));
    assert_false(exists(output));
    assert_int_equal(partial_files(output), 0);
}

static void test_refusals(void **state)
{
    (void)state;
    failure fail = {0};
    gguf_writer *w;
    assert_int_equal(gguf_writer_create(&w, "/dev/null", &fail), OK);
    assert_int_equal(gguf_writer_begin(w, &fail), ERR_INVALID);
    gguf_writer_destroy(w);
    assert_int_equal(gguf_writer_create(&w, "/tmp/no/such/folder/x", &fail), OK);
    assert_int_equal(gguf_writer_begin(w, &fail), ERR_IO);
    assert_non_null(strstr(fail.text, "No such file"));
    gguf_writer_destroy(w);

    static const struct {
        uint32_t n_dims, type;
        uint64_t dims[4];
        const char *said;
    } cases[] = {
        {0, 0, {1}, "dimensions"},
        {5, 0, {1, 1, 1, 1}, "dimensions"},
        {2, 0, {4, 0}, "impossible size"},
        {2, 0, {(uint64_t)1 << 40, (uint64_t)1 << 40}, "impossible size"},
        {1, 0, {(uint64_t)1 << 62}, "too large"},
        {2, 8, {48, 2}, "whole blocks"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        w = writer();
        gguf_writer_tensor(w, a_name, cases[i].n_dims, cases[i].dims,
                           tensor_type_find(cases[i].type));
        assert_int_not_equal(gguf_writer_begin(w, &fail), OK);
        assert_non_null(strstr(fail.text, cases[i].said));
        assert_non_null(strstr(fail.text, "'t'"));
        gguf_writer_destroy(w);
    }
    w = writer(); /* each fits, their sum does not */
    for (int i = 0; i < 4; i++)
        gguf_writer_tensor(w, a_name, 1, (uint64_t[]){(uint64_t)1 << 60},
                           tensor_type_find(TENSOR_F32));
    assert_int_equal(gguf_writer_begin(w, &fail), ERR_TOO_LARGE);
    gguf_writer_destroy(w);
    assert_int_equal(partial_files(output), 0);
}

int main(void)
{
    snprintf(output, sizeof output, "/tmp/a-io-test-written-%d.gguf", (int)getpid());
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_copy_of_a_model, remove_files, remove_files),
        cmocka_unit_test_setup_teardown(test_copy_of_every_type, remove_files, remove_files),
        cmocka_unit_test_setup_teardown(test_nothing_is_left_behind, remove_files, remove_files),
        cmocka_unit_test_setup_teardown(test_full_disk, remove_files, remove_files),
        cmocka_unit_test_setup_teardown(test_refusals, remove_files, remove_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
