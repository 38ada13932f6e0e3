/* quantize.c: a search for scales and minima per type, then rounding to them. */
#include "kernel/quantize.h"

#include <math.h>
#include <string.h>

#include "kernel/quant_blocks.h"

enum { LANES = 8 };

#define F16_MOST 65504.0f /* with values up to this every type's scales are finite */

/* Values and what the fits need to know of them. */
typedef struct sample {
    const float *x;
    size_t n; /* 16 or 32 */
    float low, high;
    float sum, squares; /* Σx, Σx² */
} sample;

/* Integers chosen for a sample, and their sums. */
typedef struct choice {
    float sum, squares, product; /* Σq, Σq², Σxq */
} choice;

static sample look_at(const float *x, size_t n)
{
    sample s = {.x = x, .n = n, .low = x[0], .high = x[0]};
    for (size_t i = 0; i < n; i++) {
        s.low = x[i] < s.low ? x[i] : s.low;
        s.high = x[i] > s.high ? x[i] : s.high;
        s.sum += x[i];
        s.squares += x[i] * x[i];
    }
    return s;
}

/* Adding and taking away 1.5 · 2^23 rounds to the nearest integer, ties to even, in every lane at
 * once; q = (x + offset) · inverse, rounded and clamped. */
static inline float nearest(float x, float offset, float inverse, float least, float most)
{
    const float magic = 12582912.0f;
    float v = (x + offset) * inverse;
    v = v < least ? least : v;
    v = v > most ? most : v;
    return (v + magic) - magic;
}

/* Sums run in eight lanes, because the order of a float sum is what it says and so would keep a
 * compiler from using wide registers. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float))));

static inline choice choose_n(const float *x, size_t n, float offset, float inverse, float least,
                              float most)
{
    float q[BLOCK_COLUMNS];
    for (size_t i = 0; i < n; i++)
        q[i] = nearest(x[i], offset, inverse, least, most);
    lanes sum = {0}, squares = {0}, product = {0};
    for (size_t i = 0; i < n; i += LANES) {
        lanes qs, xs;
        memcpy(&qs, q + i, sizeof qs);
        memcpy(&xs, x + i, sizeof xs);
        sum += qs;
        squares += qs * qs;
        product += xs * qs;
    }
    choice c = {0};
    for (size_t k = 0; k < LANES; k++) {
        c.sum += sum[k];
        c.squares += squares[k];
        c.product += product[k];
    }
    return c;
}

/* With the number of values known, the compiler unrolls. */
static choice choose(const sample *s, float offset, float inverse, float least, float most)
{
    return s->n == 16 ? choose_n(s->x, 16, offset, inverse, least, most)
                      : choose_n(s->x, BLOCK_COLUMNS, offset, inverse, least, most);
}

/* Σ(x − scale · q + minimum)² */
static float error_of(const sample *s, const choice *c, float scale, float minimum)
{
    return s->squares + scale * scale * c->squares + (float)s->n * minimum * minimum -
           2 * scale * c->product + 2 * minimum * s->sum - 2 * scale * minimum * c->sum;
}

static float inverse_of(float x)
{
    return x == 0 ? 0 : 1 / x;
}

static void store_half(uint8_t at[2], uint16_t bits)
{
    memcpy(at, &bits, sizeof bits);
}

/* x in f16, rounded away from zero: a scale of scales that came out smaller would not reach the
 * widest of them, which matters where f16 has few bits left (weights below 1e-4). */
static float half_beyond(float x)
{
    uint16_t bits = f32_to_f16(x);
    if (fabsf(f16_to_f32(bits)) < fabsf(x))
        bits++;
    return f16_to_f32(bits);
}

/* The integers themselves, once their scale is settled. */
static void integers(const float *x, size_t n, float offset, float scale, float least, float most,
                     int8_t *q)
{
    float inverse = inverse_of(scale);
    for (size_t i = 0; i < n; i++)
        q[i] = (int8_t)nearest(x[i], offset, inverse, least, most);
}

/* ---- one scale: Q8_0, Q4_0, and the sixteenths of Q6_K --------------------------------------- */

/* The scale of least error for integers in −2^(bits−1) … 2^(bits−1) − 1. The end of the range that
 * reaches further belongs to the value of largest magnitude, so the scale may be negative; the
 * range is stretched and shrunk around that by up to `reach` integers, and each choice refitted. */
static float fit_scale(const sample *s, float half, float reach)
{
    float extreme = s->high > -s->low ? s->high : s->low;
    if (extreme == 0)
        return 0;
    enum { STEPS = 9 };
    float best = 0, best_gain = -1;
    for (int sign = -1; sign <= 1; sign += 2)
        for (int step = -STEPS; step <= STEPS; step++) {
            float range = (half + reach * (float)step / STEPS) * (float)sign;
            choice c = choose(s, 0, range / extreme, -half, half - 1);
            /* Least squares gives scale = Σxq / Σq² and takes (Σxq)² / Σq² off the error. */
            float gain = c.squares > 0 ? c.product * c.product / c.squares : 0;
            if (gain > best_gain) {
                best_gain = gain;
                best = c.squares > 0 ? c.product / c.squares : 0;
            }
        }
    return best;
}

static void encode_q8_0(const float *x, void *dst)
{
    file_q8_0 *block = dst;
    sample s = look_at(x, BLOCK_COLUMNS);
    float most = s.high > -s.low ? s.high : -s.low;
    uint16_t d = f32_to_f16(most / 127);
    store_half(block->d, d);
    integers(x, BLOCK_COLUMNS, 0, f16_to_f32(d), -127, 127, block->q);
}

static void encode_q4_0(const float *x, void *dst)
{
    file_q4_0 *block = dst;
    sample s = look_at(x, BLOCK_COLUMNS);
    uint16_t d = f32_to_f16(fit_scale(&s, 8, 1.5f));
    int8_t q[BLOCK_COLUMNS];
    store_half(block->d, d);
    integers(x, BLOCK_COLUMNS, 0, f16_to_f32(d), -8, 7, q);
    for (size_t k = 0; k < BLOCK_COLUMNS / 2; k++)
        block->q[k] = (uint8_t)((q[k] + 8) | (q[k + BLOCK_COLUMNS / 2] + 8) << 4);
}

/* ---- Q6_K ------------------------------------------------------------------------------------ */

enum { SIXTEENTHS = K_COLUMNS / 16 };

/* The integer scale of least error near wanted / d, and the choice it leads to. */
static float settle_scale(const sample *s, float wanted, float d, choice *best)
{
    float centre = nearest(wanted, 0, inverse_of(d), -127, 126);
    float best_scale = 0, best_error = s->squares; /* of nothing but zeros */
    *best = (choice){0};
    for (int step = -1; step <= 1; step++) {
        float scale = d * (centre + (float)step);
        choice c = choose(s, 0, inverse_of(scale), -32, 31);
        float error = error_of(s, &c, scale, 0);
        if (error < best_error) {
            best_error = error;
            best_scale = centre + (float)step;
            *best = c;
        }
    }
    return best_scale;
}

static void pack_q6_k(const int8_t values[K_COLUMNS], file_q6_k *super)
{
    memset(super->high, 0, sizeof super->high);
    for (size_t i = 0; i < K_COLUMNS; i++) {
        size_t half = i / 128, quarter = i % 128 / 32, k = i % 32;
        unsigned v = (unsigned)(values[i] + 32);
        uint8_t *low = &super->low[half * 64 + quarter % 2 * 32 + k];
        *low = (uint8_t)(quarter < 2 ? v & 15 : *low | (v & 15) << 4);
        uint8_t *high = &super->high[half * 32 + k];
        *high = (uint8_t)(*high | v >> 4 << (2 * quarter));
    }
}

static void encode_q6_k(const float *x, void *dst)
{
    file_q6_k *super = dst;
    sample samples[SIXTEENTHS];
    float wanted[SIXTEENTHS], scales[SIXTEENTHS], widest = 0;
    for (size_t b = 0; b < SIXTEENTHS; b++) {
        samples[b] = look_at(x + b * 16, 16);
        wanted[b] = fit_scale(&samples[b], 32, 2.0f);
        widest = fabsf(wanted[b]) > fabsf(widest) ? wanted[b] : widest;
    }
    float d = half_beyond(widest / -128); /* the widest scale becomes −128 */
    for (int round = 0; round < 3; round++) {
        float product = 0, squares = 0;
        for (size_t b = 0; b < SIXTEENTHS; b++) {
            choice c;
            scales[b] = settle_scale(&samples[b], wanted[b], d, &c);
            product += scales[b] * c.product;
            squares += scales[b] * scales[b] * c.squares;
        }
        if (squares > 0)
            d = f16_to_f32(f32_to_f16(product / squares));
    }
    int8_t values[K_COLUMNS];
    for (size_t b = 0; b < SIXTEENTHS; b++) {
        super->scales[b] = (int8_t)scales[b];
        integers(x + b * 16, 16, 0, d * scales[b], -32, 31, values + b * 16);
    }
    store_half(super->d, f32_to_f16(d));
    pack_q6_k(values, super);
}

/* ---- Q4_K ------------------------------------------------------------------------------------ */

/* x ≈ scale · q − minimum with q in 0 … 15 and minimum ≥ 0, by least squares for a given choice. */
static float solve(const sample *s, const choice *c, float *scale, float *minimum)
{
    float n = (float)s->n, determinant = n * c->squares - c->sum * c->sum;
    *scale = *minimum = 0;
    if (determinant > 0) {
        *scale = (n * c->product - s->sum * c->sum) / determinant;
        *minimum = (c->sum * c->product - c->squares * s->sum) / determinant;
    }
    if (!(*minimum > 0)) {
        *minimum = 0;
        *scale = c->squares > 0 ? c->product / c->squares : 0;
    }
    return error_of(s, c, *scale, *minimum);
}

static void fit_scale_and_minimum(const sample *s, float *scale, float *minimum)
{
    enum { STEPS = 12 };
    float low = s->low < 0 ? s->low : 0, width = s->high - low, best = INFINITY;
    *scale = 0;
    *minimum = -low;
    if (!(width > 0))
        return;
    /* The range may be cut: the outermost values then err more and all others less. */
    for (int step = -STEPS / 3; step <= STEPS; step++) {
        float steps = 15 + 0.25f * (float)step, a, b;
        choice c = choose(s, -low * (15 / steps), steps / width, 0, 15);
        float error = solve(s, &c, &a, &b);
        if (error < best && a > 0) {
            best = error;
            *scale = a;
            *minimum = b;
        }
    }
}

/* What a super-block is fitted with: d · scales[b] · q − dmin · minima[b]. */
typedef struct fit_q4_k {
    sample samples[K_BLOCKS];
    float wanted_scale[K_BLOCKS], wanted_minimum[K_BLOCKS];
    float scales[K_BLOCKS], minima[K_BLOCKS];
    choice choices[K_BLOCKS];
    float d, dmin;
} fit_q4_k;

/* The integers of least error among the neighbours of what was wanted. */
static void settle_block(fit_q4_k *f, size_t b)
{
    const sample *s = &f->samples[b];
    float scale = nearest(f->wanted_scale[b], 0, inverse_of(f->d), 0, 63);
    float minimum = nearest(f->wanted_minimum[b], 0, inverse_of(f->dmin), 0, 63);
    float best = s->squares; /* of nothing but zeros */
    f->scales[b] = f->minima[b] = 0;
    f->choices[b] = (choice){0};
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++) {
            float sc = scale + (float)i, m = minimum + (float)j;
            if (sc < 0 || sc > 63 || m < 0 || m > 63)
                continue;
            choice c = choose(s, f->dmin * m, inverse_of(f->d * sc), 0, 15);
            float error = error_of(s, &c, f->d * sc, f->dmin * m);
            if (error < best) {
                best = error;
                f->scales[b] = sc;
                f->minima[b] = m;
                f->choices[b] = c;
            }
        }
}

/* d and dmin of least error for the integers as they stand. */
static void refit(fit_q4_k *f)
{
    float qq = 0, qm = 0, mm = 0, xq = 0, xm = 0;
    for (size_t b = 0; b < K_BLOCKS; b++) {
        const choice *c = &f->choices[b];
        qq += f->scales[b] * f->scales[b] * c->squares;
        qm += f->scales[b] * f->minima[b] * c->sum;
        mm += f->minima[b] * f->minima[b] * (float)f->samples[b].n;
        xq += f->scales[b] * c->product;
        xm += f->minima[b] * f->samples[b].sum;
    }
    float determinant = qq * mm - qm * qm, d = f->d, dmin = f->dmin;
    if (mm == 0 && qq > 0)
        d = xq / qq;
    else if (qq == 0 && mm > 0)
        dmin = -xm / mm;
    else if (determinant > 1e-6f * qq * mm) {
        d = (mm * xq - qm * xm) / determinant;
        dmin = (qm * xq - qq * xm) / determinant;
    }
    if (d >= 0 && dmin >= 0) {
        f->d = f16_to_f32(f32_to_f16(d));
        f->dmin = f16_to_f32(f32_to_f16(dmin));
    }
}

static void pack_q4_k(const fit_q4_k *f, const float *x, file_q4_k *super)
{
    memset(super, 0, sizeof *super);
    store_half(super->d, f32_to_f16(f->d));
    store_half(super->dmin, f32_to_f16(f->dmin));
    for (size_t b = 0; b < K_BLOCKS; b++) {
        unsigned scale = (unsigned)f->scales[b], min = (unsigned)f->minima[b];
        uint8_t *at = super->scales + b % 4;
        if (b < 4) {
            at[0] = (uint8_t)(at[0] | scale);
            at[4] = (uint8_t)(at[4] | min);
        } else {
            at[0] = (uint8_t)(at[0] | scale >> 4 << 6);
            at[4] = (uint8_t)(at[4] | min >> 4 << 6);
            at[8] = (uint8_t)((scale & 15) | (min & 15) << 4);
        }
        int8_t q[BLOCK_COLUMNS];
        integers(x + b * BLOCK_COLUMNS, BLOCK_COLUMNS, f->dmin * f->minima[b], f->d * f->scales[b],
                 0, 15, q);
        for (size_t k = 0; k < BLOCK_COLUMNS; k++) {
            uint8_t *byte = &super->q[b / 2 * BLOCK_COLUMNS + k];
            *byte = (uint8_t)(*byte | (unsigned)q[k] << (b % 2 * 4));
        }
    }
}

static void settle_blocks(fit_q4_k *f)
{
    for (size_t b = 0; b < K_BLOCKS; b++)
        settle_block(f, b);
}

static void encode_q4_k(const float *x, void *dst)
{
    fit_q4_k f;
    float widest = 0, deepest = 0;
    for (size_t b = 0; b < K_BLOCKS; b++) {
        f.samples[b] = look_at(x + b * BLOCK_COLUMNS, BLOCK_COLUMNS);
        fit_scale_and_minimum(&f.samples[b], &f.wanted_scale[b], &f.wanted_minimum[b]);
        widest = f.wanted_scale[b] > widest ? f.wanted_scale[b] : widest;
        deepest = f.wanted_minimum[b] > deepest ? f.wanted_minimum[b] : deepest;
    }
    f.d = half_beyond(widest / 63);
    f.dmin = half_beyond(deepest / 63);
    settle_blocks(&f);
    refit(&f);
    settle_blocks(&f);
    pack_q4_k(&f, x, dst);
}

/* ---- any type -------------------------------------------------------------------------------- */

static const struct encoder {
    tensor_type type;
    void (*encode)(const float *x, void *block);
} encoders[] = {
    {TENSOR_Q8_0, encode_q8_0},
    {TENSOR_Q4_0, encode_q4_0},
    {TENSOR_Q4_K, encode_q4_k},
    {TENSOR_Q6_K, encode_q6_k},
};

static const struct encoder *encoder_of(tensor_type type)
{
    for (size_t i = 0; i < sizeof encoders / sizeof encoders[0]; i++)
        if (encoders[i].type == type)
            return &encoders[i];
    return NULL;
}

bool tensor_can_encode(tensor_type type)
{
    return encoder_of(type) != NULL;
}

bool tensor_encode(tensor_type type, const float *src, void *dst, size_t n)
{
    const struct encoder *e = encoder_of(type);
    const tensor_type_info *info = tensor_type_find((uint32_t)type);
    if (e == NULL)
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(src[i]) <= F16_MOST)) /* NaN too */
            return false;
    uint8_t *block = dst;
    for (size_t i = 0; i < n; i += info->block_values, block += info->block_bytes)
        e->encode(src + i, block);
    return true;
}
