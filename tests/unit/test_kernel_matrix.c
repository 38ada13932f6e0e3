/* Matrices as wholes: memory, sizes, what is refused, and which kernels a machine offers. */
#include "kernel_test.h"

/* Matrices side by side in a model's memory; the one that finds no room there has its own. */
static void test_weight_memory(void **state)
{
    (void)state;
    enum { COLS = 64 };
    use_kernel(NULL);
    joined j = make_joined(TENSOR_Q4_0, TENSOR_Q8_0, TENSOR_F16, COLS);
    float x[COLS], alone[128], y[128];
    random_floats(x, COLS);
    matrix *m[3], *single = make_matrix(j.sources, 3, COLS);
    activation *a = make_activation(x, COLS, 1, single);
    matrix_multiply(single, a, 1, 0, j.rows, alone, j.rows);
    failure fail;
    weight_memory *memory;
    assert_int_equal(weight_memory_create(&memory, 2 * matrix_bytes(single), &fail), OK);
    const matrix_packing how = {.memory = memory};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(matrix_create_packed(&m[i], j.sources, 3, COLS, &how, &fail), OK);
    assert_null(weight_memory_take(memory, 1));
    assert_null(weight_memory_take(memory, SIZE_MAX));
    for (size_t i = 0; i < 3; i++) {
        matrix_multiply(m[i], a, 1, 0, j.rows, y, j.rows);
        assert_memory_equal(alone, y, j.rows * sizeof(float));
        matrix_destroy(m[i]);
    }
    weight_memory_destroy(memory);
    assert_int_equal(weight_memory_create(&memory, 100, &fail), OK);
    assert_non_null(weight_memory_take(memory, 100)); /* not whole lines */
    weight_memory_destroy(memory);
    assert_int_equal(weight_memory_create(&memory, SIZE_MAX, &fail), ERR_MEMORY);
    assert_int_equal(weight_memory_create(&memory, SIZE_MAX / 4, &fail), ERR_MEMORY);
    activation_destroy(a);
    matrix_destroy(single);
    free_joined(&j);
}

static void test_share(void **state)
{
    (void)state;
    for (size_t rows = 0; rows < 200; rows += 7)
        for (int n = 1; n < 9; n++) {
            size_t next = 5;
            for (int t = 0; t < n; t++) {
                size_t begin, end;
                matrix_share(5, rows, t, n, &begin, &end);
                assert_int_equal(begin, next);
                assert_true(end >= begin);
                assert_true((end - 5) % MATRIX_ROW_GROUP == 0 || end == 5 + rows);
                next = end;
            }
            assert_int_equal(next, 5 + rows);
        }
}

static void test_bytes(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPE_COUNT; t++) {
        const tensor_type_info *info = tensor_type_find(kernel_test_types[t]);
        uint8_t *data = random_tensor(info->type, 32, 1024);
        matrix *m = make_matrix(&(matrix_source){info->type, data, 32}, 1, 1024);
        size_t file = 32u * 1024 / info->block_values * info->block_bytes;
        assert_int_equal(matrix_bytes(m), file); /* a product reads no byte more */
        matrix_destroy(m);
        free(data);
    }
}

static void test_refusals(void **state)
{
    (void)state;
    failure fail;
    matrix *m;
    float data[64] = {0};
    assert_int_equal(matrix_create(&m, &(matrix_source){TENSOR_Q8_0, data, 1}, 1, 33, &fail),
                     ERR_FORMAT);
    assert_non_null(strstr(fail.text, "33"));
    assert_null(m);
    assert_int_equal(matrix_create(&m, &(matrix_source){TENSOR_Q4_K, data, 1}, 1, 128, &fail),
                     ERR_FORMAT);
    assert_int_equal(matrix_create(&m, &(matrix_source){(tensor_type)77, data, 1}, 1, 32, &fail),
                     ERR_UNSUPPORTED);
    assert_int_equal(matrix_create(&m, &(matrix_source){TENSOR_F32, data, 0}, 1, 32, &fail),
                     ERR_FORMAT);
    assert_int_equal(matrix_create(&m, NULL, 0, 32, &fail), ERR_INVALID);
    assert_int_equal(
        matrix_create(&m, &(matrix_source){TENSOR_F32, data, SIZE_MAX / 2}, 1, 1u << 20, &fail),
        ERR_TOO_LARGE);
    matrix_destroy(NULL);
    activation *a;
    assert_int_equal(activation_create(&a, 0, 1, &fail), ERR_INVALID);
    assert_int_equal(activation_create(&a, SIZE_MAX, 1, &fail), ERR_INVALID);
    assert_int_equal(activation_create(&a, SIZE_MAX / 128, 1000, &fail), ERR_TOO_LARGE);
    activation_destroy(NULL);
    assert_int_equal(kernel_init("magic", &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "magic"));
}

#if defined(__x86_64__)
/* Whether a line of /proc/cpuinfo names the flag. */
static bool cpu_has(const char *flag)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (file == NULL)
        skip();
    char line[8192], word[32];
    snprintf(word, sizeof word, " %s ", flag);
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = ' ';
        found = strncmp(line, "flags", 5) == 0 && strstr(line, word) != NULL;
    }
    fclose(file);
    return found;
}

static bool is_listed(const char *kernel)
{
    const char *const *name = kernel_names();
    while (*name != NULL && strcmp(*name, kernel) != 0)
        name++;
    return *name != NULL;
}

/* What is offered is what the system says of the processor, and can be chosen by its name. */
static void test_offered(void **state)
{
    (void)state;
    static const char *const kernels[][2] = {{"avxvnni", "avx_vnni"}, {"avx2", "avx2"}};
    for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
        const char *name = kernels[i][0];
        bool has = cpu_has(kernels[i][1]);
        failure fail;
        assert_int_equal(is_listed(name), has);
        assert_int_equal(kernel_init(name, &fail), has ? OK : ERR_UNSUPPORTED);
        if (has)
            assert_string_equal(kernel_name(), name);
        else
            assert_non_null(strstr(fail.text, name));
    }
}
#else
static void test_offered(void **state)
{
    (void)state;
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weight_memory), cmocka_unit_test(test_share),
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
