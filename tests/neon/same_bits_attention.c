/* same_bits_attention.c: the parts of attention over every type of KV. */
#include "same_bits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t head_dims[] = {8, 16, 24, 40, 64, 72, 96, 128, 256};
enum { HEAD_DIMS = sizeof head_dims / sizeof head_dims[0], MOST_QUERIES = 9, MOST_DIM = 256 };

typedef struct scene {
    float *out, *expected;          /* queries × head_dim */
    float *scores, *expected_score; /* queries × ATTENTION_BLOCK */
    char *q_end, *kv_end;           /* no page follows: who reads past the end is stopped */
    float *q;                       /* queries × head_dim, up to q_end */
    void *kv;                       /* positions × head_dim, up to kv_end */
} scene;

enum { GUARD_BYTES = 1 << 16, GUARDED_BYTES = ATTENTION_BLOCK * MOST_DIM * sizeof(float) };

/* The end of GUARDED_BYTES of memory, behind which nothing may be read. */
static char *guarded_end(void)
{
    size_t bytes = GUARDED_BYTES + GUARD_BYTES;
    char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + GUARDED_BYTES, GUARD_BYTES, PROT_NONE) != 0) {
        fputs("no guarded memory\n", stderr);
        exit(1);
    }
    return memory + GUARDED_BYTES;
}

static scene make_scene(void)
{
    size_t queries = MOST_QUERIES * MOST_DIM * sizeof(float);
    size_t scores = MOST_QUERIES * ATTENTION_BLOCK * sizeof(float);
    return (scene){.out = bits_allocate(queries),
                   .expected = bits_allocate(queries),
                   .scores = bits_allocate(scores),
                   .expected_score = bits_allocate(scores),
                   .q_end = guarded_end(),
                   .kv_end = guarded_end()};
}

static void free_scene(scene *s)
{
    munmap(s->q_end - GUARDED_BYTES, GUARDED_BYTES + GUARD_BYTES);
    munmap(s->kv_end - GUARDED_BYTES, GUARDED_BYTES + GUARD_BYTES);
    free(s->out);
    free(s->expected);
    free(s->scores);
    free(s->expected_score);
}

static void fill_scene(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    s->q = (float *)(void *)(s->q_end - queries * head_dim * sizeof(float));
    s->kv = s->kv_end - kv_value_bytes(type, n * head_dim);
    bits_random_floats(s->q, queries * head_dim, 2);
    for (size_t i = 0; type == KV_Q4 && i < kv_value_bytes(type, n * head_dim); i++)
        ((uint8_t *)s->kv)[i] = (uint8_t)(bits_random_u32() & 0xbb); /* finite halves */
    for (size_t i = 0; type != KV_Q4 && i < n * head_dim; i++) {
        float value = bits_random_float();
        if (type == KV_F32)
            ((float *)s->kv)[i] = value;
        else if (type == KV_F16)
            ((uint16_t *)s->kv)[i] = f32_to_f16(value);
        else
            ((kv_q8_0 *)(void *)s->kv)[i / KV_BLOCK].q[i % KV_BLOCK] = (int8_t)(value * 127);
    }
    for (size_t i = 0; type == KV_Q8_0 && i < n * head_dim / KV_BLOCK; i++)
        ((kv_q8_0 *)(void *)s->kv)[i].d = f32_to_f16(bits_random_float());
}

static const char *const expand_names[KV_TYPES] = {"expand f32", "expand f16", "expand q8_0",
                                                   "expand q4"};
static const char *const score_names[KV_TYPES] = {"scores f32", "scores f16", "scores q8_0"};
static const char *const accumulate_names[KV_TYPES] = {"accumulate f32", "accumulate f16",
                                                       "accumulate q8_0"};

static void check_expand(scene *s, kv_type type, size_t n, size_t head_dim)
{
    float *expected = bits_allocate(n * head_dim * sizeof *expected);
    float *out = bits_allocate(n * head_dim * sizeof *out);
    kernel_reference.expand(type, expected, s->kv, n * head_dim, NULL);
    bits_add_to_digest(expected, n * head_dim * sizeof *expected);
    for (size_t set = 0; set < bits_n_sets; set++) {
        bits_sets[set]->expand(type, out, s->kv, n * head_dim, s->kv_end);
        bits_check(bits_sets[set], expand_names[type], head_dim, n, out, expected, n * head_dim,
                   sizeof *out);
    }
    free(expected);
    free(out);
}

/* A group's bytes are as many as those of ATTENTION_BLOCK positions of values. */
static void check_expand_keys(scene *s, size_t begin, size_t end, size_t head_dim)
{
    size_t n = (end - begin) * head_dim;
    float *expected = bits_allocate(n * sizeof *expected), *out = bits_allocate(n * sizeof *out);
    kernel_reference.expand_keys(expected, s->kv, begin, end, head_dim, NULL);
    bits_add_to_digest(expected, n * sizeof *expected);
    for (size_t set = 0; set < bits_n_sets; set++) {
        bits_sets[set]->expand_keys(out, s->kv, begin, end, head_dim, s->kv_end);
        bits_check(bits_sets[set], "expand keys", head_dim, end, out, expected, n, sizeof *out);
    }
    free(expected);
    free(out);
}

static void check_scores(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    kernel_reference.scores(type, s->q, queries, s->kv, n, head_dim, NULL, s->expected_score);
    for (size_t i = 0; i < queries; i++)
        bits_add_to_digest(s->expected_score + i * ATTENTION_BLOCK, n * sizeof(float));
    for (size_t set = 0; set < bits_n_sets; set++) {
        bits_sets[set]->scores(type, s->q, queries, s->kv, n, head_dim, s->kv_end, s->scores);
        for (size_t i = 0; i < queries; i++) /* past n anything may stand */
            bits_check(bits_sets[set], score_names[type], head_dim, n,
                       s->scores + i * ATTENTION_BLOCK, s->expected_score + i * ATTENTION_BLOCK, n,
                       sizeof(float));
    }
}

static void check_accumulate(scene *s, kv_type type, size_t queries, size_t n, size_t head_dim)
{
    float rescale[MOST_QUERIES];
    bits_random_floats(rescale, MOST_QUERIES, 1);
    size_t bytes = queries * head_dim * sizeof(float);
    memcpy(s->expected, s->q, bytes);
    kernel_reference.accumulate(type, s->expected, rescale, s->scores, queries, s->kv, n, head_dim,
                                NULL);
    bits_add_to_digest(s->expected, bytes);
    for (size_t set = 0; set < bits_n_sets; set++) {
        memcpy(s->out, s->q, bytes);
        bits_sets[set]->accumulate(type, s->out, rescale, s->scores, queries, s->kv, n, head_dim,
                                   s->kv_end);
        bits_check(bits_sets[set], accumulate_names[type], head_dim, n, s->out, s->expected,
                   queries * head_dim, sizeof(float));
    }
}

static void check_attention(void)
{
    static const size_t positions[] = {1, 2, 3, 4, 5, 7, 16, 33, 63, 64};
    scene s = make_scene();
    for (int type = 0; type < KV_TYPES; type++)
        for (size_t d = 0; d < HEAD_DIMS; d++)
            for (size_t queries = 1; queries <= MOST_QUERIES; queries++)
                for (size_t p = 0; p < sizeof positions / sizeof positions[0]; p++) {
                    size_t n = positions[p], head_dim = head_dims[d];
                    if (head_dim % kv_block_values((kv_type)type) != 0)
                        continue;
                    fill_scene(&s, (kv_type)type, queries, n, head_dim);
                    if (queries == 1)
                        check_expand(&s, (kv_type)type, n, head_dim);
                    if (queries == 1 && type == KV_Q4 && n == ATTENTION_BLOCK)
                        for (size_t begin = 0; begin < n; begin += 16)
                            check_expand_keys(&s, begin, n - begin / 32, head_dim);
                    if (type == KV_Q4)
                        continue;
                    check_scores(&s, (kv_type)type, queries, n, head_dim);
                    bits_random_floats(s.scores, queries * ATTENTION_BLOCK, 1);
                    check_accumulate(&s, (kv_type)type, queries, n, head_dim);
                }
    free_scene(&s);
}

/* Every binary16 number, through the values' conversion (a NaN's sign differs between machines). */
static void check_halves(void)
{
    enum { DIM = 64 };
    const float rescale = 0, one = 1;
    for (uint32_t first = 0; first < 65536; first += DIM) {
        uint16_t v[DIM];
        float expected[DIM] = {0}, out[DIM];
        for (uint32_t i = 0; i < DIM; i++)
            v[i] = (uint16_t)(first + i);
        kernel_reference.accumulate(KV_F16, expected, &rescale, &one, 1, v, 1, DIM, NULL);
        for (size_t set = 0; set < bits_n_sets; set++) {
            memset(out, 0, sizeof out);
            bits_sets[set]->accumulate(KV_F16, out, &rescale, &one, 1, v, 1, DIM, NULL);
            bits_check(bits_sets[set], "binary16", first, DIM, out, expected, DIM, sizeof out[0]);
        }
    }
}

static void check_softmax(void)
{
    for (size_t n = 1; n <= ATTENTION_BLOCK; n++)
        for (size_t round = 0; round < 24; round++) {
            float s[ATTENTION_BLOCK], expected[ATTENTION_BLOCK + 3], got[ATTENTION_BLOCK + 3];
            bits_random_floats(s, ATTENTION_BLOCK, round < 8 ? 1 : round < 16 ? 30 : 200);
            if (round % 4 == 3)
                s[bits_random_u32() % n] = -INFINITY;
            float max = round % 2 == 0 ? -INFINITY : 40 * bits_random_float();
            float sum = round % 2 == 0 ? 0 : 1 + fabsf(bits_random_float());
            float *tail = expected + ATTENTION_BLOCK; /* max, sum, rescale */
            memcpy(expected, s, sizeof s);
            tail[0] = max, tail[1] = sum;
            tail[2] = kernel_reference.softmax(expected, n, &tail[0], &tail[1]);
            bits_add_to_digest(expected, sizeof expected);
            for (size_t set = 0; set < bits_n_sets; set++) {
                tail = got + ATTENTION_BLOCK;
                memcpy(got, s, sizeof s);
                tail[0] = max, tail[1] = sum;
                tail[2] = bits_sets[set]->softmax(got, n, &tail[0], &tail[1]);
                bits_check(bits_sets[set], "softmax", n, round, got, expected, ATTENTION_BLOCK + 3,
                           sizeof got[0]);
            }
        }
}

void bits_check_attention(void)
{
    check_attention();
    check_halves();
    check_softmax();
}
