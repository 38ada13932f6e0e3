/* What a key may spend: the words for it, the calendar's windows, keys that are read again; and how
 * long a model's replies are expected to take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "orchestra/delay.h"
#include "server/keys.h"

static void test_words(void **state)
{
    (void)state;
    budget b;
    assert_true(budget_parse("2.50/day", &b) && b.amount == 2.5 && b.window == BUDGET_DAY);
    assert_true(budget_parse("1/hour", &b) && b.window == BUDGET_HOUR);
    assert_true(budget_parse("1000000000/month", &b) && b.window == BUDGET_MONTH);
    static const char *const wrong[] = {
        "",        "5",       "/day",   "0/day",  "-1/day",          "1e3/day",
        "nan/day", "5/Day",   "5/days", "5/week", "5 /day",          "1.2.3/day",
        "./day",   "inf/day", "5/",     "5day",   "1000000001/month"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        if (budget_parse(wrong[i], &b))
            fail_msg("%s is taken", wrong[i]);
}

static void check_bounds(budget_window w, time_t now, time_t begin, time_t end)
{
    time_t from, to;
    budget_bounds(w, now, &from, &to);
    assert_int_equal(from, begin);
    assert_int_equal(to, end);
}

static void test_windows(void **state)
{
    (void)state;
    const time_t now = 1740700000; /* 2025-02-27 23:46:40 UTC */
    check_bounds(BUDGET_HOUR, now, 1740697200, 1740700800);
    check_bounds(BUDGET_DAY, now, 1740614400, 1740700800);
    check_bounds(BUDGET_MONTH, now, 1738368000, 1740787200);        /* February has 28 days */
    check_bounds(BUDGET_MONTH, 1735689599, 1733011200, 1735689600); /* the year's last second */
}

static void test_account(void **state)
{
    (void)state;
    const budget b = {.amount = 1, .window = BUDGET_HOUR};
    double wait_s;
    budget_account *a = budget_account_create();
    assert_true(budget_account_has(a, &b, 7200, &wait_s));
    budget_account_spend(a, 0.75);
    assert_true(budget_account_has(a, &b, 7300, &wait_s));
    budget_account_spend(a, 0.5); /* a request that was under way may exceed it */
    assert_false(budget_account_has(a, &b, 7300, &wait_s));
    assert_true(wait_s == 3500);
    assert_true(budget_account_has(a, &b, 10800, &wait_s)); /* the next hour */
    budget_account_release(a);
}

static keys *read_keys(const char *path, const char *text, const keys *before)
{
    keys *k;
    failure fail;
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    if (keys_create(&k, NULL, path, before, &fail) != OK)
        fail_msg("%s", fail.text);
    return k;
}

static key_verdict enter(keys *k, const char *key, double *wait_s)
{
    key_holder *h;
    failure fail;
    assert_int_equal(keys_find(k, key, &h, &fail), OK);
    key_verdict verdict = key_holder_enter(h, 1000, wait_s);
    if (verdict == KEY_TAKEN)
        key_holder_leave(h);
    return verdict;
}

/* What was spent is spent, whatever file says so and whoever of the two sets is told. */
static void test_keys_read_again(void **state)
{
    (void)state;
    char path[] = "/tmp/a-io-keys-XXXXXX";
    double wait_s;
    failure fail;
    key_holder *old;
    close(mkstemp(path));
    keys *first = read_keys(path, "ann a budget=1/month\nbob b\n", NULL);
    assert_true(keys_have_budgets(first));
    assert_int_equal(enter(first, "a", &wait_s), KEY_TAKEN);
    assert_int_equal(keys_find(first, "a", &old, &fail), OK);
    keys *second = read_keys(path, "ann other budget=1/month\nbob b budget=1/month\n", first);
    key_holder_spend(old, 2); /* of a request that the first set let in */
    assert_int_equal(enter(second, "other", &wait_s), KEY_SPENT);
    assert_true(wait_s > 0 && wait_s <= 31 * 86400.0);
    assert_int_equal(enter(second, "b", &wait_s), KEY_TAKEN);
    keys_release(first);
    keys *third = read_keys(path, "ann other budget=3/month\n", second);
    keys_release(second);
    assert_int_equal(enter(third, "other", &wait_s), KEY_TAKEN); /* more may be spent now */
    keys_release(third);
    unlink(path);
}

static void test_delay(void **state)
{
    (void)state;
    delay_meter m = {0};
    backend_load l = {.slots = 2, .running = 1, .retry_after_s = 3};
    assert_true(delay_expected(&m, &l, 1e6) == 0);
    delay_note(&m, 100, 1e6);
    assert_true(delay_expected(&m, &l, 1e6) == 100);
    delay_note(&m, 200, 1e6);
    assert_true(delay_expected(&m, &l, 1e6) == 125);
    assert_true(delay_expected(&m, &l, 1e6 + 30e3) == 62.5); /* half a minute without news */
    l.running = 2;
    assert_true(delay_expected(&m, &l, 1e6) == 3125); /* and a place must become free */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),   cmocka_unit_test(test_windows),
        cmocka_unit_test(test_account), cmocka_unit_test(test_keys_read_again),
        cmocka_unit_test(test_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
