/* Numbers by a table: the text that is written at once says what the value says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/json.h"
#include "base/json_fields.h"

typedef struct sample {
    size_t n;
    double ms;
    uint64_t bytes;
} sample;

static const json_field fields[] = {JSON_COUNT(sample, n), JSON_NUMBER(sample, ms),
                                    JSON_COUNT(sample, bytes)};

static void check(size_t n, double ms, uint64_t bytes, const char *wanted)
{
    const sample s = {n, ms, bytes};
    buffer text;
    buffer_init(&text, 4096);
    json_out out = {.to = &text};
    json_fields_write(&out, NULL, fields, 3, &s);
    assert_int_equal(out.code, OK);
    if (wanted != NULL)
        assert_string_equal(text.data, wanted);
    json_t *read = json_loads(text.data, 0, NULL), *value = json_fields_value(fields, 3, &s);
    assert_non_null(read);
    assert_int_equal(json_integer_value(json_object_get(read, "n")),
                     json_integer_value(json_object_get(value, "n")));
    assert_int_equal(json_integer_value(json_object_get(read, "bytes")),
                     json_integer_value(json_object_get(value, "bytes")));
    double written = json_real_value(json_object_get(read, "ms"));
    double made = json_real_value(json_object_get(value, "ms"));
    assert_true(json_is_real(json_object_get(read, "ms")));
    assert_true(fabs(written - made) <= 5.1e-7 + 1e-8 * fabs(made));
    json_decref(read);
    json_decref(value);
    buffer_free(&text);
}

static void texts_say_what_values_say(void **state)
{
    (void)state;
    check(0, 0, 0, "{\"n\":0,\"ms\":0.000000,\"bytes\":0}");
    check(12, 305.25, 1, "{\"n\":12,\"ms\":305.250000,\"bytes\":1}");
    check(9, -0.5, 7, "{\"n\":9,\"ms\":-0.500000,\"bytes\":7}");
    check(9, -1e-9, 7, "{\"n\":9,\"ms\":0.000000,\"bytes\":7}");
    check(1, NAN, 1, "{\"n\":1,\"ms\":0.000000,\"bytes\":1}");
    check(1, INFINITY, 1, NULL);
    check(INT64_MAX, 999999999.9999996, INT64_MAX, NULL);
    check(1, 1e9, 1, NULL);
    check(1, 1.5e300, 1, NULL);
    check(1, 1e-9, 1, NULL);
    for (double ms = 1e-7; ms < 1e12; ms *= 3.7)
        check(3, ms, 4, NULL);
}

static void no_memory_is_told(void **state)
{
    (void)state;
    const sample s = {1, 2, 3};
    for (size_t limit = 0; limit < 30; limit++) {
        buffer text;
        buffer_init(&text, limit);
        json_out out = {.to = &text};
        json_fields_write(&out, NULL, fields, 3, &s);
        assert_int_equal(out.code, ERR_TOO_LARGE);
        buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_say_what_values_say),
        cmocka_unit_test(no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
