/* matmul_float_x86.h: the products of F32, F16 and BF16, out of what tile_avx512.h or tile_avx2.h
 * provides. */

typedef rows_f32 load_function(const void *record, size_t k);

INLINE rows_f32 column_f32(const void *record, size_t k)
{
    return load_f32(with_prefetch(((const record_f32 *)record)->w[k]));
}

/* Two columns of 16-bit weights make a line. */
INLINE const uint16_t *column_16_bits(const void *record, size_t k)
{
    const uint16_t *column = ((const record_f16 *)record)->w[k];
    return k % 2 == 0 ? with_prefetch(column) : column;
}

INLINE rows_f32 column_f16(const void *record, size_t k)
{
    return load_f16(column_16_bits(record, k));
}

INLINE rows_f32 column_bf16(const void *record, size_t k)
{
    return load_bf16(column_16_bits(record, k));
}

INLINE void add_floats(load_function *load, const void *record, const char *x, size_t x_stride,
                       size_t columns, rows_f32 total[TILE_COLUMNS])
{
    rows_f32 even[TILE_COLUMNS], odd[TILE_COLUMNS];
    EACH_COLUMN even[c] = odd[c] = zero_f32();
    UNROLL for (size_t k = 0; k < BLOCK_COLUMNS; k += 2)
    {
        rows_f32 w0 = load(record, k), w1 = load(record, k + 1);
        EACH_COLUMN
        {
            const float *values = (const float *)(const void *)(x + c * x_stride);
            even[c] = multiply_add(w0, all_f32(values[k]), even[c]);
            odd[c] = multiply_add(w1, all_f32(values[k + 1]), odd[c]);
        }
    }
    EACH_COLUMN total[c] = add_f32(total[c], add_f32(even[c], odd[c]));
}

INLINE void add_record_f32(const void *record, const char *x, size_t x_stride, size_t columns,
                           rows_f32 total[TILE_COLUMNS])
{
    add_floats(column_f32, record, x, x_stride, columns, total);
}

INLINE void add_record_f16(const void *record, const char *x, size_t x_stride, size_t columns,
                           rows_f32 total[TILE_COLUMNS])
{
    add_floats(column_f16, record, x, x_stride, columns, total);
}

INLINE void add_record_bf16(const void *record, const char *x, size_t x_stride, size_t columns,
                            rows_f32 total[TILE_COLUMNS])
{
    add_floats(column_bf16, record, x, x_stride, columns, total);
}

DEFINE_TILE(f32, add_record_f32, MOST_FLOAT_COLUMNS, record_f32, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(f16, add_record_f16, MOST_FLOAT_COLUMNS, record_f16, BLOCK_COLUMNS * sizeof(float))
DEFINE_TILE(bf16, add_record_bf16, MOST_FLOAT_COLUMNS, record_f16, BLOCK_COLUMNS * sizeof(float))
