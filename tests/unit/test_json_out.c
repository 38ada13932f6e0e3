/* JSON written as text at once: what is read back is what was said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "base/json_out.h"

static void write_all(json_out *o)
{
    json_out_open(o, NULL, '{');
    json_out_word(o, "word", "plain");
    json_out_word(o, "nothing", NULL);
    json_out_open(o, "list", '[');
    json_out_count(o, NULL, INT64_MIN);
    json_out_count(o, NULL, 0);
    json_out_open(o, NULL, '{');
    json_out_close(o, '}');
    json_out_flag(o, NULL, true);
    json_out_close(o, ']');
    json_out_text(o, "text", "\"\n\xFF", 3);
    json_out_real(o, "real", 0.1);
    json_out_real(o, "whole", 3);
    json_out_number(o, "number", -2.5);
    json_out_value(o, "value", json_pack("[i]", 7));
    json_out_raw(o, "raw", "{\"a\":[]}", 8);
    json_out_close(o, '}');
}

static const char all[] =
    "{\"word\":\"plain\",\"nothing\":null,\"list\":[-9223372036854775808,0,{},true],"
    "\"text\":\"\\\"\\n\xEF\xBF\xBD\",\"real\":0.1,\"whole\":3.0,\"number\":-2.500000,"
    "\"value\":[7],\"raw\":{\"a\":[]}}";

static void texts_are_json(void **state)
{
    (void)state;
    buffer text;
    buffer_init(&text, 4096);
    json_out o = {.to = &text};
    write_all(&o);
    assert_int_equal(o.code, OK);
    assert_string_equal(text.data, all);
    json_t *value = json_out_read(&o);
    assert_int_equal(json_object_size(value), 9);
    assert_int_equal(json_array_size(json_object_get(value, "list")), 4);
    assert_null(text.data);
    json_decref(value);
}

static void numbers_beyond_all_are_read(void **state)
{
    (void)state;
    static const double numbers[] = {NAN, INFINITY, 1e300, -1e300, 1e-300, -0.0, 1e9, 0};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buffer text;
        buffer_init(&text, 4096);
        json_out o = {.to = &text};
        json_out_open(&o, NULL, '[');
        json_out_number(&o, NULL, numbers[i]);
        json_out_real(&o, NULL, numbers[i]);
        json_out_close(&o, ']');
        json_t *value = json_out_read(&o);
        double wanted = isfinite(numbers[i]) ? numbers[i] : 0;
        assert_true(json_is_real(json_array_get(value, 0)));
        assert_true(fabs(json_real_value(json_array_get(value, 0)) - wanted) <=
                    1e-6 + 1e-8 * fabs(wanted));
        assert_true(fabs(json_real_value(json_array_get(value, 1)) - wanted) <=
                    1e-8 * fabs(wanted));
        json_decref(value);
    }
}

/* One number in each of the two forms; what is no whole number of millionths is rounded. */
static void numbers_are_written_so(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *text;
    } numbers[] = {{0, "[0.000000,0.0]"},        {-3, "[-3.000000,-3.0]"},
                   {0.05, "[0.050000,0.05]"},    {1.9999999, "[2.000000,1.9999999]"},
                   {-1e-9, "[0.000000,-1e-09]"}, {123456789.4, "[123456789.400000,123456789.0]"}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        buffer text;
        buffer_init(&text, 4096);
        json_out o = {.to = &text};
        json_out_open(&o, NULL, '[');
        json_out_number(&o, NULL, numbers[i].number);
        json_out_real(&o, NULL, numbers[i].number);
        json_out_close(&o, ']');
        assert_int_equal(o.code, OK);
        assert_string_equal(text.data, numbers[i].text);
        buffer_free(&text);
    }
}

/* Wherever there is no more room, the first fault is kept and nothing is lost. */
static void no_room_is_told(void **state)
{
    (void)state;
    for (size_t limit = 0; limit < sizeof all - 1; limit++) {
        buffer text;
        buffer_init(&text, limit);
        json_out o = {.to = &text};
        write_all(&o);
        assert_int_not_equal(o.code, OK);
        assert_null(json_out_read(&o));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_json),
        cmocka_unit_test(numbers_beyond_all_are_read),
        cmocka_unit_test(numbers_are_written_so),
        cmocka_unit_test(no_room_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
