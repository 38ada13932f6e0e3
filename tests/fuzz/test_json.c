/* JSON read and written quickly is what jansson reads and writes, of sound and of broken texts.
 * `test_json ROUNDS SEED` for more of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>

#include "base/json_quick.h"
#include "fuzz/texts.h"

#define MAX_TEXT 4096

static const char *const seeds[] = {
    "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9 \\ud83d\\ude00 "
    "\\\"q\\\" \\\\ \\/ \\b\\f\\n\\r\\t caf\xC3\xA9 \xE6\xBC\xA2\xE5\xAD\x97 \xF0\x9F\x98\x80\"}], "
    "\"temperature\": 0.7, \"seed\": 12, \"stream\": false}",
    "[0, -0, 1, -1, 12345678901234567, 123456789012345678, 9223372036854775807, 1e3, 1E+3, 1.5e-7, "
    "-0.0, 1e400, 0.1, 3.14159265358979, 100000000000000000000, 1e22, 123456789.123]",
    "{\"a\": {\"b\": [[], {}, null, true, false, \"\", \" \"]}, \"a\": 1, \"\": 2, \"\\u0041\": 3}",
    " \"just a text, longer than eight bytes, with a tab\\tin it\" ",
    "{\"deep\": [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]}",
};
static const char *const pieces[] = {
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\u0000",
    "\\ud800",
    "e5",
    ".",
    "-",
    "null",
    "\xC3",
    "\xED\xA0\x80",
    "\xC0\xAF",
    "\xF4\x90\x80\x80",
    "\x01",
    "\x7F",
    " ",
    "\n",
    "00",
    "1e",
    "\\udc00",
    "\"a\":1,",
    "[[[[[[[[[[[[[[[[",
};
#define N_PIECES (sizeof pieces / sizeof *pieces)

static long rounds;

static void check_text(const json_t *value);

static void check_written(const json_t *value)
{
    for (int digits = 9; digits <= 17; digits += 8) {
        buffer out;
        buffer_init(&out, (size_t)1 << 20);
        char *want =
            json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION((size_t)digits));
        assert_int_equal(json_quick_write(&out, value, digits), OK);
        assert_string_equal(out.data, want);
        assert_int_equal(out.length, strlen(want));
        buffer_free(&out);
        free(want);
    }
    if (json_is_string(value))
        check_text(value);
    for (size_t i = 0; i < json_array_size(value); i++)
        check_written(json_array_get(value, i));
}

static void check_text(const json_t *value)
{
    buffer out;
    buffer_init(&out, (size_t)1 << 20);
    char *want = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_int_equal(
        json_quick_write_text(&out, json_string_value(value), json_string_length(value)), OK);
    assert_string_equal(out.data, want);
    buffer_free(&out);
    free(want);
}

/* True: it was read. */
static bool check_read(const char *text, size_t length, size_t flags)
{
    char *copy = malloc(length + 1); /* so that a byte too far is seen */
    memcpy(copy, text, length);
    json_t *quick = json_quick_read(copy, length, flags);
    json_t *other = json_loadb(copy, length, flags, NULL);
    bool was_read = quick != NULL;
    if (was_read) {
        assert_non_null(other);
        assert_true(json_equal(quick, other));
        check_written(quick);
    }
    json_decref(quick);
    json_decref(other);
    free(copy);
    return was_read;
}

static void sound_texts_are_read(void **state)
{
    (void)state;
    assert_true(check_read(seeds[0], strlen(seeds[0]), 0));
    assert_true(check_read(seeds[0], strlen(seeds[0]), JSON_REJECT_DUPLICATES));
    assert_true(check_read(seeds[2], strlen(seeds[2]), 0));
    assert_false(check_read(seeds[2], strlen(seeds[2]), JSON_REJECT_DUPLICATES));
    assert_true(check_read(seeds[3], strlen(seeds[3]), JSON_DECODE_ANY));
    assert_false(check_read(seeds[3], strlen(seeds[3]), 0));
    assert_true(check_read(seeds[4], strlen(seeds[4]), 0));
}

static void broken_texts_are_read_alike(void **state)
{
    (void)state;
    static const size_t flags[] = {0, JSON_DECODE_ANY, JSON_ALLOW_NUL | JSON_DECODE_ANY,
                                   JSON_REJECT_DUPLICATES};
    long read = 0;
    for (long i = 0; i < rounds; i++) {
        char text[MAX_TEXT];
        const char *seed = seeds[draw(sizeof seeds / sizeof *seeds)];
        size_t length = strlen(seed);
        memcpy(text, seed, length);
        for (uint32_t n = draw(4); n > 0; n--)
            length = break_text(text, length, sizeof text, pieces, N_PIECES);
        read += check_read(text, length, flags[draw(4)]);
    }
    assert_true(read > rounds / 10);
}

/* Each place of a special byte among plain ones, so that none of those looked at at once is missed.
 */
static void no_byte_is_passed_over(void **state)
{
    (void)state;
    for (size_t length = 1; length < 40; length++)
        for (size_t at = 0; at < length; at++)
            for (unsigned c = 0; c < 256; c++) {
                char text[42];
                memset(text, 'x', sizeof text);
                text[0] = text[length + 1] = '"';
                text[1 + at] = (char)c;
                bool is_plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
                assert_int_equal(check_read(text, length + 2, JSON_DECODE_ANY), is_plain);
                text[1 + at] = 'x';
                json_t *value = json_stringn(text + 1, length);
                ((char *)(uintptr_t)json_string_value(value))[at] = (char)(c & 0x7F);
                check_written(value);
                json_decref(value);
            }
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 20000);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_texts_are_read),
        cmocka_unit_test(broken_texts_are_read_alike),
        cmocka_unit_test(no_byte_is_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
