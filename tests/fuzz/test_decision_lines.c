/* A decision log whose lines others wrote, or a disk cut short: read, or refused with the line, and
 * what is torn is passed over; never anything else (run it with a sanitizer). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "evidence/redecide.h"
#include "evidence/trace.h"
#include "fuzz/texts.h"

#define MAX_LOG 16384
#define LINES_A_LOG 6 /* many lines are made, few a file: a refused one hides what follows it */

static const char policy_line[] =
    "{\"type\":\"policy\",\"version\":1,\"time\":1795735921.88,\"digest\":\"f01bf1\",\"policy\":{"
    "\"name\":\"adaptive\",\"labels\":[\"code\",\"qa\",\"math\"],\"small_context\":320,\"sticky\":"
    "true,\"seed\":0,\"online\":{\"start\":0.45,\"rules\":[0,2]},\"rules\":[{\"name\":\"code\","
    "\"intent\":\"code\",\"max_entropy\":0.45,\"max_prompt_tokens\":320,\"model\":\"small\","
    "\"lookup\":\"auto\"},{\"name\":\"long_context\",\"above_prompt_tokens\":320,\"model\":"
    "\"large\",\"lookup\":4},{\"name\":\"entropy\",\"above_entropy\":0.45,\"model\":\"large\","
    "\"lookup\":\"off\"},{\"name\":\"busy\",\"headers\":[{\"name\":\"x-tier\",\"value\":\"gold\"}],"
    "\"model\":\"large\","
    "\"lookup\":\"auto\"},{\"name\":\"adaptive\",\"model\":\"large\",\"lookup\":\"auto\"}]}}\n";

static const char decision_line[] =
    "{\"type\":\"decision\",\"time\":1795735922.132,\"id\":\"req-21\",\"facts\":{\"prompt_tokens\":"
    "17,\"turn\":1,\"session\":false,\"coin\":0.98,\"headers\":{},\"load\":{"
    "\"small\":{\"running\":0,\"waiting\":0},\"large\":{\"running\":0,\"waiting\":0}},\"kept\":"
    "null,"
    "\"entropy_limit\":0.45,\"probe_failure\":null,\"intent\":{\"label\":\"math\",\"best\":2,"
    "\"probabilities\":[3.1e-5,0.0077,0.99],\"entropy\":0.045,\"margin\":0.98,\"outside\":9.0e-6,"
    "\"windowed\":false,\"cached\":false,\"calibrated\":false,\"probe_tokens\":19,\"logits\":[12.5,"
    "18.0,22.9],\"log_sum_exp\":22.9}},\"plan\":{\"model\":\"large\",\"role\":\"large\",\"lookup\":"
    "\"auto\",\"client_lookup\":false,\"prior\":2,\"rule\":\"adaptive\",\"number\":4,\"fallback\":"
    "null,"
    "\"reason\":\"no earlier rule held "
    "(adaptive)\"},\"prompt\":{\"sha256\":\"bc73\",\"messages\":1,\"bytes\":18,"
    "\"text\":[{\"role\":\"user\",\"content\":\"What is 1 plus 30?\"}]},\"receipt\":{\"overhead\":{"
    "\"template_ms\":0.04},\"reply\":{\"prompt_tokens\":17,\"reply_tokens\":10}},\"outcome\":{"
    "\"state\":\"finished\",\"finish_reason\":\"length\"}}\n";

/* Of three models, and what decides a line of theirs. */
static const char list_policy_line[] =
    "{\"type\":\"policy\",\"version\":1,\"policy\":{\"name\":\"rules\",\"models\":[{\"name\":\"a\","
    "\"context\":320},{\"name\":\"b\",\"context\":640},{\"name\":\"c\",\"context\":1280}],"
    "\"asked\":\"b\","
    "\"labels\":[\"code\",\"qa\",\"math\"],\"sticky\":true,\"seed\":0,\"rules\":[{\"name\":"
    "\"busy\","
    "\"load\":[{\"above_waiting\":3,\"model\":\"c\"}],\"model\":\"a\"},{\"name\":\"unsure\","
    "\"above_entropy\":0.45,\"model\":\"next\"},{\"name\":\"rest\",\"model\":\"b\"}]}}\n";

static const char list_decision_line[] = "{\"type\":\"decision\",\"facts\":{\"prompt_tokens\":17,"
                                         "\"tokens\":{\"a\":400},\"turn\":1,\"session\":"
                                         "false,\"coin\":0.98,\"headers\":{},\"load\":{\"a\":{"
                                         "\"running\":0,\"waiting\":0},\"b\":{\"running\":1,"
                                         "\"waiting\":0},\"c\":{\"running\":8,\"waiting\":4}},"
                                         "\"kept\":{\"rule\":1,\"level\":1,\"prior\":0},"
                                         "\"probe_failure\":null,\"intent\":null},\"plan\":{"
                                         "\"model\":\"b\",\"role\":\"b\",\"lookup\":\"auto\","
                                         "\"client_lookup\":false,\"prior\":0,\"rule\":\"session\","
                                         "\"number\":1,\"fallback\":null,\"reason\":"
                                         "\"the conversation stays with the b model (unsure)\"}}\n";

/* What stands in JSON's places, and what breaks it. */
static const char *const values[] = {
    "null",
    "true",
    "[]",
    "{}",
    "\"\"",
    "0",
    "-1",
    "1e999",
    "-1e308",
    "1e-320",
    "1e308",
    "4294967296",
    "9223372036854775807",
    "1.5",
    "\"code\"",
    "\"large\"",
    "\"next\"",
    "{\"a\":7}",
    "\"auto\"",
    "\"off\"",
    "\"rules\"",
    "[0.1,0.2,0.7]",
    "[1e999,0,0]",
    "\"a\\u0000b\"",
    "{\"above\":1}",
};
static const char *const pieces[] = {
    "[[[[[[[[", "{\"type\":\"policy\"", "\\u0000", "\\ud800", "\xff", "\n", "\"rules\":[{}]", ",",
};

static long rounds;

static size_t add_line(char *log, size_t length)
{
    char line[4096];
    const size_t n_pieces = sizeof pieces / sizeof *pieces;
    const size_t n_values = sizeof values / sizeof *values;
    static const char *const lines[] = {policy_line, decision_line, decision_line, list_policy_line,
                                        list_decision_line};
    const char *sound = lines[draw(sizeof lines / sizeof *lines)];
    size_t n = strlen(sound);
    memcpy(line, sound, n);
    for (uint32_t i = draw(4); i > 0; i--)
        n = draw(8) == 0 ? break_text(line, n, sizeof line, pieces, n_pieces)
                         : replace_value(line, n, sizeof line, values, n_values);
    if (draw(16) == 0)
        n = draw((uint32_t)n + 1); /* torn: the next one goes on in its line */
    if (length + n > MAX_LOG)
        return length;
    memcpy(log + length, line, n);
    return length + n;
}

static size_t make_log(char *log)
{
    size_t length = draw(8) == 0 ? 0 : strlen(policy_line);
    memcpy(log, policy_line, length);
    for (int i = 0; i < LINES_A_LOG; i++)
        length = add_line(log, length);
    return length;
}

/* What a reader says: all of it, or the line that is none. */
static void expect(error_code code, const failure *why)
{
    if (code == OK)
        return;
    assert_true(code == ERR_FORMAT || code == ERR_CONFIG || code == ERR_INVALID ||
                code == ERR_TOO_LARGE);
    assert_non_null(strchr(why->text, ':'));
}

static void test_mutated_logs(void **state)
{
    (void)state;
    size_t decided = 0, same = 0, torn = 0, refused = 0, requests = 0;
    char log[MAX_LOG], path[32];
    int fd = memfd_create("decisions", 0);
    assert_true(fd >= 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    for (long round = 0; round < rounds; round += LINES_A_LOG) {
        failure why = {0};
        redecided seen;
        task_list list = {.length = 0};
        size_t length = make_log(log);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, log, length, 0), length);
        error_code code = redecide_log(path, &seen, &why);
        expect(code, &why);
        assert_true(seen.same <= seen.decisions);
        assert_true(seen.same == seen.decisions || seen.first[0] != '\0');
        refused += code != OK;
        decided += seen.decisions;
        same += seen.same;
        torn += seen.torn;
        expect(trace_read(&list, path, &why), &why);
        requests += list.length;
        task_list_free(&list);
    }
    close(fd);
    printf("%ld lines: %zu decisions, %zu as they were, %zu torn, %zu files refused; as requests: "
           "%zu\n",
           rounds, decided, same, torn, refused, requests);
    assert_true(rounds < 1000 || (same > 0 && torn > 0 && refused > 0 && requests > 0));
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 12000);
    log_set_level(LOG_ERROR); /* not every torn line */
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mutated_logs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
