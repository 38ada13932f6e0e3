/* test_kernel_matmul.c: products of every type by every kernel this machine runs. */
#include "kernel_test.h"

enum { MAX_COLUMNS = 17 };

/* What the integer form keeps of x. */
static void quantised(const float *x, double *out, size_t n)
{
    for (size_t b = 0; b < n; b += 32) {
        size_t end = b + 32 < n ? b + 32 : n;
        float max = 0;
        for (size_t k = b; k < end; k++)
            max = fmaxf(max, fabsf(x[k]));
        for (size_t k = b; k < end; k++)
            out[k] = max == 0 ? 0 : (double)(max / 127) * rint((double)(x[k] * (127 / max)));
    }
}

static bool is_float(tensor_type type)
{
    return type == TENSOR_F32 || type == TENSOR_F16 || type == TENSOR_BF16;
}

/* Every row and column against double arithmetic on the decoded weights: exactly the quantised
 * activation up to f32 rounding, and the true activation up to half a quantisation step. */
static void check_product(tensor_type type, size_t rows, size_t cols, size_t columns)
{
    uint8_t *data = random_tensor(type, rows, cols);
    float *weights = checked_alloc(rows * cols, sizeof(float));
    float *x = checked_alloc(columns * cols, sizeof(float));
    double *kept = checked_alloc(cols, sizeof(double));
    float *y = checked_alloc(columns * rows, sizeof(float));
    tensor_type_find(type)->decode(data, weights, rows * cols);
    random_floats(x, columns * cols);
    matrix *m = make_matrix(&(matrix_source){type, data, rows}, 1, cols);
    activation *a = make_activation(x, cols, columns, m);
    matrix_multiply(m, a, columns, 0, rows, y, rows);
    for (size_t c = 0; c < columns; c++) {
        const float *column = x + c * cols;
        quantised(column, kept, cols);
        for (size_t r = 0; r < rows; r++) {
            double exact = 0, expected = 0, magnitude = 0, step = 0;
            for (size_t k = 0; k < cols; k++) {
                double w = weights[r * cols + k];
                exact += w * (double)column[k];
                expected += w * (is_float(type) ? (double)column[k] : kept[k]);
                magnitude += fabs(w) * fabs((double)column[k]);
                step += is_float(type) ? 0 : fabs(w) * 0.5 / 127;
            }
            double got = (double)y[c * rows + r];
            double rounding = 2e-6 * magnitude + 1e-7;
            if (fabs(got - expected) > rounding || fabs(got - exact) > step + rounding)
                fail_msg("%s %s %zux%zu columns %zu: row %zu column %zu: %.9g, not %.9g",
                         kernel_name(), tensor_type_find(type)->name, rows, cols, columns, r, c,
                         got, expected);
        }
    }
    activation_destroy(a);
    matrix_destroy(m);
    free(data);
    free(weights);
    free(x);
    free(kept);
    free(y);
}

static void test_products(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        for (size_t t = 0; t < TYPE_COUNT; t++) {
            tensor_type type = kernel_test_types[t];
            size_t block = tensor_type_find(type)->block_values;
            size_t odd = is_float(type) ? 37 : block == 32 ? 96 : 256;
            check_product(type, 16, 256, 1);
            check_product(type, 16, odd, 3);
            check_product(type, 33, 512, 8);
            check_product(type, 1, odd, 2);
            check_product(type, 47, 768, MAX_COLUMNS);
        }
    }
}

static void test_joined(void **state)
{
    (void)state;
    enum { COLS = 768, COLUMNS = 5 };
    /* Nine records of Q6_K end in the middle of a line; Q4_K's begin with one. */
    joined j = make_joined(TENSOR_Q6_K, TENSOR_Q4_K, TENSOR_F16, COLS);
    float *x = checked_alloc(COLUMNS * COLS, sizeof(float));
    random_floats(x, COLUMNS * COLS);
    float *whole = checked_alloc(COLUMNS * j.rows, sizeof(float));
    float *alone = checked_alloc(COLUMNS * j.rows, sizeof(float));
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        matrix *m = make_matrix(j.sources, 3, COLS);
        assert_int_equal(matrix_rows(m), j.rows);
        assert_int_equal(matrix_cols(m), COLS);
        activation *a = make_activation(x, COLS, COLUMNS, m);
        matrix_multiply(m, a, COLUMNS, 0, j.rows, whole, j.rows);
        size_t first = 0;
        for (size_t i = 0; i < 3; i++) {
            matrix *single = make_matrix(&j.sources[i], 1, COLS);
            matrix_multiply(single, a, COLUMNS, 0, matrix_rows(single), alone + first, j.rows);
            first += matrix_rows(single);
            matrix_destroy(single);
        }
        assert_memory_equal(whole, alone, COLUMNS * j.rows * sizeof(float));
        activation_destroy(a);
        matrix_destroy(m);
    }
    free(x);
    free(whole);
    free(alone);
    free_joined(&j);
}

/* Promise 1: any number of columns, any cut of the rows, the same bits. */
static void check_invariance(const joined *j, size_t cols)
{
    size_t rows = j->rows;
    float *x = checked_alloc(MAX_COLUMNS * cols, sizeof(float));
    float *single = checked_alloc(MAX_COLUMNS * rows, sizeof(float));
    float *y = checked_alloc(MAX_COLUMNS * rows, sizeof(float));
    random_floats(x, MAX_COLUMNS * cols);
    matrix *m = make_matrix(j->sources, 3, cols);
    for (size_t c = 0; c < MAX_COLUMNS; c++) {
        activation *a = make_activation(x + c * cols, cols, 1, m);
        matrix_multiply(m, a, 1, 0, rows, single + c * rows, rows);
        activation_destroy(a);
    }
    activation *a = make_activation(x, cols, MAX_COLUMNS, m);
    for (size_t columns = 1; columns <= MAX_COLUMNS; columns++) {
        memset(y, 0xff, MAX_COLUMNS * rows * sizeof(float));
        for (size_t begin = 0; begin < rows;) {
            size_t end = begin + 1 + random_u32() % 40;
            end = end < rows ? end : rows;
            matrix_multiply(m, a, columns, begin, end, y, rows);
            begin = end;
        }
        assert_memory_equal(y, single, columns * rows * sizeof(float));
    }
    activation_destroy(a);
    matrix_destroy(m);
    free(x);
    free(single);
    free(y);
}

static void test_invariance(void **state)
{
    (void)state;
    joined k = make_joined(TENSOR_Q4_K, TENSOR_Q6_K, TENSOR_Q8_0, 768);
    joined b = make_joined(TENSOR_Q4_0, TENSOR_Q8_0, TENSOR_F32, 96);
    /* 736 columns are one slice, which is made wide in two turns. */
    joined slice = make_joined(TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, 736);
    joined five = make_joined(TENSOR_Q4_1, TENSOR_Q5_0, TENSOR_Q5_1, 96);
    joined low = make_joined(TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_IQ4_XS, 768);
    joined iq = make_joined(TENSOR_IQ4_NL, TENSOR_Q5_K, TENSOR_IQ4_NL, 256);
    joined mx = make_joined(TENSOR_MXFP4, TENSOR_Q8_0, TENSOR_MXFP4, 2880);
    joined f = make_joined(TENSOR_F32, TENSOR_F16, TENSOR_BF16, 333);
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        check_invariance(&k, 768);
        check_invariance(&b, 96);
        check_invariance(&slice, 736);
        check_invariance(&five, 96);
        check_invariance(&low, 768);
        check_invariance(&iq, 256);
        check_invariance(&mx, 2880);
        check_invariance(&f, 333);
    }
    free_joined(&k);
    free_joined(&b);
    free_joined(&slice);
    free_joined(&five);
    free_joined(&low);
    free_joined(&iq);
    free_joined(&mx);
    free_joined(&f);
}

/* Every kernel reduces in the same order: the same bits as the reference. */
static void test_same_bits(void **state)
{
    (void)state;
    enum { ROWS = 40, COLS = 1024, COLUMNS = 67 }; /* sets with wide blocks take 64 at a time */
    static const size_t columns[] = {7, 11, COLUMNS}; /* packed; wide from 8 or 16 on where it is */
    float *x = checked_alloc(COLUMNS * COLS, sizeof(float));
    float *expected = checked_alloc(COLUMNS * ROWS, sizeof(float));
    float *y = checked_alloc(COLUMNS * ROWS, sizeof(float));
    random_floats(x, COLUMNS * COLS);
    for (size_t k = 0; k < COLS; k++) /* a zero block, a tiny one, halves that tie in rounding */
        x[k] = k < 32 ? 0 : k < 64 ? x[k] * 1e-33f : k < 96 ? (float)(k % 2) * 0.5f : x[k];
    x[95] = 127;
    for (size_t t = 0; t < TYPE_COUNT; t++) {
        tensor_type type = kernel_test_types[t];
        uint8_t *data = random_tensor(type, ROWS, COLS);
        matrix *m = make_matrix(&(matrix_source){type, data, ROWS}, 1, COLS);
        use_kernel("reference");
        activation *a = make_activation(x, COLS, COLUMNS, m);
        matrix_multiply(m, a, COLUMNS, 0, ROWS, expected, ROWS);
        activation_destroy(a);
        for (const char *const *name = kernel_names(); *name != NULL; name++) {
            use_kernel(*name);
            a = make_activation(x, COLS, COLUMNS, m);
            for (size_t n = 0; n < sizeof columns / sizeof *columns; n++) {
                matrix_multiply(m, a, columns[n], 0, ROWS, y, ROWS);
                for (size_t i = 0; i < columns[n] * ROWS; i++)
                    if (memcmp(&y[i], &expected[i], sizeof y[i]) != 0)
                        fail_msg("%s %s, %zu columns: element %zu is %.9g, not %.9g", *name,
                                 tensor_type_find(type)->name, columns[n], i, (double)y[i],
                                 (double)expected[i]);
            }
            activation_destroy(a);
        }
        matrix_destroy(m);
        free(data);
    }
    free(x);
    free(expected);
    free(y);
}

static activation *make_same_activation(const float *x, size_t cols, size_t columns,
                                        const matrix *m)
{
    float *all = checked_alloc(columns * cols, sizeof(float));
    for (size_t c = 0; c < columns; c++)
        memcpy(all + c * cols, x, cols * sizeof(float));
    activation *a = make_activation(all, cols, columns, m);
    free(all);
    return a;
}

/* The largest integers that can meet: nothing may saturate. */
static void test_extremes(void **state)
{
    (void)state;
    for (size_t t = 0; t < TYPE_COUNT; t++) {
        tensor_type type = kernel_test_types[t];
        if (is_float(type))
            continue;
        uint8_t *data = random_tensor(type, 16, 256);
        const tensor_type_info *info = tensor_type_find(type);
        bool scales_last = type == TENSOR_Q6_K || type == TENSOR_Q3_K || type == TENSOR_Q2_K;
        for (size_t i = 0; i < 16 * 256 / info->block_values; i++)
            memset(data + i * info->block_bytes + (scales_last ? 0 : 4), i % 2 ? 0xff : 0x80,
                   info->block_bytes - 4);
        enum { COLUMNS = 16 }; /* as many as make sets with wide blocks use them */
        float x[256], expected[COLUMNS * 16], y[COLUMNS * 16];
        for (size_t k = 0; k < 256; k++)
            x[k] = k < 128 ? 1 : -1;
        matrix *m = make_matrix(&(matrix_source){type, data, 16}, 1, 256);
        for (const char *const *name = kernel_names(); *name != NULL; name++) {
            use_kernel("reference");
            activation *a = make_activation(x, 256, 1, m);
            matrix_multiply(m, a, 1, 0, 16, expected, 16);
            activation_destroy(a);
            for (size_t c = 1; c < COLUMNS; c++)
                memcpy(expected + c * 16, expected, 16 * sizeof(float));
            use_kernel(*name);
            for (size_t columns = 1; columns <= COLUMNS; columns += COLUMNS - 1) {
                activation *same = make_same_activation(x, 256, columns, m);
                matrix_multiply(m, same, columns, 0, 16, y, 16);
                assert_memory_equal(y, expected, columns * 16 * sizeof(float));
                activation_destroy(same);
            }
        }
        matrix_destroy(m);
        free(data);
    }
}

/* MXFP4's scales beyond what binary16 holds, and those that are no number: the row's result is none
 * either, its neighbours' are as ever. */
static void test_mxfp4_scales(void **state)
{
    (void)state;
    enum { COLS = 160, ROWS = 19 };
    uint8_t *data = random_tensor(TENSOR_MXFP4, ROWS, COLS);
    for (size_t b = 0; b < ROWS * COLS / 32; b++) {
        size_t row = b / (COLS / 32);
        data[b * 17] = (uint8_t)(row < 3 ? row : row == 4 ? 240 : 60 + 10 * row);
    }
    float x[COLS], weights[COLS], expected[ROWS], y[ROWS];
    double kept[COLS];
    random_floats(x, COLS);
    quantised(x, kept, COLS);
    matrix *m = make_matrix(&(matrix_source){TENSOR_MXFP4, data, ROWS}, 1, COLS);
    use_kernel("reference");
    activation *a = make_activation(x, COLS, 1, m);
    matrix_multiply(m, a, 1, 0, ROWS, expected, ROWS);
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0, magnitude = 0;
        tensor_type_find(TENSOR_MXFP4)->decode(data + r * COLS / 32 * 17, weights, COLS);
        for (size_t k = 0; k < COLS; k++) {
            sum += (double)weights[k] * kept[k];
            magnitude += fabs((double)weights[k] * kept[k]);
        }
        /* 1e-43: below it f32 has few bits */
        assert_true(fabs((double)expected[r] - sum) <= 1e-6 * magnitude + 1e-43);
    }
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        matrix_multiply(m, a, 1, 0, ROWS, y, ROWS);
        assert_memory_equal(y, expected, sizeof y);
    }
    activation_destroy(a);
    matrix_destroy(m);
    failure fail;
    data[7 * 17] = 255; /* no number */
    assert_int_equal(matrix_create(&m, &(matrix_source){TENSOR_MXFP4, data, ROWS}, 1, COLS, &fail),
                     ERR_FORMAT);
    free(data);
}

/* Two sources whose panels lie by turns: whole ones, a short last one, and rows that differ. */
static void check_turns(tensor_type type, const size_t rows[2], size_t cols)
{
    enum { COLUMNS = 9 };
    const matrix_packing how = {.in_turns = true};
    uint8_t *data[2] = {random_tensor(type, rows[0], cols), random_tensor(type, rows[1], cols)};
    const matrix_source sources[2] = {{type, data[0], rows[0]}, {type, data[1], rows[1]}};
    size_t all = rows[0] + rows[1];
    float *x = checked_alloc(COLUMNS * cols, sizeof(float)), *row = checked_alloc(cols, 4);
    float *y = checked_alloc(2 * COLUMNS * all, sizeof(float)), *other_row = checked_alloc(cols, 4);
    random_floats(x, COLUMNS * cols);
    matrix *stacked = make_matrix(sources, 2, cols), *m;
    failure fail;
    assert_int_equal(matrix_create_packed(&m, sources, 2, cols, &how, &fail), OK);
    assert_int_equal(matrix_bytes(m), matrix_bytes(stacked));
    activation *a = make_activation(x, cols, COLUMNS, m);
    matrix_multiply(stacked, a, COLUMNS, 0, all, y, all);
    size_t cut = rows[0] / 2 + 5;
    matrix_multiply(m, a, COLUMNS, 0, cut, y + COLUMNS * all, all);
    matrix_multiply(m, a, COLUMNS, cut, all, y + COLUMNS * all, all);
    assert_memory_equal(y, y + COLUMNS * all, COLUMNS * all * sizeof(float));
    for (size_t r = 0; r < all; r++) {
        matrix_read_row(stacked, r, row);
        matrix_read_row(m, r, other_row);
        assert_memory_equal(row, other_row, cols * sizeof(float));
    }
    activation_destroy(a);
    matrix_destroy(m);
    matrix_destroy(stacked);
    for (size_t i = 0; i < 2; i++)
        free(data[i]);
    free(x);
    free(row);
    free(y);
    free(other_row);
}

static void test_in_turns(void **state)
{
    (void)state;
    use_kernel(NULL);
    check_turns(TENSOR_Q4_1, (const size_t[2]){1536, 1536}, 576);
    check_turns(TENSOR_Q4_K, (const size_t[2]){1600, 1600}, 768);
    check_turns(TENSOR_Q8_0, (const size_t[2]){39, 39}, 1056);
    check_turns(TENSOR_Q6_K, (const size_t[2]){2048, 1024}, 256);
}

/* A column set part by part gives the products of one set as a whole, over an older longer one. */
static void test_parts(void **state)
{
    (void)state;
    enum { COLS = 32 * 9, LONGER = 512 };
    joined j = make_joined(TENSOR_Q4_0, TENSOR_MXFP4, TENSOR_F16, COLS);
    float x[LONGER], whole[128], parts[128];
    random_floats(x, COLS);
    for (size_t i = COLS; i < LONGER; i++)
        x[i] = INFINITY; /* what is left of it behind the parts would spoil every sum */
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        matrix *m = make_matrix(j.sources, 3, COLS);
        assert_true(j.rows <= 128);
        activation *a = make_activation(x, COLS, 1, m);
        matrix_multiply(m, a, 1, 0, j.rows, whole, j.rows);
        activation_destroy(a);
        a = make_activation(x, LONGER, 1, m);
        for (size_t first = 0; first < COLS; first += 96) {
            size_t n = COLS - first < 96 ? COLS - first : 96;
            activation_set_part(a, 0, first, x + first, n, COLS, m);
        }
        matrix_multiply(m, a, 1, 0, j.rows, parts, j.rows);
        assert_memory_equal(whole, parts, j.rows * sizeof(float));
        size_t each = matrix_piece_rows(m, 1), many = matrix_piece_rows(m, 9);
        assert_true(each > 0 && each % 32 == 0 && each <= many && many <= MATRIX_PIECE_ROWS);
        activation_destroy(a);
        matrix_destroy(m);
    }
    free_joined(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),     cmocka_unit_test(test_joined),
        cmocka_unit_test(test_invariance),   cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_extremes),     cmocka_unit_test(test_parts),
        cmocka_unit_test(test_mxfp4_scales), cmocka_unit_test(test_in_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
