/* Every architecture that tools/golden/families.py makes models of, against float64 references: one
 * test a model, under every kernel this machine can run. */
#include "golden_set.h"

#include "families.h"

static void test_model(void **state)
{
    failure fail;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        assert_int_equal(kernel_init(*name, &fail), OK);
        check_entry(FAMILIES_FOLDER, *state);
    }
}

int main(void)
{
    json_t *models = families_read(), *entry;
    size_t i, n = json_array_size(models);
    struct CMUnitTest *tests = calloc(n, sizeof *tests);
    json_array_foreach(models, i, entry)
    {
        tests[i] = (struct CMUnitTest){
            .name = json_string_value(json_object_get(entry, "model")),
            .test_func = test_model,
            .initial_state = entry,
        };
    }
    int failed = _cmocka_run_group_tests("families", tests, n, NULL, NULL);
    free(tests);
    json_decref(models);
    return failed;
}
