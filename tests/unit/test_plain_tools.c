/* Tools in words, for templates that know none: what the model reads of a conversation with calls.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "backend/plain_tools.h"

#define TEXT(words) words, sizeof(words) - 1
#define TOOLS "[{\"type\":\"function\"}]"
#define INTRODUCTION                                                                               \
    "You may call these tools:\n" TOOLS                                                            \
    "\nTo call one, answer with nothing but {\"name\": NAME, \"arguments\": {…}}.\n\n"

static void check(const chat_message *m, const char *role, const char *content)
{
    assert_string_equal(m->role, role);
    assert_int_equal(m->content_length, strlen(content));
    assert_memory_equal(m->content, content, m->content_length);
}

/* Two calls, their results, and what the user says then: roles take turns. */
static void test_calls_and_results(void **state)
{
    (void)state;
    static char filler[100000]; /* the text moves as it grows */
    memset(filler, 'x', sizeof filler - 1);
    const chat_message messages[] = {
        {"system", TEXT("Be brief.")}, {"user", TEXT("Time?")},
        {"assistant", TEXT("")},       {"tool", TEXT("12:00")},
        {"tool", TEXT("Oslo")},        {"user", TEXT("And now?")},
        {"assistant", TEXT("Hm.")},    {"tool", TEXT("12:01")},
        {"assistant", TEXT("12:01.")}, {"user", filler, sizeof filler - 1},
    };
    const request r = {
        .messages = messages,
        .n_messages = sizeof messages / sizeof *messages,
        .chat = {.tools_json = TOOLS,
                 .messages_json =
                     "[{},{},{\"tool_calls\":[{\"function\":{\"name\":\"time\",\"arguments\":"
                     "{\"a\":1}}},{\"function\":{\"name\":\"place\",\"arguments\":{}}}]},{},{},{},"
                     "{\"tool_calls\":[{\"function\":{\"name\":\"time\",\"arguments\":{}}}]},{},{},"
                     "{}]"}};
    plain_tools made;
    failure fail;
    assert_int_equal(plain_tools_make(&made, &r, &fail), OK);
    assert_int_equal(made.n_messages, 8);
    check(&made.messages[0], "system", "Be brief.");
    check(&made.messages[1], "user", INTRODUCTION "Time?");
    check(&made.messages[2], "assistant",
          "{\"name\":\"time\",\"arguments\":{\"a\":1}}; {\"name\":\"place\",\"arguments\":{}}");
    check(&made.messages[3], "user", "12:00\n\nOslo\n\nAnd now?");
    check(&made.messages[4], "assistant", "Hm.\n{\"name\":\"time\",\"arguments\":{}}");
    check(&made.messages[5], "user", "12:01");
    check(&made.messages[6], "assistant", "12:01.");
    check(&made.messages[7], "user", filler);
    plain_tools_free(&made);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls_and_results)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
