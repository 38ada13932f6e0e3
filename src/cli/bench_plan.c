/* bench_plan.c: from `--tests` and `--depth` to the list of tests. */
#include "cli/bench.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBERS = 64, MOST_TOKENS = 1 << 20 };

typedef struct number_list {
    size_t values[MAX_NUMBERS];
    size_t n;
} number_list;

static error_code add_number(number_list *list, size_t value, failure *fail)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->values[i] == value)
            return OK;
    if (list->n == MAX_NUMBERS)
        return failure_set(fail, ERR_INVALID, "more than %d numbers in one list", MAX_NUMBERS);
    list->values[list->n++] = value;
    return OK;
}

/* One decimal number at *at, which moves behind it. */
static bool take_number(const char **at, size_t most, size_t *out)
{
    if (!isdigit((unsigned char)**at))
        return false;
    char *end;
    unsigned long long value = strtoull(*at, &end, 10);
    *at = end;
    *out = (size_t)value;
    return value <= most;
}

/* "N" or "N-M" at *at. */
static error_code take_range(const char **at, const char *option, size_t least, size_t most,
                             number_list *list, failure *fail)
{
    const char *start = *at;
    size_t first = 0, last;
    bool valid = take_number(at, most, &first);
    last = first;
    if (valid && **at == '-') {
        ++*at;
        valid = take_number(at, most, &last);
    }
    if (!valid || first < least || last < first || (**at != ',' && **at != '\0'))
        return failure_set(fail, ERR_INVALID,
                           "%s: '%.40s' must begin with a number or a range from %zu to %zu",
                           option, start, least, most);
    error_code code = OK;
    for (size_t value = first; code == OK && value <= last; value++)
        code = add_number(list, value, fail);
    return code;
}

static error_code parse_depths(const char *text, number_list *depths, failure *fail)
{
    if (text == NULL)
        return add_number(depths, 0, fail);
    for (const char *at = text;; at++) {
        error_code code = take_range(&at, "--depth", 0, MOST_TOKENS, depths, fail);
        if (code != OK || *at == '\0')
            return code;
    }
}

static bool takes_depth(speed_kind kind)
{
    return kind == SPEED_DECODE || kind == SPEED_STEP;
}

static error_code take_kind(const char **at, speed_kind *kind, failure *fail)
{
    if (!isalpha((unsigned char)**at))
        return OK; /* goes on with the kind before */
    for (speed_kind k = 0; k < SPEED_KINDS; k++) {
        size_t length = strlen(speed_kind_name(k));
        if (strncmp(*at, speed_kind_name(k), length) == 0 && (*at)[length] == ':') {
            *at += length + 1;
            *kind = k;
            return OK;
        }
    }
    return failure_set(fail, ERR_INVALID,
                       "--tests: '%.40s' must begin with prefill:, decode:, step: or probe:", *at);
}

typedef struct kind_numbers {
    number_list of[SPEED_KINDS];
    speed_kind order[SPEED_KINDS]; /* as they first appear */
    size_t n_order;
} kind_numbers;

static error_code parse_tests(const char *text, kind_numbers *numbers, failure *fail)
{
    speed_kind kind = SPEED_KINDS;
    for (const char *at = text;; at++) {
        error_code code = take_kind(&at, &kind, fail);
        if (code != OK)
            return code;
        if (kind == SPEED_KINDS)
            return failure_set(fail, ERR_INVALID,
                               "--tests '%.40s': must be like decode:64,step:1-8", text);
        if (numbers->of[kind].n == 0)
            numbers->order[numbers->n_order++] = kind;
        code = take_range(&at, "--tests", 1, kind == SPEED_STEP ? STEP_MAX_ROWS : MOST_TOKENS,
                          &numbers->of[kind], fail);
        if (code != OK || *at == '\0')
            return code;
    }
}

static error_code add_group(bench_plan *plan, speed_kind kind, size_t depth,
                            const number_list *numbers, failure *fail)
{
    for (size_t i = 0; i < numbers->n; i++) {
        if (plan->n == BENCH_MAX_TESTS)
            return failure_set(fail, ERR_INVALID, "more than %d tests", BENCH_MAX_TESTS);
        plan->tests[plan->n++] = (speed_test){kind, numbers->values[i], depth};
    }
    return OK;
}

error_code bench_plan_parse(bench_plan *out, const char *tests, const char *depths, failure *fail)
{
    kind_numbers numbers = {0};
    number_list at_depths = {0};
    bool depth_used = depths == NULL;
    out->n = 0;
    error_code code = parse_tests(tests, &numbers, fail);
    if (code == OK)
        code = parse_depths(depths, &at_depths, fail);
    /* All groups of one depth, then those of the next, so that the KV is filled once a depth. */
    for (size_t j = 0; code == OK && j < at_depths.n; j++) {
        for (size_t i = 0; code == OK && i < numbers.n_order; i++) {
            speed_kind kind = numbers.order[i];
            depth_used = depth_used || takes_depth(kind);
            if (takes_depth(kind) || j == 0)
                code = add_group(out, kind, takes_depth(kind) ? at_depths.values[j] : 0,
                                 &numbers.of[kind], fail);
        }
    }
    if (code == OK && !depth_used)
        code = failure_set(fail, ERR_INVALID,
                           "--depth is for decode and step, which --tests '%s' "
                           "does not have",
                           tests);
    return code;
}

bool bench_plan_has(const bench_plan *plan, const speed_test *test)
{
    for (size_t i = 0; i < plan->n; i++) {
        const speed_test *t = &plan->tests[i];
        if (t->kind == test->kind && t->n == test->n && t->depth == test->depth)
            return true;
    }
    return false;
}

size_t bench_plan_cut(bench_plan *plan, size_t context)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->n; i++)
        if (speed_test_positions(&plan->tests[i]) <= context)
            plan->tests[kept++] = plan->tests[i];
    size_t gone = plan->n - kept;
    plan->n = kept;
    return gone;
}

size_t bench_plan_positions(const bench_plan *plan)
{
    size_t most = 0;
    for (size_t i = 0; i < plan->n; i++)
        if (speed_test_positions(&plan->tests[i]) > most)
            most = speed_test_positions(&plan->tests[i]);
    return most;
}

size_t bench_plan_group_end(const bench_plan *plan, size_t first)
{
    size_t end = first + 1;
    while (end < plan->n && plan->tests[end].kind == plan->tests[first].kind &&
           plan->tests[end].depth == plan->tests[first].depth)
        end++;
    return end;
}
