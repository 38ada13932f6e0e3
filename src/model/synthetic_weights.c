/* synthetic_weights.c: random blocks of every type with finite scales. */
#include "model/synthetic_internal.h"

#include <math.h>
#include <string.h>

enum { NO_FIELD = 255 };

/* A block of a quantised type is random bytes but for its f16 fields: with scale 1 (and the minimum
 * `min_ratio`) the values that random bytes stand for have the deviation `deviation`. */
typedef struct random_format {
    tensor_type type;
    uint8_t scale_at, min_at; /* where the fields stand in a block */
    float deviation;
    float min_ratio; /* minimum / scale that makes the mean zero */
} random_format;

static const random_format formats[] = {
    {TENSOR_F32, NO_FIELD, NO_FIELD, 0, 0},
    {TENSOR_F16, NO_FIELD, NO_FIELD, 0, 0},
    {TENSOR_BF16, NO_FIELD, NO_FIELD, 0, 0},
    {TENSOR_Q8_0, 0, NO_FIELD, 73.9f, 0},    /* q uniform in −128 … 127 */
    {TENSOR_Q4_0, 0, NO_FIELD, 4.637f, 0},   /* −8 … 7 */
    {TENSOR_Q4_1, 0, 2, 4.61f, -7.5f},       /* q − 7.5; 0 … 15 */
    {TENSOR_Q5_0, 0, NO_FIELD, 9.247f, 0},   /* −16 … 15 */
    {TENSOR_Q5_1, 0, 2, 9.233f, -15.5f},     /* q − 15.5; 0 … 31 */
    {TENSOR_IQ4_NL, 0, NO_FIELD, 67.44f, 0}, /* sixteen values from −127 to 113 */
    {TENSOR_Q2_K, 80, 82, 13.874f, 1.5f}, /* scale · q − 1.5 · min; each 0 … 15, q 0 … 3 */
    {TENSOR_Q3_K, 108, NO_FIELD, 43.34f, 0}, /* (−32 … 31) · (−4 … 3) */
    {TENSOR_Q4_K, 0, 2, 258.3f, 7.5f},  /* scale · q − 7.5 · min; each 0 … 63, q 0 … 15 */
    {TENSOR_Q5_K, 0, 2, 526.9f, 15.5f}, /* the same, q 0 … 31 */
    {TENSOR_Q6_K, 208, NO_FIELD, 1365.7f, 0}, /* (−128 … 127) · (−32 … 31) */
    {TENSOR_IQ4_XS, 0, NO_FIELD, 1246.3f, 0}, /* (−32 … 31) · the values of IQ4_NL */
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

random_state random_start(uint64_t seed, uint64_t stream)
{
    uint64_t x = seed * 0x9E3779B97F4A7C15u + (stream + 1) * 0xD1B54A32D192ED03u;
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9u;
    x ^= x >> 27;
    return (random_state){x == 0 ? 1 : x};
}

static const random_format *format_of(tensor_type type)
{
    for (size_t i = 0; i < N_FORMATS; i++)
        if (formats[i].type == type)
            return &formats[i];
    return NULL;
}

bool random_weights_known(tensor_type type)
{
    return format_of(type) != NULL;
}

void random_weights_init(random_weights *w, tensor_type type, float deviation)
{
    const random_format *f = format_of(type);
    w->format = f;
    w->block_bytes = tensor_type_find((uint32_t)type)->block_bytes;
    for (int i = 0; i < 256; i++) /* evenly from −√3 to √3 deviations */
        w->values[i] = deviation * sqrtf(3.0f) * ((float)(2 * i + 1) / 256.0f - 1.0f);
    if (f->deviation > 0) {
        w->scale = f32_to_f16(deviation / f->deviation);
        w->min = f32_to_f16(deviation / f->deviation * f->min_ratio);
    }
}

static void fill_random(random_state *random, char *at, size_t bytes)
{
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t x = random_next(random);
        memcpy(at, &x, sizeof x);
    }
    uint64_t x = random_next(random);
    memcpy(at, &x, bytes);
}

static void fill_f32(const random_weights *w, random_state *random, float *out, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint64_t x = random_next(random);
        for (int k = 0; k < 8 && i < n; k++, x >>= 8)
            out[i++] = w->values[x & 255];
    }
}

static void fill_16_bits(const random_weights *w, random_state *random, uint16_t *out, size_t n)
{
    uint16_t values[256];
    for (int i = 0; i < 256; i++) {
        uint32_t bits;
        memcpy(&bits, &w->values[i], sizeof bits);
        values[i] =
            w->format->type == TENSOR_F16 ? f32_to_f16(w->values[i]) : (uint16_t)(bits >> 16);
    }
    for (size_t i = 0; i < n;) {
        uint64_t x = random_next(random);
        for (int k = 0; k < 8 && i < n; k++, x >>= 8)
            out[i++] = values[x & 255];
    }
}

void random_weights_fill(const random_weights *w, random_state *random, void *blocks, size_t n)
{
    const random_format *f = w->format;
    if (f->type == TENSOR_F32) {
        fill_f32(w, random, blocks, n);
        return;
    }
    if (f->deviation == 0) {
        fill_16_bits(w, random, blocks, n);
        return;
    }
    unsigned char *at = blocks;
    fill_random(random, blocks, n * w->block_bytes);
    for (size_t i = 0; i < n; i++, at += w->block_bytes) {
        uint16_t scale = w->scale;
        if (f->min_at == NO_FIELD) /* either sign, because q has one more negative value */
            scale |= (uint16_t)((at[f->scale_at] & 1u) << 15);
        else
            memcpy(at + f->min_at, &w->min, sizeof w->min);
        memcpy(at + f->scale_at, &scale, sizeof scale);
    }
}
