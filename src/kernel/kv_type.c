/* kv_type.c: the KV cache's types: their names, sizes, and storing values. */
#include "kernel/internal.h"

static const char *const kv_names[KV_TYPES] = {
    [KV_F32] = "f32", [KV_F16] = "f16", [KV_Q8_0] = "q8_0", [KV_Q4] = "q4"};

const char *kv_type_name(kv_type type)
{
    return kv_names[type];
}

bool kv_type_find(const char *name, kv_type *out)
{
    for (int i = 0; i < KV_TYPES; i++)
        if (strcmp(name, kv_names[i]) == 0) {
            *out = (kv_type)i;
            return true;
        }
    return false;
}

bool kv_groups_keys(kv_type type)
{
    return type == KV_Q4;
}

size_t kv_block_values(kv_type type)
{
    return type == KV_Q8_0 ? KV_BLOCK : type == KV_Q4 ? KV_Q4_BLOCK : 1;
}

size_t kv_value_bytes(kv_type type, size_t n)
{
    return kv_bytes(type, n);
}

size_t kv_read_bytes(kv_type type, size_t head_dim, size_t position, size_t seen)
{
    size_t bytes = 2 * seen * kv_bytes(type, head_dim);
    if (!kv_groups_keys(type))
        return bytes;
    size_t own = position % KV_GROUP + 1, open = own < seen ? own : seen;
    return bytes + open * (kv_bytes(KV_OPEN_TYPE, head_dim) - kv_bytes(type, head_dim));
}

/* The scale becomes an f16 only after the division: its rounding moves a value by at most 1/32 of a
 * step, and the kernel's own quantisation can be used. */
static void store_q8_0(kv_q8_0 *dst, const float *src, size_t n)
{
    const float largest_f16 = 65504;
    _Static_assert((int)KV_BLOCK == (int)BLOCK_COLUMNS, "blocks are an activation's");
    for (size_t i = 0; i < n; i += KV_BLOCK, dst++) {
        activation_block block;
        kernel_active()->quantize(&block, src + i, 1);
        dst->d = f32_to_f16(block.scale < largest_f16 ? block.scale : largest_f16);
        memcpy(dst->q, block.q, sizeof dst->q);
    }
}

/* ---- four bits ------------------------------------------------------------------------------ */

static float within_f16(float x)
{
    const float largest_f16 = 65504;
    return x > largest_f16 ? largest_f16 : x < -largest_f16 ? -largest_f16 : x;
}

/* How numbers from `low` to `high` are told by four bits. */
typedef struct steps {
    uint16_t d, m;       /* as they are kept */
    float least, a_unit; /* of the kept minimum; 1 / d, or 0 where all numbers are the same */
} steps;

static steps steps_between(float low, float high)
{
    steps s = {f32_to_f16(within_f16((high - low) / 15)), f32_to_f16(within_f16(low)), 0, 0};
    float d = f16_to_f32(s.d);
    s.least = f16_to_f32(s.m);
    s.a_unit = d > 0 ? 1 / d : 0;
    return s;
}

static unsigned step_of(const steps *s, float x)
{
    float at = (x - s->least) * s->a_unit + 0.5f;
    return at >= 15 ? 15 : at > 0 ? (unsigned)at : 0; /* 0 for what is no number */
}

static void store_q4(kv_q4 *dst, const float *src, size_t n)
{
    enum { HALF = KV_Q4_BLOCK / 2 };
    for (const float *end = src + n; src < end; src += KV_Q4_BLOCK, dst++) {
        float low = src[0], high = src[0];
        for (size_t i = 1; i < KV_Q4_BLOCK; i++) {
            low = src[i] < low ? src[i] : low;
            high = src[i] > high ? src[i] : high;
        }
        steps s = steps_between(low, high);
        dst->d = s.d;
        dst->m = s.m;
        for (size_t i = 0; i < HALF; i++)
            dst->q[i] = (uint8_t)(step_of(&s, src[i]) | step_of(&s, src[i + HALF]) << 4);
    }
}

/* One block of channels: `x` is KV_GROUP × KV_Q4_BLOCK; d, m and q are the block's in the group,
 * whose rows of nibbles are row_bytes apart. */
static void close_channels(uint16_t *d, uint16_t *m, uint8_t *q, size_t row_bytes,
                           float (*x)[KV_Q4_BLOCK])
{
    enum { HALF = KV_Q4_BLOCK / 2 };
    steps channels[KV_Q4_BLOCK];
    for (size_t c = 0; c < KV_Q4_BLOCK; c++) {
        float low = x[0][c], high = x[0][c];
        for (size_t p = 1; p < KV_GROUP; p++) {
            low = x[p][c] < low ? x[p][c] : low;
            high = x[p][c] > high ? x[p][c] : high;
        }
        channels[c] = steps_between(low, high);
        d[c] = channels[c].d;
        m[c] = channels[c].m;
    }
    for (size_t p = 0; p < KV_GROUP; p++, q += row_bytes)
        for (size_t c = 0; c < HALF; c++)
            q[c] = (uint8_t)(step_of(&channels[c], x[p][c]) |
                             step_of(&channels[c + HALF], x[p][c + HALF]) << 4);
}

void kv_close_group(kv_type type, void *group, const void *open, size_t head_dim)
{
    assert(kv_groups_keys(type));
    (void)type;
    float x[KV_GROUP][KV_Q4_BLOCK];
    uint16_t *d = group, *m = d + head_dim;
    uint8_t *q = (uint8_t *)(m + head_dim);
    for (size_t c = 0; c < head_dim; c += KV_Q4_BLOCK) {
        for (size_t p = 0; p < KV_GROUP; p++)
            kernel_active()->expand(KV_OPEN_TYPE, x[p],
                                    (const char *)open + kv_bytes(KV_OPEN_TYPE, p * head_dim + c),
                                    KV_Q4_BLOCK, NULL);
        close_channels(d + c, m + c, q + c / 2, head_dim / 2, x);
    }
}

void kv_store(kv_type type, void *dst, const float *src, size_t n)
{
    if (type == KV_F16)
        kernel_active()->store_f16(dst, src, n);
    else if (type == KV_Q8_0)
        store_q8_0(dst, src, n);
    else if (type == KV_Q4)
        store_q4(dst, src, n);
    else
        memcpy(dst, src, n * sizeof *src);
}
