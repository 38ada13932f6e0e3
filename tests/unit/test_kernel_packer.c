/* Packing in the background: what is fetched, in which order, and what is refused. */
#include "kernel_test.h"

#include <pthread.h>

#include "kernel/packer.h"

enum { COLS = 256, ROWS = 8192, MOST_FETCHES = 4096 };

/* A file in memory, and what was asked of it. */
typedef struct source_file {
    const uint8_t *data;
    size_t broken_at; /* reading this byte fails */
    pthread_mutex_t lock;
    size_t first[MOST_FETCHES], n; /* of each fetch */
    size_t bytes;                  /* of all */
} source_file;

static error_code fetch(void *context, const void *from, void *into, size_t bytes, failure *fail)
{
    source_file *f = context;
    size_t at = (size_t)((const uint8_t *)from - f->data);
    pthread_mutex_lock(&f->lock);
    assert_true(f->n < MOST_FETCHES);
    f->first[f->n++] = at;
    f->bytes += bytes;
    pthread_mutex_unlock(&f->lock);
    if (f->broken_at >= at && f->broken_at < at + bytes)
        return failure_set(fail, ERR_IO, "a broken disk");
    memcpy(into, from, bytes);
    return OK;
}

static void open_source(source_file *f, const uint8_t *data)
{
    *f = (source_file){.data = data, .broken_at = SIZE_MAX};
    pthread_mutex_init(&f->lock, NULL);
}

static matrix *add_rows(packer *p, tensor_type type, const uint8_t *data, size_t rows,
                        const char *name)
{
    const matrix_source source = {type, data, rows};
    const matrix_origin origin = {name, 0};
    const matrix_packing how = {.packer = p, .origins = &origin};
    failure fail = {0};
    matrix *m;
    if (matrix_create_packed(&m, &source, 1, COLS, &how, &fail) != OK)
        fail_msg("%s", fail.text);
    return m;
}

static matrix *add_matrix(packer *p, tensor_type type, const uint8_t *data, const char *name)
{
    return add_rows(p, type, data, ROWS, name);
}

static packer *new_packer(source_file *f)
{
    failure fail = {0};
    packer *p;
    assert_int_equal(packer_create(&p, fetch, f, &fail), OK);
    return p;
}

/* Two matrices, added against the file's order: the same bytes as packed at once, each byte of the
 * file once. */
static void test_same_as_at_once(void **state)
{
    (void)state;
    failure fail = {0};
    for (size_t t = 0; t < TYPE_COUNT; t++) {
        tensor_type type = kernel_test_types[t];
        const tensor_type_info *info = tensor_type_find(type);
        size_t bytes = (size_t)ROWS * COLS / info->block_values * info->block_bytes;
        uint8_t *data = random_tensor(type, 2 * ROWS, COLS);
        source_file file;
        open_source(&file, data);
        packer *p = new_packer(&file);
        matrix *second = add_matrix(p, type, data + bytes, "second");
        matrix *first = add_matrix(p, type, data, "first");
        assert_int_equal(file.n, 0);
        packer_start(p);
        assert_int_equal(packer_finish(p, &fail), OK);
        assert_true(packer_progress(p) == 1);
        packer_destroy(p);
        assert_int_equal(file.bytes, 2 * bytes);
        for (size_t i = 0; i < 2; i++) {
            matrix *alone = make_matrix(&(matrix_source){type, data + i * bytes, ROWS}, 1, COLS);
            const matrix *made = i == 0 ? first : second;
            assert_memory_equal(matrix_memory(alone), matrix_memory(made), matrix_bytes(alone));
            matrix_destroy(alone);
        }
        matrix_destroy(first);
        matrix_destroy(second);
        free(data);
    }
}

/* So few bytes that the caller's thread is alone: they are fetched in the file's order, not in that
 * of adding. */
static void test_order(void **state)
{
    (void)state;
    enum { FEW = 64 };
    failure fail = {0};
    size_t bytes = FEW * COLS * sizeof(float);
    uint8_t *data = random_tensor(TENSOR_F32, 3 * FEW, COLS);
    source_file file;
    open_source(&file, data);
    packer *p = new_packer(&file);
    matrix *m[3];
    for (size_t i = 3; i-- > 0;)
        m[i] = add_rows(p, TENSOR_F32, data + i * bytes, FEW, NULL);
    packer_start(p);
    assert_int_equal(packer_finish(p, &fail), OK);
    packer_destroy(p);
    assert_int_equal(file.n, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(file.first[i], i * bytes);
        matrix_destroy(m[i]);
    }
    free(data);
}

/* Of several things that are wrong, the first in the file is named, whoever found it. */
static void test_first_refusal(void **state)
{
    (void)state;
    size_t n = (size_t)ROWS * COLS, bytes = n * sizeof(float);
    uint8_t *data = random_tensor(TENSOR_F32, 2 * ROWS, COLS);
    const size_t bad[] = {n + n / 2, n + 77, n - 1, 3};
    static const char *const expected[] = {
        "tensor 'second': block 1048576 ", "tensor 'second': block 77 ",
        "tensor 'first': block 2097151 ", "tensor 'first': block 3 "};
    for (size_t i = 0; i < 4; i++) {
        const float none = NAN;
        memcpy(data + bad[i] * sizeof none, &none, sizeof none);
        source_file file;
        failure fail = {0};
        open_source(&file, data);
        packer *p = new_packer(&file);
        matrix *second = add_matrix(p, TENSOR_F32, data + bytes, "second");
        matrix *first = add_matrix(p, TENSOR_F32, data, "first");
        packer_start(p);
        assert_int_equal(packer_finish(p, &fail), ERR_FORMAT);
        if (strncmp(fail.text, expected[i], strlen(expected[i])) != 0)
            fail_msg("\"%s\" instead of \"%s\"", fail.text, expected[i]);
        packer_destroy(p);
        matrix_destroy(first);
        matrix_destroy(second);
    }
    free(data);
}

/* A disk that fails in the middle. Then: one that is given up before anybody waited for it. */
static void test_broken_disk(void **state)
{
    (void)state;
    uint8_t *data = random_tensor(TENSOR_Q8_0, ROWS, COLS);
    for (size_t given_up = 0; given_up < 2; given_up++) {
        source_file file;
        failure fail = {0};
        open_source(&file, data);
        file.broken_at = given_up == 0 ? 1 << 20 : SIZE_MAX;
        packer *p = new_packer(&file);
        matrix *m = add_matrix(p, TENSOR_Q8_0, data, "only");
        packer_start(p);
        if (given_up == 0) {
            assert_int_equal(packer_finish(p, &fail), ERR_IO);
            assert_string_equal(fail.text, "tensor 'only': a broken disk");
        }
        packer_destroy(p);
        matrix_destroy(m);
    }
    free(data);
}

int main(void)
{
    use_kernel(NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_as_at_once),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_first_refusal),
        cmocka_unit_test(test_broken_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
