/* test_kernel_types.c: binary16 exhaustively, and each type's decoding against known blocks. */
#include "kernel_test.h"

/* The definition: (−1)^s · 2^(e−15) · 1.m, or 2^−14 · 0.m. */
static double half_by_definition(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double mantissa = (half & 1023) / 1024.0;
    double magnitude = exponent == 0 ? ldexp(mantissa, -14) : ldexp(1 + mantissa, exponent - 15);
    return half & 0x8000 ? -magnitude : magnitude;
}

static void test_half_to_float(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float value = f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) != 0x7c00) {
            assert_true((double)value == half_by_definition((uint16_t)h));
            assert_int_equal(signbit(value) != 0, h >> 15);
        } else if ((h & 0x3ff) == 0) {
            assert_true(isinf(value) && (signbit(value) != 0) == (h >> 15 != 0));
        } else {
            assert_true(isnan(value));
        }
    }
}

static void test_half_round_trip(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t back = f32_to_f16(f16_to_f32((uint16_t)h));
        bool is_nan = (h & 0x7c00) == 0x7c00 && (h & 0x3ff) != 0;
        assert_int_equal(back, is_nan ? (h | 0x200) : h);
    }
}

/* Between two neighbours: below the middle the lower, above it the upper, in it the even one. */
static void test_half_rounding(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        float low = f16_to_f32((uint16_t)h), high = f16_to_f32((uint16_t)(h + 1));
        float middle = (low + high) / 2;
        uint32_t even = h % 2 == 0 ? h : h + 1;
        assert_int_equal(f32_to_f16(middle), even);
        assert_int_equal(f32_to_f16(nextafterf(middle, 0)), h);
        assert_int_equal(f32_to_f16(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(f32_to_f16(-middle), even | 0x8000);
    }
    assert_int_equal(f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(f32_to_f16(INFINITY), 0x7c00);
    assert_int_equal(f32_to_f16(-1e30f), 0xfc00);
    assert_int_equal(f32_to_f16(0x1p-25f), 0);
    assert_int_equal(f32_to_f16(0x1.000002p-25f), 1);
}

/* kv_store converts with the chosen kernel: it must agree with f32_to_f16. */
static void test_kv_store(void **state)
{
    (void)state;
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        use_kernel(*name);
        float values[259];
        uint16_t halves[259];
        for (size_t i = 0; i < 259; i++)
            values[i] = ldexpf(random_float(), (int)(random_u32() % 40) - 28);
        kv_store(KV_F16, halves, values, 259);
        for (size_t i = 0; i < 259; i++)
            assert_int_equal(halves[i], f32_to_f16(values[i]));
        float copy[259];
        kv_store(KV_F32, copy, values, 259);
        assert_memory_equal(copy, values, sizeof values);
    }
}

static void test_find(void **state)
{
    (void)state;
    for (size_t i = 0; i < TYPE_COUNT; i++) {
        const tensor_type_info *info = tensor_type_find(kernel_test_types[i]);
        assert_non_null(info);
        assert_int_equal(info->type, kernel_test_types[i]);
    }
    assert_null(tensor_type_find(4));
    assert_null(tensor_type_find(UINT32_MAX));
    assert_string_equal(tensor_type_find(TENSOR_Q4_K)->name, "Q4_K");
}

static void test_decode_32(void **state)
{
    (void)state;
    uint8_t q8[34] = {0}, q4[18] = {0};
    float out[32];
    put_half(q8, 0.5f);
    q8[2 + 3] = (uint8_t)-128;
    q8[2 + 31] = 127;
    tensor_type_find(TENSOR_Q8_0)->decode(q8, out, 32);
    assert_true(out[0] == 0 && out[3] == -64 && out[31] == 63.5f);
    put_half(q4, 2);
    q4[2 + 1] = 0xf0; /* value 1 is 0 − 8, value 17 is 15 − 8 */
    tensor_type_find(TENSOR_Q4_0)->decode(q4, out, 32);
    assert_true(out[0] == -16 && out[1] == -16 && out[17] == 14);
}

static void test_decode_five_bits(void **state)
{
    (void)state;
    uint8_t q4[20] = {0}, q50[22] = {0}, q51[24] = {0};
    float out[32];
    put_half(q4, 2);
    put_half(q4 + 2, -1);
    q4[4 + 3] = 0xa5; /* values 3 and 19 */
    tensor_type_find(TENSOR_Q4_1)->decode(q4, out, 32);
    assert_true(out[0] == -1 && out[3] == 9 && out[19] == 19);
    put_half(q50, 2);
    q50[2 + 2] = 1 << 3; /* fifth bit of value 19 */
    q50[6 + 3] = 0xa5;
    tensor_type_find(TENSOR_Q5_0)->decode(q50, out, 32);
    assert_true(out[0] == -32 && out[3] == -22 && out[19] == 20);
    put_half(q51, 2);
    put_half(q51 + 2, -1);
    q51[4] = 1 << 3; /* fifth bit of value 3 */
    q51[8 + 3] = 0xa5;
    tensor_type_find(TENSOR_Q5_1)->decode(q51, out, 32);
    assert_true(out[0] == -1 && out[3] == 41 && out[19] == 19);
}

static void test_decode_iq4(void **state)
{
    (void)state;
    uint8_t nl[18] = {0}, xs[136] = {0};
    float out[256];
    put_half(nl, 2);
    nl[2 + 3] = 0xf8; /* values 3 and 19 */
    tensor_type_find(TENSOR_IQ4_NL)->decode(nl, out, 32);
    assert_true(out[0] == -254 && out[3] == 2 && out[19] == 226);
    put_half(xs, 0.5f);
    xs[3] = 2 << 2;            /* upper bits of the scale of block 5 */
    xs[4 + 2] = 7 << 4;        /* its nibble: 39 stands for 7 */
    xs[8 + 5 * 16 + 1] = 0xf8; /* values 160 + 1 and 160 + 17 */
    tensor_type_find(TENSOR_IQ4_XS)->decode(xs, out, 256);
    assert_true(out[0] == -0.5f * 32 * -127 && out[160] == 0.5f * 7 * -127);
    assert_true(out[161] == 3.5f && out[177] == 3.5f * 113);
}

/* The sixteen values at every scale; both ends of the scale's range. */
static void test_decode_mxfp4(void **state)
{
    (void)state;
    static const double magnitudes[8] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    for (unsigned e = 0; e < 256; e++) {
        uint8_t block[17] = {(uint8_t)e};
        float out[32];
        for (unsigned k = 0; k < 16; k++)
            block[1 + k] = (uint8_t)(k | (15 - k) << 4); /* values k and k + 16 */
        tensor_type_find(TENSOR_MXFP4)->decode(block, out, 32);
        for (unsigned k = 0; k < 32; k++) {
            unsigned q = k < 16 ? k : 31 - k;
            float expected = (float)ldexp(magnitudes[q % 8], (int)e - 127);
            if (e == 255) /* no number (OCP MX) */
                assert_true(isnan(out[k]));
            else
                assert_true(out[k] == (q < 8 ? expected : -expected));
        }
    }
}

static void test_decode_low_k(void **state)
{
    (void)state;
    uint8_t q2[84] = {0}, q3[110] = {0};
    float out[256];
    put_half(q2 + 80, 0.5f);
    put_half(q2 + 82, 1);
    q2[2 * 5 + 1] = 0x37;      /* values 176 … 191: scale 7, min 3 */
    q2[16 + 32 + 20] = 2 << 2; /* value 128 + 32 + 20 */
    tensor_type_find(TENSOR_Q2_K)->decode(q2, out, 256);
    assert_true(out[0] == 0 && out[175] == 0 && out[176] == -3 && out[180] == 0.5f * 7 * 2 - 3);
    put_half(q3 + 108, 0.5f);
    q3[20] = 1 << 5;           /* third bit of value 160 + 20 */
    q3[32 + 32 + 20] = 2 << 2; /* its lower two */
    q3[96 + 3] = 9 << 4;       /* nibble of scale 11 */
    q3[96 + 8 + 3] = 2 << 4;   /* its upper bits: 41 stands for 9 */
    tensor_type_find(TENSOR_Q3_K)->decode(q3, out, 256);
    assert_true(out[0] == 64 && out[176] == 0.5f * 9 * -4 && out[180] == 0.5f * 9 * 2);
}

static void test_decode_q5_k(void **state)
{
    (void)state;
    uint8_t q5[176] = {0};
    float out[256];
    put_half(q5, 0.5f);
    put_half(q5 + 2, 1);
    q5[4 + 2] = 3;          /* scale 2 */
    q5[4 + 6] = 4;          /* min 2 */
    q5[16 + 7] = 1 << 2;    /* fifth bit of value 64 + 7 */
    q5[48 + 32 + 7] = 0x0b; /* its nibble */
    tensor_type_find(TENSOR_Q5_K)->decode(q5, out, 256);
    assert_true(out[0] == 0 && out[64] == -4 && out[71] == 0.5f * 3 * 27 - 4);
}

static void test_decode_k(void **state)
{
    (void)state;
    uint8_t q4[144] = {0}, q6[210] = {0};
    float out[256];
    put_half(q4, 1);
    put_half(q4 + 2, 0.5f);
    q4[4 + 1] = 0xc0 | 5;   /* scale 1 = 5; upper bits of scale 5 = 3 */
    q4[4 + 5] = 0x40 | 2;   /* min 1 = 2; upper bits of min 5 = 1 */
    q4[4 + 9] = 0x70 | 1;   /* scale 5 = 1 | 3 << 4 = 49, min 5 = 7 | 1 << 4 = 23 */
    q4[16 + 4] = 0x90;      /* value 32 + 4 */
    q4[16 + 64 + 4] = 0x30; /* value 160 + 4 */
    tensor_type_find(TENSOR_Q4_K)->decode(q4, out, 256);
    assert_true(out[0] == 0 && out[32] == -1 && out[36] == 5 * 9 - 1);
    assert_true(out[160] == -11.5f && out[164] == 49 * 3 - 11.5f);

    put_half(q6 + 208, 0.25f);
    q6[192 + 1] = 3;            /* values 16 … 31 */
    q6[192 + 14] = (uint8_t)-2; /* values 224 … 239 */
    q6[17] = 0x0a;
    q6[128 + 17] = 0x02; /* value 17 = 10 + 2 · 16 */
    q6[64 + 32 + 5] = 0xf0;
    q6[128 + 32 + 5] = 0xc0; /* value 128 + 96 + 5 = 63 */
    tensor_type_find(TENSOR_Q6_K)->decode(q6, out, 256);
    assert_true(out[0] == 0 && out[16] == -24 && out[17] == 0.25f * 3 * 10);
    assert_true(out[224] == 16 && out[229] == 0.25f * -2 * 31);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_to_float),
        cmocka_unit_test(test_half_round_trip),
        cmocka_unit_test(test_half_rounding),
        cmocka_unit_test(test_kv_store),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_decode_32),
        cmocka_unit_test(test_decode_k),
        cmocka_unit_test(test_decode_q5_k),
        cmocka_unit_test(test_decode_five_bits),
        cmocka_unit_test(test_decode_iq4),
        cmocka_unit_test(test_decode_mxfp4),
        cmocka_unit_test(test_decode_low_k),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
