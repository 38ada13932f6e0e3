/* finite.c: whether numbers are numbers: of a tensor in the file's layout, and of f32 values. */
#include "kernel/quant_parts.h"

/* In a word of several fields: the lowest bit of each field's exponent. Added to an exponent that
 * is all ones it carries into the sign's place, and into no other field. */
static uint64_t spread_field(uint64_t field, size_t bytes)
{
    uint64_t word = 0;
    for (size_t i = 0; i < sizeof word; i += bytes)
        word |= field << 8 * i;
    return word;
}

/* How many of n values of two or four bytes, of which the upper 16 bits hold the exponent, come
 * before the first that is none. */
static size_t finite_values(const uint8_t *data, size_t n, size_t bytes, uint16_t exponent)
{
    size_t each = sizeof(uint64_t) / bytes, i = 0;
    uint64_t top = (uint64_t)exponent << (8 * bytes - 16);
    uint64_t exponents = spread_field(top, bytes), ones = spread_field(top & -top, bytes);
    uint64_t signs = spread_field(1ull << (8 * bytes - 1), bytes), word;
    for (; i + each <= n; i += each) {
        memcpy(&word, data + i * bytes, sizeof word);
        if ((((word & exponents) + ones) & signs) != 0)
            break;
    }
    while (i < n && (half_bits(data + (i + 1) * bytes - 2) & exponent) != exponent)
        i++;
    return i;
}

size_t tensor_finite_blocks(const tensor_type_info *type, const void *data, size_t n)
{
    const packed_format *format = packed_format_of(packed_find(type->type));
    const number_fields *fields = &format->numbers;
    if (type->block_values == 1)
        return finite_values(data, n, type->block_bytes, fields->exponent);
    const uint8_t *at = (const uint8_t *)data + fields->at;
    for (size_t i = 0; i < n; i++, at += type->block_bytes)
        for (size_t k = 0; k < fields->count; k++)
            if ((half_bits(at + 2 * k) & fields->exponent) == fields->exponent)
                return i;
    return n;
}

bool vector_is_finite(const float *x, size_t n)
{
    return finite_values((const uint8_t *)x, n, sizeof *x, F32_EXPONENT) == n;
}
