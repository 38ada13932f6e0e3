/* What a hostile server streams to `a-io replay --server`, in pieces of any size: each answer is an
 * error that says so, or its figures are such that can be, and so are their sums (run it with a
 * sanitizer: a cast out of range shows there). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "evidence/item.h"
#include "evidence/server_answer.h"
#include "evidence/summary.h"
#include "fuzz/texts.h"

#define MAX_STREAM 4096
#define ANSWERS_A_RUN 16

static const char stream[] =
    "data: {\"choices\":[{\"delta\":{\"content\":\"h\\u00e9\"},\"finish_reason\":null}]}\r\n\r\n"
    ": comment\n\ndata: "
    "{\"choices\":[{\"delta\":{\"content\":\"llo\"},\"finish_reason\":\"stop\"}],"
    "\"usage\":{\"prompt_tokens\":17,\"completion_tokens\":2},\"a_io\":{\"intent\":{\"label\":"
    "\"math\",\"entropy\":0.045},\"plan\":{\"role\":\"large\",\"lookup\":\"auto\",\"rule\":"
    "\"math\","
    "\"fallback\":null},\"receipt\":{\"overhead\":{\"template_ms\":0.04,\"prefill_ms\":3.4,"
    "\"decide_ms\":0.007,\"switch_ms\":0.001,\"total_ms\":3.5},\"reply\":{\"cached_tokens\":0,"
    "\"steps\":9,\"drafted\":2,\"accepted\":1,\"weight_bytes\":111068160,\"kv_bytes\":666624}}}}"
    "\n\n"
    "data: [DONE]\n\n";

/* What stands in JSON's places, and what breaks it or the stream. */
static const char *const values[] = {
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-1",
    "1e999",
    "1e308",
    "-1e308",
    "1e18",
    "1e19",
    "1e-320",
    "-0.0",
    "0.5",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "\"x\"",
};
static const char *const pieces[] = {
    "\n\n",  "\r", "data: ", "data: {\"error\":{\"message\":1}}\n\n", "\\u0000", "\xff",
    "[[[[[", ",",  "[DONE]",
};

static long rounds;
static size_t n_answered, n_refused;

/* Of an answer that was taken: every figure that the server gave is in its range. */
static void check_item(json_t *item)
{
    static const char *const phases[] = {"template", "prefill", "decide", "switch", "overhead"};
    const char *key;
    json_t *figure;
    json_object_foreach(json_object_get(item, "work"), key, figure)
    {
        json_int_t n = json_integer_value(figure);
        assert_true(json_is_integer(figure) && n >= 0 && n < JSON_LARGEST_COUNT);
    }
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        double ms = json_number_value(json_object_get(json_object_get(item, "ms"), phases[i]));
        assert_true(ms >= 0 && ms < 1e12);
    }
    double entropy = json_number_value(json_object_get(item, "entropy"));
    assert_true(entropy >= 0 && entropy < 1e3);
}

static json_t *answer(void)
{
    char text[MAX_STREAM];
    const size_t n_pieces = sizeof pieces / sizeof *pieces;
    const size_t n_values = sizeof values / sizeof *values;
    const task asked = {.id = "id", .kind = "math", .intent = "math"};
    size_t length = strlen(stream), step = 1 + draw(400);
    memcpy(text, stream, length);
    for (uint32_t i = draw(4); i > 0; i--)
        length = draw(8) == 0 ? break_text(text, length, MAX_STREAM, pieces, n_pieces)
                              : replace_value(text, length, MAX_STREAM, values, n_values);
    server_answer a;
    json_t *item = item_new(&asked);
    assert_non_null(item);
    server_answer_init(&a);
    for (size_t at = 0; at < length; at += step) {
        size_t n = length - at < step ? length - at : step;
        char *exact = exact_copy(text + at, n);
        server_answer_feed(&a, exact, n);
        free(exact);
    }
    server_answer_check(&a);
    n_refused += a.error[0] != '\0';
    n_answered += a.error[0] == '\0';
    server_answer_describe(&a, item, 1);
    if (a.error[0] == '\0')
        check_item(item);
    server_answer_free(&a);
    return item;
}

static void check_numbers(json_t *value)
{
    size_t i;
    const char *key;
    json_t *inner;
    if (json_is_real(value))
        assert_true(isfinite(json_real_value(value)));
    if (json_is_array(value))
        json_array_foreach(value, i, inner) check_numbers(inner);
    if (json_is_object(value))
        json_object_foreach(value, key, inner) check_numbers(inner);
}

static void check_run(json_t *summary)
{
    static const char *const counts[] = {"tokens", "drafted", "accepted", "steps", "bytes_read"};
    assert_non_null(summary);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        assert_true(json_integer_value(json_object_get(summary, counts[i])) >= 0);
    check_numbers(summary);
}

static void test_hostile_answers(void **state)
{
    (void)state;
    const summary_bounds bounds = {.ttft_ms = 1000, .between_ms = 100};
    for (long round = 0; round < rounds; round += ANSWERS_A_RUN) {
        json_t *items = json_array();
        for (int i = 0; i < ANSWERS_A_RUN; i++)
            assert_int_equal(json_array_append_new(items, answer()), 0);
        json_t *summary = summary_run("A", "auto", items, 1.5, &bounds);
        check_run(summary);
        buffer written;
        buffer_init(&written, SIZE_MAX);
        assert_int_equal(json_write_exact(&written, summary), OK);
        buffer_free(&written);
        json_decref(items);
    }
    printf("%ld answers: %zu taken, %zu refused\n", rounds, n_answered, n_refused);
    assert_true(rounds < 1000 || (n_answered > 100 && n_refused > 100));
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 12000);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_hostile_answers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
