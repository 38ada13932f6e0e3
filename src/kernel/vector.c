/* vector.c: the small vector operations, by the set that was chosen. */
#include "kernel/internal.h"

void vector_rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    kernel_active()->rms_norm(out, x, weight, n, epsilon);
}

void vector_layer_norm(float *out, const float *x, const float *weight, size_t n, float epsilon)
{
    kernel_active()->layer_norm(out, x, weight, n, epsilon);
}

void vector_add(float *x, const float *y, size_t n)
{
    kernel_active()->add(x, y, n);
}

void vector_scale(float *x, float factor, size_t n)
{
    kernel_active()->scale(x, x, factor, n);
}

void vector_soft_cap(float *x, float cap, size_t n)
{
    kernel_active()->soft_cap(x, cap, n);
}

void vector_silu_multiply(float *gate, const float *up, size_t n)
{
    kernel_active()->silu_multiply(gate, up, n);
}

void vector_gelu_multiply(float *gate, const float *up, size_t n)
{
    kernel_active()->gelu_multiply(gate, up, n);
}

void vector_swiglu_oai_multiply(float *gate, const float *up, size_t n)
{
    kernel_active()->swiglu_oai_multiply(gate, up, n);
}

void vector_rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout)
{
    kernel_active()->rotate(x, cosines, sines, pairs, layout);
}
