/* attention_reference.c: attention's parts in portable C. Sixteen partial sums a dot product,
 * added up as a tree, because that is what the wide instruction sets do. */
#include "kernel/vector_reference.h"

#include <math.h>

/* Value `index` of nibbles in blocks of KV_Q4_BLOCK values. */
static float nibble_of(const uint8_t *q, size_t index)
{
    enum { HALF = KV_Q4_BLOCK / 2 };
    unsigned both = q[index / KV_Q4_BLOCK * HALF + index % HALF];
    return (float)(index % KV_Q4_BLOCK < HALF ? both & 15 : both >> 4);
}

static float load_value(kv_type type, const void *values, size_t index)
{
    if (type == KV_Q4) {
        const kv_q4 *block = (const kv_q4 *)values + index / KV_Q4_BLOCK;
        return fmaf(f16_to_f32(block->d), nibble_of(block->q, index % KV_Q4_BLOCK),
                    f16_to_f32(block->m));
    }
    if (type == KV_Q8_0) {
        const kv_q8_0 *block = (const kv_q8_0 *)values + index / KV_BLOCK;
        return f16_to_f32(block->d) * (float)block->q[index % KV_BLOCK];
    }
    return type == KV_F16 ? f16_to_f32(((const uint16_t *)values)[index])
                          : ((const float *)values)[index];
}

static float sum_lanes(float lanes[REFERENCE_LANES])
{
    for (size_t half = REFERENCE_LANES / 2; half > 0; half /= 2)
        for (size_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

void reference_expand(kv_type type, float *dst, const void *src, size_t n, const void *next)
{
    (void)next;
    for (size_t i = 0; i < n; i++)
        dst[i] = load_value(type, src, i);
}

void reference_scores(kv_type type, const float *q, size_t n_queries, const void *k, size_t n,
                      size_t head_dim, const void *next, float *s)
{
    (void)next;
    for (size_t i = 0; i < n_queries; i++, q += head_dim, s += ATTENTION_BLOCK)
        for (size_t j = 0; j < n; j++) {
            float lanes[REFERENCE_LANES] = {0};
            for (size_t d = 0; d < head_dim; d++) {
                float *lane = &lanes[d % REFERENCE_LANES];
                *lane = fmaf(q[d], load_value(type, k, j * head_dim + d), *lane);
            }
            s[j] = sum_lanes(lanes);
        }
}

void reference_expand_keys(float *dst, const void *group, size_t begin, size_t end, size_t head_dim,
                           const void *next)
{
    (void)next;
    kv_q4_group g = kv_q4_group_at(group, head_dim);
    for (size_t p = begin; p < end; p++)
        for (size_t c = 0; c < head_dim; c++)
            *dst++ =
                fmaf(f16_to_f32(g.d[c]), nibble_of(g.q + p * head_dim / 2, c), f16_to_f32(g.m[c]));
}

float reference_softmax(float *s, size_t n, float *max, float *sum)
{
    float new_max = *max;
    for (size_t j = 0; j < n; j++)
        new_max = s[j] > new_max ? s[j] : new_max;
    float rescale = reference_exp(*max - new_max);
    for (size_t j = 0; j < n; j++)
        s[j] = reference_exp(s[j] - new_max);
    for (size_t j = n; j < ATTENTION_BLOCK; j++)
        s[j] = 0;
    float lanes[REFERENCE_LANES];
    for (size_t l = 0; l < REFERENCE_LANES; l++)
        lanes[l] = (s[l] + s[l + 16]) + (s[l + 32] + s[l + 48]);
    *sum = fmaf(*sum, rescale, sum_lanes(lanes));
    *max = new_max;
    return rescale;
}

void reference_accumulate(kv_type type, float *out, const float *rescale, const float *s,
                          size_t n_queries, const void *v, size_t n, size_t head_dim,
                          const void *next)
{
    (void)next;
    for (size_t i = 0; i < n_queries; i++, out += head_dim, s += ATTENTION_BLOCK)
        for (size_t d = 0; d < head_dim; d++) {
            float value = out[d] * rescale[i];
            for (size_t j = 0; j < n; j++)
                value = fmaf(s[j], load_value(type, v, j * head_dim + d), value);
            out[d] = value;
        }
}
