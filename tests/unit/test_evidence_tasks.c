/*
 * Labelled requests: reading traces in all their forms, the checkers, and what the sandbox keeps
 * code from.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "evidence/answer.h"
#include "evidence/checker.h"
#include "evidence/sandbox.h"
#include "evidence/trace.h"

/* ---- checkers ----------------------------------------------------------------------------- */

static checker *judge;

static bool is_right(const char *check, const char *answer)
{
    failure fail;
    bool right = false;
    json_t *c = json_loads(check, 0, NULL);
    assert_non_null(c);
    if (check_validate(c, &fail) != OK)
        fail_msg("%s", fail.text);
    if (checker_check(judge, c, answer, &right, &fail) != OK)
        fail_msg("%s", fail.text);
    json_decref(c);
    return right;
}

static void exact_answers(void **state)
{
    (void)state;
    assert_true(is_right("{\"type\":\"exact\",\"value\":\"Bern\"}", " Bern\n"));
    assert_false(is_right("{\"type\":\"exact\",\"value\":\"Bern\"}", "Berne"));
    assert_false(is_right("{\"type\":\"exact\",\"value\":\"Bern\"}", ""));
    assert_true(is_right("{\"type\":\"exact\",\"value\":[\"one\",\"one season\"]}", "one season"));
    assert_false(is_right("{\"type\":\"exact\",\"value\":[\"one\",\"one season\"]}", "season"));
}

static void numbers(void **state)
{
    (void)state;
    const char *check = "{\"type\":\"number\",\"value\":\"1,234\"}";
    assert_true(is_right(check, "1000+234=1234. The answer is 1234."));
    assert_true(is_right(check, "It is $1,234.00!"));
    assert_false(is_right(check, "1234 or 1235"));
    assert_false(is_right(check, "no idea"));
    assert_true(is_right("{\"type\":\"number\",\"value\":-5}", "the result is -5"));
    assert_false(is_right("{\"type\":\"number\",\"value\":5}", "the result is -5"));
    assert_true(is_right("{\"type\":\"final_number\",\"value\":\"0.5\"}", "so 0.50."));
}

static void choices(void **state)
{
    (void)state;
    const char *check = "{\"type\":\"choice\",\"value\":\"B\"}";
    assert_true(is_right(check, "B"));
    assert_true(is_right(check, "(B) because A is wrong"));
    assert_true(is_right(check, "A cat sleeps, so the answer is B."));
    assert_true(is_right(check, "答案：B"));
    assert_true(is_right(check, "Neither A nor C. I take B"));
    assert_false(is_right(check, "C, not B"));
    assert_false(is_right(check, "Because"));
}

static void words(void **state)
{
    (void)state;
    const char *check = "{\"type\":\"contains\",\"value\":[\"The Eiffel Tower\",\"14 July\"]}";
    assert_true(is_right(check, "It's the Eiffel  tower!"));
    assert_true(is_right(check, "on July 4, no: on 14 July."));
    assert_false(is_right(check, "the Eiffel"));
    assert_false(is_right(check, "Eiffel a big tower")); /* "a" alone is no word */
    assert_false(is_right(check, "114 July"));
    assert_false(is_right(check, ""));
    assert_true(is_right("{\"type\":\"contains\",\"value\":\"Zürich\"}", "In Zürich."));
    assert_false(is_right("{\"type\":\"contains\",\"value\":\"?!\"}", "any thing ?!"));
}

static void json_answers(void **state)
{
    (void)state;
    const char *check = "{\"type\":\"json\",\"value\":{\"a\":[1,{\"b\":null}],\"c\":\"d\"}}";
    assert_true(is_right(check, "{\"c\": \"d\", \"a\": [1.0, {\"b\": null}]}"));
    assert_true(is_right(check, "Here:\n```json\n{\"a\":[1,{\"b\":null}],\"c\":\"d\"}\n```\nSo."));
    assert_false(is_right(check, "{\"c\": \"d\", \"a\": [1, {\"b\": null}], \"e\": 1}"));
    assert_false(is_right(check, "{\"c\": \"d\", \"a\": [1, {}]}"));
    assert_false(is_right(check, "{\"c\": \"d\", \"a\": [1, {\"b\": null}, 2]}"));
    assert_false(is_right(check, "{\"c\": \"d\""));
    assert_false(is_right(check, ""));
    assert_true(is_right("{\"type\":\"json\",\"value\":null}", " null "));
    assert_true(is_right("{\"type\":\"json\",\"value\":\"x\"}", "\"x\""));
    assert_false(is_right("{\"type\":\"json\",\"value\":true}", "1"));
}

static bool agree(const char *one, const char *other)
{
    failure fail;
    bool same = false, turned = false;
    assert_int_equal(answers_agree(one, other, &same, &fail), OK);
    assert_int_equal(answers_agree(other, one, &turned, &fail), OK);
    assert_true(same == turned);
    return same;
}

static void agreement(void **state)
{
    (void)state;
    assert_true(agree("```python\nf = 1\n```", "Thus:\n```\nf=1```"));
    assert_false(agree("```python\nf = 1\n```", "```python\nf = 11\n```"));
    assert_true(agree("3 + 4 is 7.", "The answer is 7.00"));
    assert_false(agree("It is 7", "It is 8"));
    assert_true(agree("The Bern.", "bern"));
    assert_false(agree("Bern", "Basel"));
    assert_false(agree("Bern", "Bern in 1848"));
    assert_true(agree("", ""));
}

static void code_is_run(void **state)
{
    (void)state;
    const char *call = "{\"type\":\"python\",\"call\":[[\"f(2)\",\"4\"],[\"f(3)\",\"9\"]]}";
    assert_true(is_right(call, "def f(x):\n    return x * x"));
    assert_true(is_right(call, "Sure:\n```python\ndef f(x):\n    return x ** 2\n```\nDone."));
    assert_true(is_right(call, "```\npython\ndef f(x):\n    return x ** 2\n```"));
    assert_false(is_right(call, "def f(x):\n    return 2 * x"));
    assert_false(is_right(call, "def f(x:\n"));
    const char *reference = "{\"type\":\"python\",\"reference\":\"def f(x):\\n    return [x]\","
                            "\"call\":[\"f('a')\"]}";
    assert_true(is_right(reference, "def f(q):\n    return list(q)"));
    assert_false(is_right(reference, "def f(q):\n    return q"));
    const char *humaneval =
        "{\"type\":\"python\",\"prompt\":\"import math\\ndef root(x):\\n    \\\"\\\"\\\"Square "
        "root.\\\"\\\"\\\"\\n\",\"test\":\"def check(candidate):\\n    assert candidate(9) == "
        "3\\n\",\"entry_point\":\"root\"}";
    assert_true(is_right(humaneval, "    return math.sqrt(x)\n"));
    assert_true(is_right(humaneval, "def root(x):\n    return math.isqrt(x)\n"));
    assert_false(is_right(humaneval, "    return x\n"));
}

/* ---- the sandbox -------------------------------------------------------------------------- */

#define ANY_CODE "{\"type\":\"python\",\"call\":[[\"f()\",\"1\"]]}"

static void sandbox_denies(void **state)
{
    (void)state;
    assert_true(is_right(ANY_CODE, "def f(): return 1"));
    /* 1 only where the deed was refused. */
    const char *tried = "import ctypes, fcntl, os, resource, socket, signal, threading\n"
                        "def f():\n"
                        "    try:\n"
                        "        %s\n"
                        "    except (PermissionError, BlockingIOError):\n"
                        "        return 1\n";
    const char *const deeds[] = {
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "os.kill(os.getppid(), signal.SIGKILL)",
        "os.setsid()",
        "os.setpgid(0, 0)",
        "os.kill(1, 0)",
        "open('/proc/1/mem', 'rb')",
        "resource.prlimit(os.getpid(), resource.RLIMIT_CPU, (9, 9))",
        "signal.pthread_kill(threading.get_ident(), 0)",
        "fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())",
        "fcntl.fcntl(os.pipe()[0], fcntl.F_SETFL, os.O_ASYNC)",
        "fcntl.ioctl(os.pipe()[0], 0x5452, b'\\1\\0\\0\\0')", /* FIOASYNC */
#ifdef __x86_64__ /* fcntl is 72 there: F_SETOWN, as the kernel reads it */
        ("assert ctypes.CDLL(None, use_errno=True).syscall(72, 0, ctypes.c_long((1 << 32) + 8), "
         "os.getpid()) < 0; raise OSError(ctypes.get_errno(), '')"),
#endif
    };
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        char source[512];
        snprintf(source, sizeof source, tried, deeds[i]);
        if (!is_right(ANY_CODE, source))
            fail_msg("not refused: %s", deeds[i]);
    }
    assert_true(is_right(ANY_CODE, "import os\ndef f(): return int(os.listdir('.') == [])"));
}

static void sandbox_survives(void **state)
{
    (void)state;
    assert_false(is_right(ANY_CODE, "import os\ndef f(): os._exit(0)"));
    assert_false(is_right(ANY_CODE, "import sys\nsys.exit(0)"));
    assert_false(is_right(ANY_CODE, "print('1')"));
    assert_false(is_right(ANY_CODE, "def f(): return len(bytearray(4 << 30))"));
    assert_false(is_right(ANY_CODE, "import os\nfor fd in range(3, 64):\n    try: os.write(fd, "
                                    "b'x 1')\n    except OSError: pass\nos._exit(0)"));
    assert_true(is_right(ANY_CODE, "def f(): return 1"));
}

static bool passes(sandbox *s, const char *answer)
{
    failure fail;
    bool passed = true;
    json_t *job = json_pack("{s:s, s:[[s, s]]}", "answer", answer, "call", "f()", "1");
    assert_int_equal(sandbox_run(s, job, &passed, &fail), OK);
    json_decref(job);
    return passed;
}

/* Each limit is met with the other far away. */
static void sandbox_ends(void **state)
{
    (void)state;
    const char *const endless[] = {"import time\ntime.sleep(60)", "while True: pass"};
    for (size_t i = 0; i < 2; i++) {
        failure fail;
        sandbox *s;
        sandbox_limits limits = sandbox_defaults();
        limits.cpu_seconds = i == 0 ? 60 : 1;
        limits.wall_seconds = i == 0 ? 5 : 60; /* python3 itself has to start in it */
        assert_int_equal(sandbox_create(&s, &limits, &fail), OK);
        double start = clock_ms();
        assert_false(passes(s, endless[i]));
        assert_true(clock_ms() - start < 50e3);
        assert_true(passes(s, "def f(): return 1"));
        sandbox_destroy(s);
    }
}

static void bad_checks(void **state)
{
    (void)state;
    const char *const bad[] = {
        "{}",
        "{\"type\":\"telepathy\"}",
        "{\"type\":\"exact\"}",
        "{\"type\":\"exact\",\"value\":[]}",
        "{\"type\":\"exact\",\"value\":[1]}",
        "{\"type\":\"number\",\"value\":\"many\"}",
        "{\"type\":\"choice\",\"value\":\"b\"}",
        "{\"type\":\"contains\"}",
        "{\"type\":\"contains\",\"value\":[1]}",
        "{\"type\":\"json\"}",
        "{\"type\":\"python\"}",
        "{\"type\":\"python\",\"call\":[]}",
        "{\"type\":\"python\",\"call\":[\"f()\"]}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        failure fail;
        json_t *c = json_loads(bad[i], 0, NULL);
        assert_int_equal(check_validate(c, &fail), ERR_FORMAT);
        json_decref(c);
    }
}

/* ---- traces ------------------------------------------------------------------------------- */

static error_code read_text(task_list *list, const char *text, failure *fail)
{
    char path[] = "/tmp/a-io-trace-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    error_code code = trace_read(list, path, fail);
    unlink(path);
    return code;
}

static void forms_of_a_trace(void **state)
{
    (void)state;
    failure fail;
    task_list list = {.items = NULL};
    const char *text =
        "{\"id\":\"a\",\"domain\":\"qa\",\"prompt\":\"Who?\",\"answer\":[\"I\",\"me\"],"
        "\"arrival_ms\":12.5,\"max_tokens\":7}\n"
        "\n"
        "{\"domain\":\"math\",\"messages\":[{\"role\":\"system\",\"content\":\"s\"},{\"role\":"
        "\"user\",\"content\":\"1+1?\"}],\"answer\":\"2\"}\n"
        "{\"task_id\":\"HumanEval/0\",\"prompt\":\"def f():\\n\",\"entry_point\":\"f\",\"test\":"
        "\"def check(c): pass\",\"canonical_solution\":\"\"}\n"
        "{\"question\":\"How many?\",\"answer\":\"2*3=<<2*3=6>>6\\n#### 6\"}\n"
        "{\"id\":\"long-1\",\"task\":\"long\",\"intent\":\"code\",\"prompt\":\"p\",\"expected\":"
        "\"e\",\"check\":{\"type\":\"exact\",\"value\":\"e\"}}";
    if (read_text(&list, text, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(list.length, 5);
    const task *t = list.items;
    assert_string_equal(t[0].id, "a");
    assert_string_equal(t[0].kind, "qa");
    assert_true(t[0].arrival_ms == 12.5);
    assert_int_equal(t[0].max_tokens, 7);
    assert_string_equal(json_string_value(json_object_get(t[0].check, "type")), "exact");
    assert_int_equal(t[1].n_messages, 2);
    assert_string_equal(t[1].id, "line-3");
    assert_string_equal(json_string_value(json_object_get(t[1].check, "type")), "number");
    assert_true(t[1].arrival_ms < 0);
    assert_string_equal(t[2].id, "HumanEval/0");
    assert_string_equal(t[2].intent, "code");
    assert_string_equal(t[3].kind, "math");
    assert_string_equal(t[3].messages[0].content, "How many?");
    assert_string_equal(t[4].kind, "long");
    assert_string_equal(t[4].intent, "code");
    task_list_free(&list);
}

#define LOGGED(id, time, label, prompt, tokens, finish)                                            \
    "{\"type\":\"decision\",\"time\":" time ",\"id\":\"" id "\",\"facts\":{\"intent\":" label      \
    "},\"plan\":{},\"prompt\":" prompt ",\"receipt\":{\"overhead\":{\"total_ms\":100},\"reply\":"  \
    "{\"queue_ms\":50,\"prefill_ms\":150,\"decode_ms\":200,\"reply_tokens\":" tokens               \
    "}},\"outcome\":{\"state\":\"finished\",\"finish_reason\":\"" finish "\"}}\n"
#define SAID(text) "{\"text\":[{\"role\":\"user\",\"content\":\"" text "\"}]}"

static void a_decision_log(void **state)
{
    (void)state;
    failure fail;
    task_list list = {.items = NULL};
    const char *policy = "{\"type\":\"policy\",\"policy\":{}}\n";
    char text[4096];
    snprintf(text, sizeof text, "%s%s%s", policy,
             LOGGED("late", "1000.75", "{\"label\":\"qa\"}", SAID("second"), "9", "stop"),
             LOGGED("early", "1000.8125", "null", SAID("first"), "7", "length"));
    /* What arrived first ended last. */
    char *at = strstr(text, "1000.8125");
    at = strstr(at, "\"decode_ms\":200");
    memcpy(at, "\"decode_ms\":900", strlen("\"decode_ms\":900"));
    if (read_text(&list, text, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(list.length, 2);
    assert_string_equal(list.items[0].id, "early");
    assert_string_equal(list.items[0].kind, "unprobed");
    assert_null(list.items[0].intent);
    assert_string_equal(list.items[0].messages[0].content, "first");
    assert_int_equal(list.items[0].max_tokens, 7);
    assert_true(list.items[0].arrival_ms == 0);
    assert_string_equal(list.items[1].kind, "qa");
    assert_int_equal(list.items[1].max_tokens, 0);
    assert_true(fabs(list.items[1].arrival_ms - 637.5) < 1e-6);
    task_list_free(&list);
}

static void bad_traces(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "no request"},
        {"[1]", ":1: a JSON object"},
        {"{\"domain\":\"qa\",\"prompt\":\"a\"}\n{", ":2: not JSON"},
        {"{\"prompt\":\"a\"}", "\"domain\" is needed"},
        {"{\"domain\":\"qa\"}", "exactly one of"},
        {"{\"domain\":\"qa\",\"prompt\":\"a\",\"arival_ms\":1}", "arival_ms"},
        {"{\"domain\":\"qa\",\"prompt\":\"a\",\"arrival_ms\":-1}", "arrival_ms"},
        {"{\"domain\":\"qa\",\"prompt\":\"a\",\"max_tokens\":0}", "max_tokens"},
        {"{\"domain\":\"qa\",\"messages\":[{\"role\":\"user\"}]}", "messages[0]"},
        {"{\"domain\":\"qa\",\"messages\":[]}", "messages"},
        {"{\"domain\":\"qa\",\"prompt\":\"a\",\"check\":{\"type\":\"x\"}}", "type"},
        {"{\"question\":\"q\",\"answer\":\"6\"}", "####"},
        {"{\"task_id\":\"H/0\",\"prompt\":\"p\"}", "entry_point"},
        {LOGGED("a", "1.5", "null", "{\"sha256\":\"00\"}", "1", "stop"), "prompts: text"},
        {LOGGED("a", "1.5", "null", "{\"raw\":\"x\"}", "1", "stop"), "raw prompt"},
        {LOGGED("a", "1.5", "null", "{\"text\":3}", "1", "stop"), "messages"},
        {"{\"type\":\"decision\"}", "\"id\""},
        {"{\"type\":\"policy\"}", "no request"},
        {"{\"type\":\"policy\"}\n{\"domain\":\"qa\",\"prompt\":\"a\"}", "one file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        failure fail = {.code = OK};
        task_list list = {.items = NULL};
        assert_int_equal(read_text(&list, cases[i].text, &fail), ERR_FORMAT);
        if (strstr(fail.text, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].text, fail.text);
        task_list_free(&list);
    }
    failure fail;
    task_list list = {.items = NULL};
    assert_int_equal(trace_read(&list, "/nonexistent.jsonl", &fail), ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_answers),    cmocka_unit_test(numbers),
        cmocka_unit_test(choices),          cmocka_unit_test(words),
        cmocka_unit_test(json_answers),     cmocka_unit_test(agreement),
        cmocka_unit_test(code_is_run),      cmocka_unit_test(sandbox_denies),
        cmocka_unit_test(sandbox_survives), cmocka_unit_test(sandbox_ends),
        cmocka_unit_test(bad_checks),       cmocka_unit_test(forms_of_a_trace),
        cmocka_unit_test(a_decision_log),   cmocka_unit_test(bad_traces),
    };
    failure fail;
    if (checker_create(&judge, &fail) != OK)
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    checker_destroy(judge);
    return failed;
}
