/* vector_select.c: what sampling asks of a whole vocabulary of logits. */
#include "kernel/internal.h"

#include <math.h>
#include <string.h>

enum { SELECT_CHUNK = 4096 /* values after which the largest so far is looked at */ };

size_t vector_argmax(const float *x, size_t n)
{
    const kernel_set *kernel = kernel_active();
    float best = -INFINITY;
    size_t chunk = 0;
    for (size_t i = 0; i < n; i += SELECT_CHUNK) {
        float largest = kernel->largest(x + i, n - i < SELECT_CHUNK ? n - i : SELECT_CHUNK);
        if (largest > best) {
            best = largest;
            chunk = i;
        }
    }
    size_t i = chunk;
    while (i < n && x[i] != best)
        i++;
    return i < n ? i : 0;
}

double vector_exponentials(float *x, size_t n, float max)
{
    const kernel_set *kernel = kernel_active();
    double total = 0;
    float sum = 0;
    size_t i = 0;
    for (; i + ATTENTION_BLOCK <= n; i += ATTENTION_BLOCK) {
        kernel->softmax(x + i, ATTENTION_BLOCK, &max, &sum);
        total += (double)sum;
        sum = 0;
    }
    if (i < n) {
        float tail[ATTENTION_BLOCK]; /* softmax fills whole blocks */
        memcpy(tail, x + i, (n - i) * sizeof *tail);
        kernel->softmax(tail, n - i, &max, &sum);
        memcpy(x + i, tail, (n - i) * sizeof *tail);
        total += (double)sum;
    }
    return total;
}
