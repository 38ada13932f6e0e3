/* Every message about a malformed GGUF file says what is wrong and where; sound files read back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>

#include "gguf_writer.h"
#include "model/gguf.h"

#define LIMIT ((size_t)1 << 20)

static error_code open_bytes(gguf **file, const void *data, size_t length, failure *fail)
{
    char path[64];
    write_temporary(data, length, path);
    error_code code = gguf_open(file, path, fail);
    unlink(path);
    return code;
}

/* Opens what was built, expects `code` and a message holding `text`, and gives the buffer back. */
static void expect_refusal(buffer *b, error_code code, const char *text)
{
    gguf *file;
    failure fail = {0};
    error_code got = open_bytes(&file, b->data, b->length, &fail);
    if (got != code || strstr(fail.text, text) == NULL)
        fail_msg("expected %d \"%s\", got %d \"%s\"", code, text, got, fail.text);
    assert_int_equal(fail.code, code);
    assert_non_null(strstr(fail.text, "/tmp/a-io-test-"));
    assert_null(file);
    buffer_free(b);
}

static buffer start(uint64_t n_tensors, uint64_t n_keys)
{
    buffer b;
    buffer_init(&b, LIMIT);
    put_header(&b, 3, n_tensors, n_keys);
    return b;
}

/* One tensor and nothing else, with `data_bytes` of data. */
static buffer one_tensor(uint32_t n_dims, const uint64_t *dims, uint32_t type, uint64_t offset,
                         size_t data_bytes)
{
    buffer b = start(1, 0);
    put_tensor(&b, "w", n_dims, dims, type, offset);
    put_zeros(&b, 32, data_bytes);
    return b;
}

static void wrong_magic(void **state)
{
    (void)state;
    buffer b;
    buffer_init(&b, LIMIT);
    buffer_add(&b, "PK\3\4 and more of a zip", 20);
    expect_refusal(&b, ERR_FORMAT, "not a GGUF file: magic is 'PK..' at byte 0");
    buffer_add(&b, "GG", 2);
    expect_refusal(&b, ERR_FORMAT, "truncated");
}

static void empty_and_missing(void **state)
{
    (void)state;
    gguf *file;
    failure fail;
    assert_int_equal(open_bytes(&file, "", 0, &fail), ERR_FORMAT);
    assert_non_null(strstr(fail.text, "empty"));
    assert_int_equal(gguf_open(&file, "/nonexistent/model.gguf", &fail), ERR_NOT_FOUND);
    assert_string_equal(fail.text,
                        "/nonexistent/model.gguf: cannot open: No such file or directory");
    assert_int_equal(gguf_open(&file, "/tmp", &fail), ERR_IO);
    assert_int_equal(gguf_open(&file, "/nonexistent/model.gguf", NULL), ERR_NOT_FOUND);
}

static void versions(void **state)
{
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        buffer b;
        buffer_init(&b, LIMIT);
        put_header(&b, version, 0, 0);
        gguf *file;
        failure fail;
        assert_int_equal(open_bytes(&file, b.data, b.length, &fail), OK);
        assert_int_equal(gguf_version(file), version);
        assert_int_equal(gguf_file_bytes(file), 24);
        assert_null(gguf_tensor_find(file, "w"));
        assert_false(gguf_has(file, "k"));
        gguf_drop_pages(file);
        gguf_close(file);
        buffer_free(&b);
    }
    buffer b;
    buffer_init(&b, LIMIT);
    put_header(&b, 1, 0, 0);
    expect_refusal(&b, ERR_UNSUPPORTED, "GGUF version 1 (byte 4) is not supported");
    put_header(&b, 0x03000000, 0, 0);
    expect_refusal(&b, ERR_UNSUPPORTED, "big-endian");
    put_header(&b, 0x02000000, 0, 0);
    expect_refusal(&b, ERR_UNSUPPORTED, "big-endian");
    put_header(&b, 0x03000000, 0, 0);
    memcpy(b.data, "FUGG", 4);
    expect_refusal(&b, ERR_UNSUPPORTED, "big-endian");
}

static void truncated_anywhere(void **state)
{
    (void)state;
    uint64_t dims[] = {32, 2};
    buffer b = start(1, 3);
    put_key_u32(&b, "a", 1);
    put_key_text(&b, "b", "text");
    put_key(&b, "c", 9);
    put_u32(&b, 8);
    put_u64(&b, 2);
    put_string(&b, "one");
    put_string(&b, "two");
    put_tensor(&b, "w", 2, dims, 8, 0);
    put_zeros(&b, 32, 68);
    for (size_t length = 0; length < b.length; length++) {
        gguf *file;
        failure fail;
        assert_int_equal(open_bytes(&file, b.data, length, &fail), ERR_FORMAT);
        if (length > 0 && strstr(fail.text, "truncated download?") == NULL)
            fail_msg("%zu bytes: %s", length, fail.text);
    }
    gguf *file;
    assert_int_equal(open_bytes(&file, b.data, b.length, NULL), OK);
    gguf_close(file);
    buffer_free(&b);
}

static void inflated_counts(void **state)
{
    (void)state;
    buffer b = start(1000, 0);
    expect_refusal(&b, ERR_FORMAT, "the tensor count at byte 8 is 1000, more than fit");
    b = start(0, 1000);
    expect_refusal(&b, ERR_FORMAT, "the key count at byte 16 is 1000, more than fit");
    b = start(UINT64_MAX, 0);
    expect_refusal(&b, ERR_FORMAT, "the limit is");
    b = start(0, 1);
    put_key(&b, "list", 9);
    put_u32(&b, 4);
    put_u64(&b, UINT64_MAX / 2);
    expect_refusal(&b, ERR_FORMAT, "key 'list': an array of 9223372036854775807 values");
    b = start(0, 1);
    put_u64(&b, UINT64_MAX);
    put_zeros(&b, 32, 8);
    expect_refusal(&b, ERR_FORMAT, "key 0: its name at byte 24 says it is 18446744073709551615");
}

static void bad_keys(void **state)
{
    (void)state;
    buffer b = start(0, 1);
    put_key(&b, "k", 13);
    put_u64(&b, 0);
    expect_refusal(&b, ERR_FORMAT, "key 'k': the value's type at byte 33 is 13");
    b = start(0, 1);
    put_key(&b, "k", 9);
    put_u32(&b, 9);
    put_u64(&b, 0);
    expect_refusal(&b, ERR_FORMAT, "key 'k': an array of arrays (byte 37)");
    b = start(0, 2);
    put_key_u32(&b, "twice", 1);
    put_key_u32(&b, "twice", 2);
    expect_refusal(&b, ERR_FORMAT, "key 'twice' stands in the file twice");
    b = start(0, 1);
    put_key_u32(&b, "", 1);
    expect_refusal(&b, ERR_FORMAT, "key 0: its name at byte 24 is 0 bytes long");
    b = start(0, 1);
    put_key(&b, "flag", 7);
    buffer_add(&b, "\2", 1);
    expect_refusal(&b, ERR_FORMAT, "key 'flag': the bool at byte 40 is 2");
    b = start(0, 1);
    put_key(&b, "flags", 9);
    put_u32(&b, 7);
    put_u64(&b, 2);
    buffer_add(&b, "\1\7", 2);
    expect_refusal(&b, ERR_FORMAT, "key 'flags': the bool at byte 54 is 7");
    b = start(0, 1);
    put_key(&b, "\x1b[31m\xff", 4);
    put_zeros(&b, 1, 2);
    expect_refusal(&b, ERR_FORMAT, "key '\\x1b[31m\\xff': its value needs bytes");
}

static void bad_alignment(void **state)
{
    (void)state;
    const uint32_t wrong[] = {0, 1, 4, 24, 33, 0x80000000U};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        buffer b = start(0, 1);
        put_key_u32(&b, "general.alignment", wrong[i]);
        expect_refusal(&b, ERR_FORMAT, "key 'general.alignment' is ");
    }
    buffer b = start(0, 1);
    put_key_text(&b, "general.alignment", "32");
    expect_refusal(&b, ERR_FORMAT, "not a whole number");
}

static void bad_tensors(void **state)
{
    (void)state;
    buffer b = one_tensor(2, (uint64_t[]){32, 2}, 8, 0, 67);
    expect_refusal(&b, ERR_FORMAT,
                   "tensor 'w' needs bytes 96..163 but the file ends at 163 (truncated download?)");
    b = one_tensor(2, (uint64_t[]){32, 2}, 8, 64, 68);
    expect_refusal(&b, ERR_FORMAT, "tensor 'w' needs bytes 160..227 but the file ends at 164");
    b = one_tensor(1, (uint64_t[]){32}, 8, UINT64_MAX - 31, 68);
    expect_refusal(&b, ERR_FORMAT, "overflows");
    b = one_tensor(1, (uint64_t[]){32}, 8, 16, 68);
    expect_refusal(&b, ERR_FORMAT, "its offset 16 is not a multiple of the alignment 32");
    b = one_tensor(1, (uint64_t[]){32}, 99, 0, 68);
    expect_refusal(&b, ERR_UNSUPPORTED, "tensor 'w' has type 99 (byte 45)");
    b = one_tensor(1, (uint64_t[]){33}, 8, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "rows of 33 values are not whole blocks of Q8_0");
    b = one_tensor(2, (uint64_t[]){32, 0}, 8, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "tensor 'w': dimension 1 (byte 45) is zero");
    b = one_tensor(3, (uint64_t[]){1ULL << 32, 1ULL << 20, 1ULL << 20}, 8, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "product of its dimensions");
    b = one_tensor(1, (uint64_t[]){1ULL << 63}, 0, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "its size in bytes overflows");
    b = one_tensor(1, (uint64_t[]){1ULL << 61}, 0, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "needs bytes 64..9223372036854775871 but the file ends at 132");
    b = one_tensor(0, NULL, 0, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "has 0 dimensions");
    b = one_tensor(5, (uint64_t[]){1, 1, 1, 1, 1}, 0, 0, 68);
    expect_refusal(&b, ERR_FORMAT, "has 5 dimensions");
}

static void tensors_that_collide(void **state)
{
    (void)state;
    uint64_t dims[] = {32};
    buffer b = start(2, 0);
    put_tensor(&b, "w", 1, dims, 0, 0);
    put_tensor(&b, "w", 1, dims, 0, 128);
    put_zeros(&b, 32, 256);
    expect_refusal(&b, ERR_FORMAT, "tensor 'w' stands in the file twice");
    b = start(2, 0);
    put_tensor(&b, "late", 1, dims, 0, 96);
    put_tensor(&b, "early", 1, dims, 0, 0);
    put_zeros(&b, 32, 256);
    expect_refusal(&b, ERR_FORMAT, "tensors 'early' and 'late' overlap at byte");
}

static void put_numbers(buffer *b)
{
    float f = 0.5F;
    double d = -2.25;
    int64_t big = -5000000000;
    put_key(b, "u8", 0);
    buffer_add(b, "\xff", 1);
    put_key(b, "i8", 1);
    buffer_add(b, "\xff", 1);
    put_key(b, "f32", 6);
    buffer_add(b, &f, sizeof f);
    put_key(b, "f64", 12);
    buffer_add(b, &d, sizeof d);
    put_key(b, "u64", 10);
    put_u64(b, UINT64_MAX);
    put_key(b, "i64", 11);
    buffer_add(b, &big, sizeof big);
    put_key(b, "yes", 7);
    buffer_add(b, "\1", 1);
}

static void put_arrays(buffer *b)
{
    put_key(b, "texts", 9);
    put_u32(b, 8);
    put_u64(b, 3);
    put_string(b, "one");
    put_string(b, "");
    put_string(b, "three");
    put_key(b, "ints", 9);
    put_u32(b, 3);
    put_u64(b, 2);
    buffer_add(b, "\1\0\xff\xff", 4);
    put_key(b, "large", 9);
    put_u32(b, 10);
    put_u64(b, 1);
    put_u64(b, 1ULL << 31);
    put_key(b, "none", 9);
    put_u32(b, 4);
    put_u64(b, 0);
}

static gguf *open_values(void)
{
    buffer b = start(0, 12);
    put_numbers(&b);
    put_arrays(&b);
    put_key_text(&b, "text", "two\nlines, 中文");
    gguf *file;
    failure fail;
    if (open_bytes(&file, b.data, b.length, &fail) != OK)
        fail_msg("%s", fail.text);
    buffer_free(&b);
    return file;
}

static void numbers_read_back(void **state)
{
    (void)state;
    gguf *file = open_values();
    uint64_t u;
    double f;
    bool yes;
    assert_true(gguf_u64(file, "u8", &u) && u == 255);
    assert_true(gguf_u64(file, "u64", &u) && u == UINT64_MAX);
    assert_false(gguf_u64(file, "i8", &u)); /* negative */
    assert_false(gguf_u64(file, "f32", &u));
    assert_false(gguf_u64(file, "texts", &u));
    assert_false(gguf_u64(file, "absent", &u));
    assert_true(gguf_f64(file, "f32", &f) && fabs(f - 0.5) < 1e-12);
    assert_true(gguf_f64(file, "f64", &f) && fabs(f + 2.25) < 1e-12);
    assert_true(gguf_f64(file, "i64", &f) && fabs(f + 5e9) < 1);
    assert_false(gguf_f64(file, "text", &f));
    assert_true(gguf_bool(file, "yes", &yes) && yes);
    assert_false(gguf_bool(file, "u8", &yes));
    gguf_close(file);
}

static void texts_and_arrays_read_back(void **state)
{
    (void)state;
    gguf *file = open_values();
    gguf_string text;
    const gguf_string *items;
    size_t count;
    float *floats;
    int32_t *ints;
    failure fail;
    assert_true(gguf_text(file, "text", &text) && text.length == 17);
    assert_false(gguf_text(file, "texts", &text));
    assert_true(gguf_text_array(file, "texts", &items, &count) && count == 3);
    assert_memory_equal(items[2].data, "three", 5);
    assert_int_equal(items[1].length, 0);
    assert_false(gguf_text_array(file, "ints", &items, &count));
    assert_int_equal(gguf_i32_array(file, "ints", &ints, &count, &fail), OK);
    assert_true(count == 2 && ints[0] == 1 && ints[1] == -1);
    free(ints);
    assert_int_equal(gguf_f32_array(file, "large", &floats, &count, &fail), OK);
    assert_true(count == 1 && floats[0] > 2e9F);
    free(floats);
    assert_int_equal(gguf_f32_array(file, "none", &floats, &count, &fail), OK);
    assert_int_equal(count, 0);
    free(floats);
    assert_int_equal(gguf_i32_array(file, "large", &ints, &count, &fail), ERR_FORMAT);
    assert_int_equal(gguf_i32_array(file, "absent", &ints, &count, &fail), ERR_NOT_FOUND);
    assert_int_equal(gguf_f32_array(file, "texts", &floats, &count, &fail), ERR_FORMAT);
    gguf_close(file);
}

static void rendering(void **state)
{
    (void)state;
    static const char *const expected[] = {"255",
                                           "-1",
                                           "0.5",
                                           "-2.25",
                                           "18446744073709551615",
                                           "-5000000000",
                                           "true",
                                           "3 × string",
                                           "2 × i16",
                                           "1 × u64",
                                           "0 × u32",
                                           "two\\x0alines, 中文"};
    gguf *file = open_values();
    assert_int_equal(gguf_key_count(file), 12);
    assert_memory_equal(gguf_key_at(file, 11).data, "text", 4);
    char text[64];
    for (size_t i = 0; i < 12; i++) {
        gguf_key_render(file, i, text, sizeof text);
        assert_string_equal(text, expected[i]);
    }
    gguf_key_render(file, 11, text, 12);
    assert_string_equal(text, "two\\x0al...");
    gguf_close(file);
}

static void tensors_read_back(void **state)
{
    (void)state;
    buffer b = start(2, 1);
    put_key_u32(&b, "general.alignment", 64);
    put_tensor(&b, "z", 2, (uint64_t[]){32, 2}, 8, 128);
    put_tensor(&b, "a", 1, (uint64_t[]){5}, 0, 0);
    put_zeros(&b, 64, 128 + 68);
    b.data[b.length - 1] = 7;
    gguf *file;
    assert_int_equal(open_bytes(&file, b.data, b.length, NULL), OK);
    assert_int_equal(gguf_tensor_count(file), 2);
    const gguf_tensor *z = gguf_tensor_find(file, "z");
    assert_ptr_equal(z, gguf_tensor_at(file, 0));
    assert_true(z->bytes == 68 && z->n_dims == 2 && z->dims[1] == 2 && z->dims[3] == 1);
    assert_int_equal(((const char *)z->data)[67], 7);
    assert_int_equal((uintptr_t)z->data % 64, 0);
    assert_string_equal(z->type->name, "Q8_0");
    assert_int_equal(gguf_tensor_find(file, "a")->bytes, 20);
    assert_null(gguf_tensor_find(file, "m"));
    gguf_close(file);
    buffer_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_magic),
        cmocka_unit_test(empty_and_missing),
        cmocka_unit_test(versions),
        cmocka_unit_test(truncated_anywhere),
        cmocka_unit_test(inflated_counts),
        cmocka_unit_test(bad_keys),
        cmocka_unit_test(bad_alignment),
        cmocka_unit_test(bad_tensors),
        cmocka_unit_test(tensors_that_collide),
        cmocka_unit_test(numbers_read_back),
        cmocka_unit_test(rendering),
        cmocka_unit_test(tensors_read_back),
        cmocka_unit_test(texts_and_arrays_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
