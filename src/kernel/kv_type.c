/* kv_type.c: the KV cache's types: their names, sizes, and storing values. */
#include "kernel/internal.h"

static const char *const kv_names[KV_TYPES] = {
    [KV_F32] = "f32", [KV_F16] = "f16", [KV_Q8_0] = "q8_0"};

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

size_t kv_block_values(kv_type type)
{
    return type == KV_Q8_0 ? KV_BLOCK : 1;
}

size_t kv_value_bytes(kv_type type, size_t n)
{
    return kv_bytes(type, n);
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

void kv_store(kv_type type, void *dst, const float *src, size_t n)
{
    if (type == KV_F16)
        kernel_active()->store_f16(dst, src, n);
    else if (type == KV_Q8_0)
        store_q8_0(dst, src, n);
    else
        memcpy(dst, src, n * sizeof *src);
}
