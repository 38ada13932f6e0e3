/* Weights that are no numbers, in every type and at every place where one can stand: found where
 * they are, and refused when a matrix is packed. And what a packed row is read back as. */
#include "kernel_test.h"

enum { ROWS = 37, COLS = 512, N_BLOCKS = 40 };

/* ---- the places ------------------------------------------------------------------------------ */

/* What makes a block no number: written at `at`, `bytes` of it. */
typedef struct spoiler {
    size_t at, bytes;
    uint32_t bits;
} spoiler;

enum { MOST_SPOILERS = 8 };

static size_t half_spoilers(spoiler *out, size_t n, size_t at)
{
    static const uint16_t halves[] = {0x7C00, 0xFC00, 0x7E00, 0x7C01}; /* ±infinity, two NaNs */
    for (size_t i = 0; i < 4; i++)
        out[n++] = (spoiler){at, 2, halves[i]};
    return n;
}

static size_t spoilers_of(tensor_type type, spoiler *out)
{
    switch (type) {
    case TENSOR_F32:
        out[0] = (spoiler){0, 4, 0x7F800000};
        out[1] = (spoiler){0, 4, 0xFF800000};
        out[2] = (spoiler){0, 4, 0x7F800001};
        return 3;
    case TENSOR_BF16:
        out[0] = (spoiler){0, 2, 0x7F80};
        out[1] = (spoiler){0, 2, 0xFFC0};
        return 2;
    case TENSOR_MXFP4:
        out[0] = (spoiler){0, 1, 0xFF};
        return 1;
    case TENSOR_Q4_1:
    case TENSOR_Q5_1:
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        return half_spoilers(out, half_spoilers(out, 0, 0), 2);
    case TENSOR_Q2_K:
        return half_spoilers(out, half_spoilers(out, 0, 80), 82);
    case TENSOR_Q3_K:
        return half_spoilers(out, 0, 108);
    case TENSOR_Q6_K:
        return half_spoilers(out, 0, 208);
    default:
        return half_spoilers(out, 0, 0);
    }
}

static void try_places(tensor_type type)
{
    const tensor_type_info *info = tensor_type_find(type);
    spoiler spoilers[MOST_SPOILERS];
    size_t n_spoilers = spoilers_of(type, spoilers);
    uint8_t *data = random_tensor(type, N_BLOCKS, info->block_values);
    assert_int_equal(tensor_finite_blocks(info, data, N_BLOCKS), N_BLOCKS);
    for (size_t i = 0; i < N_BLOCKS * n_spoilers; i++) {
        const spoiler *s = &spoilers[i % n_spoilers];
        size_t block = i / n_spoilers;
        uint8_t *at = data + block * info->block_bytes + s->at, kept[4];
        memcpy(kept, at, s->bytes);
        memcpy(at, &s->bits, s->bytes);
        if (tensor_finite_blocks(info, data, N_BLOCKS) != block)
            fail_msg("%s: %x in block %zu was not found", info->name, s->bits, block);
        assert_int_equal(tensor_finite_blocks(info, data, block), block); /* it is beyond the end */
        memcpy(at, kept, s->bytes);
    }
    free(data);
}

static void test_every_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPE_COUNT; i++)
        try_places(kernel_test_types[i]);
}

/* Whatever its bits, what is not refused decodes to numbers. */
static void test_others_are_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        const tensor_type_info *info = tensor_type_find(kernel_test_types[i]);
        float values[256];
        uint8_t block[256];
        for (size_t round = 0; round < 20000; round++) {
            for (size_t k = 0; k < info->block_bytes; k++)
                block[k] = (uint8_t)random_u32();
            info->decode(block, values, info->block_values);
            bool passes = tensor_finite_blocks(info, block, 1) == 1;
            bool finite = vector_is_finite(values, info->block_values);
            /* Scales whose largest values are beyond f32. */
            bool too_large = info->type == TENSOR_MXFP4 && block[0] >= 253 && block[0] < 255;
            if (passes != finite && !too_large)
                fail_msg("%s: a block of random bits", info->name);
        }
    }
}

static void test_vectors(void **state)
{
    (void)state;
    float x[67];
    for (size_t n = 0; n <= 67; n++)
        for (size_t at = 0; at < 67; at++) {
            static const float none[] = {INFINITY, -INFINITY, NAN};
            random_floats(x, 67);
            assert_true(vector_is_finite(x, n));
            x[at] = none[at % 3];
            assert_int_equal(vector_is_finite(x, n), at >= n);
        }
    const float largest[] = {3.4028235e38f, -3.4028235e38f, 1e-45f, -0.0f};
    assert_true(vector_is_finite(largest, 4));
}

/* ---- matrices -------------------------------------------------------------------------------- */

static void spoil_matrix(tensor_type type, size_t source, size_t row)
{
    const tensor_type_info *info = tensor_type_find(type);
    uint8_t *data[2] = {random_tensor(type, ROWS, COLS), random_tensor(type, ROWS, COLS)};
    const matrix_source sources[2] = {{type, data[0], ROWS}, {type, data[1], ROWS}};
    const matrix_origin origins[2] = {{"first", 0}, {"second", 1000}};
    const matrix_packing how = {.origins = origins};
    size_t block = row * (COLS / info->block_values) + row % 2;
    spoiler spoilers[MOST_SPOILERS];
    spoilers_of(type, spoilers);
    memcpy(data[source] + block * info->block_bytes + spoilers->at, &spoilers->bits,
           spoilers->bytes);
    matrix *m;
    failure fail = {0};
    char expected[64];
    snprintf(expected, sizeof expected, "tensor '%s': block %zu ", origins[source].tensor,
             origins[source].first_block + block);
    assert_int_equal(matrix_create_packed(&m, sources, 2, COLS, &how, &fail), ERR_FORMAT);
    if (strncmp(fail.text, expected, strlen(expected)) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", info->name, fail.text, expected);
    assert_null(m);
    free(data[0]);
    free(data[1]);
}

static void test_matrices(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPE_COUNT; i++)
        for (size_t source = 0; source < 2; source++)
            for (size_t row = 0; row < ROWS; row += ROWS - 1)
                spoil_matrix(kernel_test_types[i], source, row);
}

/* Large enough that threads share it: the first block counts, whoever finds it. */
static void test_shared_matrix(void **state)
{
    (void)state;
    enum { MANY = 4096 };
    uint8_t *data = random_tensor(TENSOR_F32, MANY, COLS);
    const size_t bad[] = {MANY * COLS - 1, 3 * MANY * COLS / 4, 12345};
    matrix *m;
    for (size_t i = 0; i < 3; i++) {
        failure fail = {0};
        char expected[32];
        const float nan = NAN;
        memcpy(data + bad[i] * sizeof nan, &nan, sizeof nan);
        const matrix_source source = {TENSOR_F32, data, MANY};
        assert_int_equal(matrix_create(&m, &source, 1, COLS, &fail), ERR_FORMAT);
        snprintf(expected, sizeof expected, "block %zu ", bad[i]);
        assert_ptr_equal(strstr(fail.text, expected), fail.text);
    }
    free(data);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void read_rows(tensor_type type, size_t cols)
{
    const tensor_type_info *info = tensor_type_find(type);
    uint8_t *data = random_tensor(type, ROWS, cols);
    float expected[COLS], got[COLS];
    const matrix_source sources[2] = {{type, data, ROWS}, {type, data, ROWS}};
    matrix *m;
    failure fail = {0};
    if (matrix_create(&m, sources, 2, cols, &fail) != OK)
        fail_msg("%s", fail.text);
    for (size_t row = 0; row < 2 * ROWS; row++) {
        size_t in_file = row % ROWS * (cols / info->block_values) * info->block_bytes;
        info->decode(data + in_file, expected, cols);
        matrix_read_row(m, row, got);
        if (memcmp(expected, got, cols * sizeof *got) != 0)
            fail_msg("%s: row %zu of %zu columns", info->name, row, cols);
    }
    matrix_destroy(m);
    free(data);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        size_t block = tensor_type_find(kernel_test_types[i])->block_values;
        read_rows(kernel_test_types[i], COLS);
        read_rows(kernel_test_types[i], block == 256 ? 256 : block == 1 ? 33 : 96);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_place),   cmocka_unit_test(test_others_are_numbers),
        cmocka_unit_test(test_vectors),       cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_shared_matrix), cmocka_unit_test(test_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
