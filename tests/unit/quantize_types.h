/* quantize_types.h: the types that weights are quantized to here, and where models are. */
#ifndef TESTS_QUANTIZE_TYPES_H
#define TESTS_QUANTIZE_TYPES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "gguf_writer.h"
#include "kernel/quantize.h"
#include "model/gguf.h"

#define SHARED "../shared/golden/"

static const tensor_type types[] = {TENSOR_Q8_0, TENSOR_Q6_K, TENSOR_Q4_K, TENSOR_Q4_0};
enum { N_TYPES = 4 };

static inline const tensor_type_info *info_of(tensor_type type)
{
    return tensor_type_find((uint32_t)type);
}

static inline double relative_error(const float *x, const float *decoded, size_t n)
{
    double error = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)decoded[i] - (double)x[i];
        error += difference * difference;
        squares += (double)x[i] * (double)x[i];
    }
    return squares > 0 ? sqrt(error / squares) : sqrt(error);
}

#endif
