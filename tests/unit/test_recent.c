/* What was recent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "orchestra/recent.h"

static recent_key key_of(size_t n)
{
    recent_key k = {{0}};
    k.digest[0] = (uint8_t)(n % 3); /* so that buckets are shared */
    memcpy(k.digest + 8, &n, sizeof n);
    return k;
}

static void store(recent *r, size_t n)
{
    recent_key key = key_of(n);
    recent_store(r, &key, &n);
}

static void test_least_recently_used(void **state)
{
    (void)state;
    recent *r;
    size_t value = 0;
    assert_int_equal(recent_create(&r, 5, sizeof value, NULL), OK);
    for (size_t i = 0; i < 5; i++)
        store(r, i);
    recent_key first = key_of(0), next = key_of(5), second = key_of(1);
    assert_true(recent_find(r, &first, &value)); /* used again: the second is the oldest */
    value = 50;
    recent_store(r, &next, &value);
    assert_false(recent_find(r, &second, &value));
    assert_true(recent_find(r, &first, &value) && value == 0);
    assert_true(recent_find(r, &next, &value) && value == 50);
    value = 51;
    recent_store(r, &next, &value); /* replaces */
    value = 0;
    assert_true(recent_find(r, &next, &value) && value == 51);
    recent_destroy(r);
}

/* Against a table that is simply searched. */
static void test_random_use(void **state)
{
    (void)state;
    enum { CAPACITY = 7, KEYS = 20 };
    struct {
        size_t value, used;
    } known[KEYS] = {{0, 0}};
    recent *r;
    assert_int_equal(recent_create(&r, CAPACITY, sizeof(size_t), NULL), OK);
    uint32_t random = 1;
    for (size_t step = 1; step <= 20000; step++) {
        random = random * 1664525 + 1013904223;
        size_t k = random >> 8 & 0xffff, newer = 0;
        k %= KEYS;
        recent_key key = key_of(k);
        for (size_t i = 0; i < KEYS; i++)
            newer += known[i].used > known[k].used;
        bool expected = known[k].used > 0 && newer < CAPACITY;
        size_t value = 0;
        assert_int_equal(recent_find(r, &key, &value), expected);
        if (expected)
            assert_int_equal(value, known[k].value);
        if (random >> 30 != 0) {
            known[k].value = step;
            recent_store(r, &key, &step);
        } else if (!expected) {
            continue; /* neither found nor stored: not used */
        }
        known[k].used = step;
    }
    recent_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_recently_used),
        cmocka_unit_test(test_random_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
