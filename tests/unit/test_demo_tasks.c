/*
 * The built-in tasks: what the committed file holds, what is refused of others, and drawing
 * scenarios from it. That the file is what its script makes: tests/e2e/tasks.test.mjs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "evidence/checker.h"
#include "evidence/demo_tasks.h"
#include "evidence/scenario.h"
#include "model/model.h"

#define SMALL_CONTEXT 320 /* tokens */
#define LARGE_CONTEXT 640
#define ANSWER 60 /* tokens that the longest answer takes */

static task_list built_in;

static int read_built_in(void **state)
{
    failure fail;
    (void)state;
    if (demo_tasks_read(&built_in, NULL, &fail) == OK)
        return 0;
    print_error("%s\n", fail.text);
    return -1;
}

static int free_built_in(void **state)
{
    (void)state;
    task_list_free(&built_in);
    return 0;
}

static const char *prompt_of(const task *t)
{
    return t->messages[0].content;
}

static int by_prompt(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool all_differ(const task_list *list)
{
    bool differ = true;
    const char **prompts = calloc(list->length, sizeof *prompts);
    assert_non_null(prompts);
    for (size_t i = 0; i < list->length; i++)
        prompts[i] = prompt_of(&list->items[i]);
    qsort(prompts, list->length, sizeof *prompts, by_prompt);
    for (size_t i = 1; i < list->length; i++)
        differ = differ && strcmp(prompts[i - 1], prompts[i]) != 0;
    free(prompts);
    return differ;
}

static size_t count_kind(const task_list *list, const char *kind)
{
    size_t n = 0;
    for (size_t i = 0; i < list->length; i++)
        n += strcmp(list->items[i].kind, kind) == 0;
    return n;
}

/* ---- the file ------------------------------------------------------------------------------ */

static void what_it_holds(void **state)
{
    (void)state;
    failure fail;
    assert_int_equal(count_kind(&built_in, "code"), 1400);
    assert_int_equal(count_kind(&built_in, "qa"), 1000);
    assert_int_equal(count_kind(&built_in, "math"), 600);
    assert_int_equal(count_kind(&built_in, "long"), 1000);
    assert_int_equal(built_in.length, 4000);
    assert_true(all_differ(&built_in));
    for (size_t i = 0; i < built_in.length; i++) {
        const task *t = &built_in.items[i];
        bool is_long = strcmp(t->kind, "long") == 0;
        assert_string_equal(t->intent, is_long ? "code" : t->kind);
        assert_int_equal(check_validate(t->check, &fail), OK);
    }
}

static void long_ones_are_too_long_for_the_small_model(void **state)
{
    (void)state;
    failure fail;
    model *m;
    token_list ids = {.ids = NULL};
    const model_options options = {.chat_template = NULL};
    assert_int_equal(model_load(&m, "models/demo/small.gguf", &options, &fail), OK);
    for (size_t i = 0; i < built_in.length; i++) {
        const char *prompt = prompt_of(&built_in.items[i]);
        ids.length = 0;
        assert_int_equal(
            tokenizer_encode(m->tokenizer, prompt, strlen(prompt), false, true, &ids, &fail), OK);
        if (strcmp(built_in.items[i].kind, "long") == 0)
            assert_in_range(ids.length, SMALL_CONTEXT + 1, LARGE_CONTEXT - ANSWER);
        else
            assert_in_range(ids.length, 1, SMALL_CONTEXT / 2);
    }
    token_list_free(&ids);
    model_destroy(m);
}

static void references_pass_their_own_check(void **state)
{
    (void)state;
    failure fail;
    checker *judge;
    assert_int_equal(checker_create(&judge, &fail), OK);
    for (size_t i = 0, done = 0; done < 60; i++) {
        const json_t *check = built_in.items[i].check;
        const char *reference = json_string_value(json_object_get(check, "reference"));
        bool right;
        if (reference == NULL)
            continue;
        assert_int_equal(checker_check(judge, check, reference, &right, &fail), OK);
        assert_true(right);
        assert_int_equal(checker_check(judge, check, "def f(): pass", &right, &fail), OK);
        assert_false(right);
        done++;
    }
    checker_destroy(judge);
}

#define CODE                                                                                       \
    "{\"id\":\"a\",\"task\":\"code\",\"prompt\":\"p\",\"check\":{\"type\":\"exact\",\"value\":"    \
    "\"e\"}}\n"

static void bad_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"{\"text\":\"t\"", ":1: not JSON"},
        {CODE "[1]\n", ":2: id, task and prompt"},
        {"{\"id\":\"a\",\"task\":\"code\",\"prompt\":\"p\"}\n", ":1: "},
        {"{\"id\":\"a\",\"task\":\"code\",\"prompt\":7,\"check\":{}}\n", ":1: id, task and prompt"},
        {"{\"id\":\"b\",\"of\":\"a\",\"after\":[]}\n" CODE, ":1: id, and \"of\""},
        {CODE "{\"of\":\"a\",\"after\":[]}\n", ":2: id, and \"of\""},
        {CODE "{\"id\":\"b\",\"of\":7,\"after\":[]}\n", ":2: id, and \"of\""},
        {CODE "{\"id\":\"b\",\"of\":\"a\",\"after\":[0]}\n", ":2: after[0]"},
        {"{\"text\":\"t\"}\n" CODE "{\"id\":\"b\",\"of\":\"a\",\"after\":[0,1]}\n", ":3: after[1]"},
        {"{\"text\":\"t\"}\n" CODE "{\"id\":\"b\",\"of\":\"a\",\"after\":[-1]}\n", ":3: after[0]"},
        {"{\"text\":\"t\"}\n" CODE "{\"id\":\"b\",\"of\":\"a\",\"after\":[\"0\"]}\n",
         ":3: after[0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[] = "/tmp/a-io-tasks-XXXXXX";
        failure fail = {.code = OK};
        task_list list = {.items = NULL};
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
        close(fd);
        assert_int_equal(demo_tasks_read(&list, path, &fail), ERR_FORMAT);
        if (strstr(fail.text, cases[i].message) == NULL)
            fail_msg("%s: %s", cases[i].text, fail.text);
        task_list_free(&list);
        unlink(path);
    }
    failure fail;
    task_list list = {.items = NULL};
    assert_int_equal(demo_tasks_read(&list, "/nonexistent.jsonl", &fail), ERR_NOT_FOUND);
}

/* ---- drawing ------------------------------------------------------------------------------- */

static error_code draw(const char *name, size_t n, uint64_t seed, scenario_half half,
                       task_list *out, failure *fail)
{
    const scenario *s;
    assert_int_equal(scenario_find(&s, name, fail), OK);
    const scenario_draw_options options = {.n = n, .seed = seed, .half = half, .pool = &built_in};
    return scenario_draw(s, &options, out, fail);
}

static bool equal(const task_list *a, const task_list *b)
{
    bool same = a->length == b->length;
    for (size_t i = 0; same && i < a->length; i++)
        same = strcmp(a->items[i].id, b->items[i].id) == 0 &&
               strcmp(prompt_of(&a->items[i]), prompt_of(&b->items[i])) == 0;
    return same;
}

static void drawn_by_seed(void **state)
{
    (void)state;
    failure fail;
    static const char *const names[] = {"A", "B", "C"};
    for (size_t i = 0; i < 3; i++) {
        task_list first = {.items = NULL}, again = {.items = NULL}, other = {.items = NULL};
        assert_int_equal(draw(names[i], 200, 1, BOTH_HALVES, &first, &fail), OK);
        assert_int_equal(draw(names[i], 200, 1, BOTH_HALVES, &again, &fail), OK);
        assert_int_equal(draw(names[i], 200, 2, BOTH_HALVES, &other, &fail), OK);
        assert_int_equal(first.length, 200);
        assert_true(all_differ(&first) && all_differ(&other));
        assert_true(equal(&first, &again));
        assert_false(equal(&first, &other));
        task_list_free(&first);
        task_list_free(&again);
        task_list_free(&other);
    }
}

static void shares_and_halves(void **state)
{
    (void)state;
    failure fail;
    task_list both = {.items = NULL};
    assert_int_equal(draw("A", 400, 1, FIRST_HALF, &both, &fail), OK);
    assert_int_equal(count_kind(&both, "code"), 280);
    assert_int_equal(count_kind(&both, "qa"), 80);
    assert_int_equal(count_kind(&both, "math"), 40);
    assert_int_equal(draw("A", 400, 7, SECOND_HALF, &both, &fail), OK);
    assert_int_equal(both.length, 800);
    assert_true(all_differ(&both));
    task_list_free(&both);
}

static void no_more_than_there_are(void **state)
{
    (void)state;
    failure fail;
    task_list list = {.items = NULL};
    assert_int_equal(draw("A", 2000, 1, BOTH_HALVES, &list, &fail), OK);
    assert_int_equal(draw("B", 2000, 1, BOTH_HALVES, &list, &fail), OK);
    assert_int_equal(draw("C", 2000, 1, BOTH_HALVES, &list, &fail), OK);
    assert_int_equal(draw("A", 2010, 1, BOTH_HALVES, &list, &fail), ERR_INVALID);
    assert_string_equal(fail.text,
                        "the scenario needs 1407 tasks of the kind code; there are 1400");
    task_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_it_holds),
        cmocka_unit_test(long_ones_are_too_long_for_the_small_model),
        cmocka_unit_test(references_pass_their_own_check),
        cmocka_unit_test(bad_files),
        cmocka_unit_test(drawn_by_seed),
        cmocka_unit_test(shares_and_halves),
        cmocka_unit_test(no_more_than_there_are),
    };
    return cmocka_run_group_tests(tests, read_built_in, free_built_in);
}
