/* kernel_test.h: what the tests of the kernel room share: random numbers and random tensors. */
#ifndef KERNEL_TEST_H
#define KERNEL_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"

static const tensor_type kernel_test_types[] = {
    TENSOR_F32,  TENSOR_F16,  TENSOR_BF16,   TENSOR_Q8_0, TENSOR_Q4_0, TENSOR_Q4_1,
    TENSOR_Q5_0, TENSOR_Q5_1, TENSOR_IQ4_NL, TENSOR_Q2_K, TENSOR_Q3_K, TENSOR_Q4_K,
    TENSOR_Q5_K, TENSOR_Q6_K, TENSOR_IQ4_XS, TENSOR_MXFP4};
enum { TYPE_COUNT = sizeof kernel_test_types / sizeof kernel_test_types[0] };

static uint64_t random_state = 88172645463325252u;

static inline uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

/* Uniform in [-1, 1). */
static inline float random_float(void)
{
    return (float)(int32_t)random_u32() * 0x1p-31f;
}

static inline void random_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = random_float();
}

static inline void put_half(uint8_t *at, float value)
{
    uint16_t half = f32_to_f16(value);
    memcpy(at, &half, sizeof half);
}

/* The offsets of a quantised type's f16 scales in its block; everything else may be any byte. */
static inline void put_scales(tensor_type type, uint8_t *block)
{
    float d = 0.001f + 0.01f * fabsf(random_float());
    switch (type) {
    case TENSOR_Q4_0:
    case TENSOR_Q5_0:
    case TENSOR_Q8_0:
    case TENSOR_IQ4_NL:
    case TENSOR_IQ4_XS:
        put_half(block, random_u32() % 2 == 0 ? d : -d);
        break;
    case TENSOR_Q4_1:
    case TENSOR_Q5_1:
        put_half(block, d);
        put_half(block + 2, -5 * d);
        break;
    case TENSOR_Q2_K:
        put_half(block + 80, d);
        put_half(block + 82, 0.5f * d);
        break;
    case TENSOR_Q3_K:
        put_half(block + 108, d);
        break;
    case TENSOR_Q4_K:
    case TENSOR_Q5_K:
        put_half(block, d);
        put_half(block + 2, 0.5f * d);
        break;
    case TENSOR_MXFP4: /* 2^-9 to 2^-6 */
        block[0] = (uint8_t)(118 + random_u32() % 4);
        break;
    case TENSOR_Q6_K:
        put_half(block + 208, d);
        break;
    default:
        break;
    }
}

/* rows × cols random values in the file's layout of the type; free() it. */
static inline uint8_t *random_tensor(tensor_type type, size_t rows, size_t cols)
{
    const tensor_type_info *info = tensor_type_find(type);
    size_t blocks = rows * cols / info->block_values;
    uint8_t *data = malloc(blocks * info->block_bytes);
    assert_non_null(data);
    for (size_t b = 0; b < blocks; b++) {
        uint8_t *block = data + b * info->block_bytes;
        float value = random_float();
        if (type == TENSOR_F32) {
            memcpy(block, &value, sizeof value);
        } else if (type == TENSOR_F16) {
            put_half(block, value);
        } else if (type == TENSOR_BF16) {
            memcpy(block, (const uint8_t *)&value + 2, 2); /* the upper half */
        } else {
            for (size_t i = 0; i < info->block_bytes; i++)
                block[i] = (uint8_t)random_u32();
            put_scales(type, block);
        }
    }
    return data;
}

static inline void *checked_alloc(size_t n, size_t size)
{
    void *memory = calloc(n, size);
    assert_non_null(memory);
    return memory;
}

static inline void use_kernel(const char *name)
{
    failure fail;
    if (kernel_init(name, &fail) != OK)
        fail_msg("%s", fail.text);
}

static inline matrix *make_matrix(const matrix_source *sources, size_t n, size_t cols)
{
    failure fail;
    matrix *m;
    if (matrix_create(&m, sources, n, cols, &fail) != OK)
        fail_msg("%s", fail.text);
    return m;
}

static inline activation *make_activation(const float *x, size_t cols, size_t columns,
                                          const matrix *m)
{
    failure fail;
    activation *a;
    if (activation_create(&a, cols, columns, &fail) != OK)
        fail_msg("%s", fail.text);
    for (size_t c = 0; c < columns; c++)
        activation_set(a, c, x + c * cols, cols, m);
    return a;
}

/* Three sources of different types and ragged rows. */
typedef struct joined {
    uint8_t *data[3];
    matrix_source sources[3];
    size_t rows;
} joined;

static inline joined make_joined(tensor_type a, tensor_type b, tensor_type c, size_t cols)
{
    const tensor_type types[3] = {a, b, c};
    const size_t rows[3] = {48, 21, 35};
    joined j = {.rows = 0};
    for (size_t i = 0; i < 3; i++) {
        j.data[i] = random_tensor(types[i], rows[i], cols);
        j.sources[i] = (matrix_source){types[i], j.data[i], rows[i]};
        j.rows += rows[i];
    }
    return j;
}

static inline void free_joined(joined *j)
{
    for (size_t i = 0; i < 3; i++)
        free(j->data[i]);
}

#endif
