/* What answers at a path: with and without "/v1", with a slash at its end, by method. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "server/exchange.h"

static const route *find(const char *method, const char *path, const char **argument)
{
    *argument = NULL;
    return route_find(method, path, argument);
}

static void test_forms_of_a_path(void **state)
{
    (void)state;
    static const struct {
        const char *path, *found; /* NULL: nothing */
        const char *argument;
    } cases[] = {
        {"/v1/models", "/v1/models", ""},
        {"/models", "/v1/models", ""},
        {"/v1/models/", "/v1/models", "/"},
        {"/models/", "/v1/models", "/"},
        {"/v1/models/small", "/v1/models/", "small"},
        {"/models/a/b", "/v1/models/", "a/b"},
        {"/v1/health", "/health", ""},
        {"/v1/model", NULL, NULL},
        {"/v1/modelsx", NULL, NULL},
        {"/v1/v1/models", NULL, NULL},
        {"/models//", "/v1/models/", "/"},
        {"/health/x", NULL, NULL},
        {"", NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *argument;
        const route *r = find("GET", cases[i].path, &argument);
        if ((r == NULL) != (cases[i].found == NULL))
            fail_msg("%s: %s", cases[i].path, r == NULL ? "nothing" : r->path);
        if (r == NULL)
            continue;
        assert_string_equal(r->path, cases[i].found);
        assert_string_equal(argument, cases[i].argument);
    }
}

static void test_methods(void **state)
{
    (void)state;
    const char *argument;
    char methods[64];
    const route *r = find("PUT", "/chat/completions/", &argument);
    assert_non_null(r);
    assert_false(route_takes(r, "PUT"));
    assert_true(route_takes(r, "POST"));
    route_methods(r, methods, sizeof methods);
    assert_string_equal(methods, "POST");
    assert_true(route_takes(find("HEAD", "/health", &argument), "HEAD"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms_of_a_path),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
