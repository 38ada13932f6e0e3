/* What a key may spend: the words for it, the calendar's windows, keys that are read again; and how
 * long a model's replies are expected to take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "orchestra/delay.h"
#include "server/budget_file.h"
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

static void write_whole(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
}

static keys *read_keys(const char *path, const char *text, const keys *before)
{
    keys *k;
    failure fail;
    write_whole(path, text);
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

/* A new key beside the old one is no new budget; a # within a key is the key's. */
static void test_two_keys_of_a_name(void **state)
{
    (void)state;
    char path[] = "/tmp/a-io-keys-XXXXXX";
    double wait_s;
    failure fail;
    key_holder *holder;
    close(mkstemp(path));
    keys *k = read_keys(path, "ann old budget=1/day # until May\nann n#w budget=1/day\n", NULL);
    assert_int_equal(enter(k, "n#w", &wait_s), KEY_TAKEN);
    assert_int_equal(keys_find(k, "n#w", &holder, &fail), OK);
    key_holder_spend(holder, 2);
    assert_int_equal(enter(k, "old", &wait_s), KEY_SPENT);
    assert_int_equal(enter(k, "n#w", &wait_s), KEY_SPENT);
    keys_release(k);
    write_whole(path, "ann old budget=1/day\nann new budget=1/hour\n");
    assert_int_equal(keys_create(&k, NULL, path, NULL, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "line 2: 'ann' has a budget of another window above"));
    unlink(path);
}

/* A name stands in errors, which are JSON, and in the file of what was spent. */
static void test_names(void **state)
{
    (void)state;
    char path[] = "/tmp/a-io-keys-XXXXXX";
    failure fail;
    close(mkstemp(path));
    keys_release(read_keys(path, "zo\xC3\xAB a budget=1/month\n", NULL));
    static const char *const wrong[] = {"zo\xEB a budget=1/month\n", "zo\xC3 a\n",
                                        "\xED\xA0\x80 a\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        keys *k;
        write_whole(path, wrong[i]);
        assert_int_equal(keys_create(&k, NULL, path, NULL, &fail), ERR_CONFIG);
        assert_non_null(strstr(fail.text, ", line 1: the name is not UTF-8"));
    }
    unlink(path);
}

static error_code open_budgets(const char *path, keys *k)
{
    budget_file *f;
    failure fail;
    error_code code = budget_file_open(&f, path, k, &fail);
    if (code == OK)
        budget_file_keep(f, k);
    if (code == OK)
        budget_file_close(f, k);
    return code;
}

/* What was spent before a restart is spent after it; of who has a key no more nothing is kept. */
static void test_file(void **state)
{
    (void)state;
    char folder[] = "/tmp/a-io-budget-XXXXXX", path[64], list[64];
    double wait_s;
    failure fail;
    budget_file *f;
    key_holder *ann;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/spent.json", folder);
    snprintf(list, sizeof list, "%s/keys", folder);
    keys *k = read_keys(list, "ann a budget=1/month\nbob b budget=1/month\ncarol c\n", NULL);
    assert_int_equal(budget_file_open(&f, path, k, &fail), OK);
    assert_int_equal(enter(k, "a", &wait_s), KEY_TAKEN);
    assert_int_equal(keys_find(k, "a", &ann, &fail), OK);
    key_holder_spend(ann, 2);
    budget_file_close(f, k);
    keys_release(k);

    k = read_keys(list, "ann other budget=1/month\nbob b budget=1/month\n", NULL);
    assert_int_equal(open_budgets(path, k), OK);
    assert_int_equal(enter(k, "other", &wait_s), KEY_SPENT);
    assert_int_equal(enter(k, "b", &wait_s), KEY_TAKEN);
    keys_release(k);
    k = read_keys(list, "bob b budget=1/month\n", NULL);
    assert_int_equal(open_budgets(path, k), OK);
    keys_release(k);
    k = read_keys(list, "ann a budget=1/month\n", NULL);
    assert_int_equal(open_budgets(path, k), OK);
    assert_int_equal(enter(k, "a", &wait_s), KEY_TAKEN);

    write_whole(path, ""); /* as a failure of the power may leave it */
    assert_int_equal(open_budgets(path, k), OK);
    static const char *const wrong[] = {" ",
                                        "{}",
                                        "[]",
                                        "{\"spent\": 3}",
                                        "{\"spent\": {\"ann\": 1}}",
                                        "{\"spent\": {\"x\": {\"since\": 1}}}",
                                        "{\"spent\": {\"x\": {\"since\": 1, \"amount\": -1}}}",
                                        "{\"spent\": {\"x\": {\"since\": 1.5, \"amount\": 1}}}"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_whole(path, wrong[i]);
        if (open_budgets(path, k) != ERR_CONFIG)
            fail_msg("%s is taken", wrong[i]);
    }
    assert_int_equal(open_budgets("/no/such/folder/x", k), ERR_IO);
    keys_release(k);
    unlink(path);
    unlink(list);
    rmdir(folder);
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
    l.running = 1;
    delay_note(&m, 25, 1e6 + 60e3); /* what is a minute old has a quarter of its weight */
    assert_true(delay_expected(&m, &l, 1e6 + 60e3) == 43.75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),   cmocka_unit_test(test_windows),
        cmocka_unit_test(test_account), cmocka_unit_test(test_keys_read_again),
        cmocka_unit_test(test_names),   cmocka_unit_test(test_two_keys_of_a_name),
        cmocka_unit_test(test_file),    cmocka_unit_test(test_delay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
