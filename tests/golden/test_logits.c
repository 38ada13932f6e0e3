/* Logits of small random models against float64 references: the project's own set, and, where it is
 * present, the independent one in ../shared/golden; under every kernel this machine can run. */
#include "golden_set.h"

#define OWN_SET "tests/golden/data"
#define SHARED_SET "../shared/golden"

static bool in_scope(const json_t *entry)
{
    static const char *const types[] = {"F32",    "F16",  "BF16",   "Q8_0",   "Q4_0", "Q4_1",
                                        "Q5_0",   "Q5_1", "Q2_K",   "Q3_K_M", "Q4_K", "Q4_K_M",
                                        "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS"};
    static const char *const architectures[] = {"llama", "qwen2", "qwen3", "qwen3moe",
                                                "pangu-embedded"};
    bool type = false, architecture = false;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        type |= strcmp(types[i], json_string_value(json_object_get(entry, "type"))) == 0;
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++)
        architecture |= strcmp(architectures[i],
                               json_string_value(json_object_get(entry, "architecture"))) == 0;
    return type && architecture;
}

static void check_set(const char *folder)
{
    char path[512];
    size_t i, checked = 0;
    snprintf(path, sizeof path, "%s/manifest.json", folder);
    json_t *manifest = json_load_file(path, 0, NULL), *entry;
    assert_true(json_is_array(manifest));
    json_array_foreach(manifest, i, entry)
    {
        if (!in_scope(entry))
            continue;
        check_entry(folder, entry);
        checked++;
    }
    json_decref(manifest);
    printf("  %s: %zu models within their bounds under %s\n", folder, checked, kernel_name());
    assert_true(checked > 0);
}

static void check_under_every_kernel(const char *folder)
{
    failure fail;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        assert_int_equal(kernel_init(*name, &fail), OK);
        check_set(folder);
    }
}

static void test_own_set(void **state)
{
    (void)state;
    check_under_every_kernel(OWN_SET);
}

static void test_shared_set(void **state)
{
    (void)state;
    FILE *manifest = fopen(SHARED_SET "/manifest.json", "r");
    if (manifest == NULL) {
        printf("  skipped: %s is not here\n", SHARED_SET);
        skip();
    }
    fclose(manifest);
    check_under_every_kernel(SHARED_SET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_set),
        cmocka_unit_test(test_shared_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
