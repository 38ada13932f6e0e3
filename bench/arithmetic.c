/* arithmetic.c: how much of the processor's integer products a prefill and steps of several rows
 * reach. Nothing but vpdpbusd on 512-bit registers, on as many threads, is measured right before
 * each of them: what others do on the machine touches both.
 *
 *   arithmetic FILE [TURNS]     GMAC/s and shares of that peak, medians (lowest to highest)
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/kv.h"
#include "kernel/inline.h"
#include "measure/measure.h"
#include "model/forward.h"

enum { CONTEXT = 512, CHUNK = 64, MOST_TURNS = 100, PEAK_ROUNDS = 1 << 20, LANES = 16 * 4 };

typedef struct bench {
    const model *m;
    team *threads;
    forward *forward;
    kv_slot *slot;
    forward_row rows[CHUNK];
} bench;

static void must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "arithmetic: %s\n", fail->text);
    exit(1);
}

/* ---- the peak ---------------------------------------------------------------------------------
 */

#if defined(__x86_64__)
#include <immintrin.h>

#define CHAINS 12

__attribute__((target("avx512f,avx512vnni"))) static void multiply(void *context, int thread,
                                                                   int n_threads)
{
    (void)thread;
    (void)n_threads;
    __m512i sums[CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(1);
    UNROLL for (size_t i = 0; i < CHAINS; i++) sums[i] = _mm512_set1_epi32((int)i);
    for (size_t round = 0; round < PEAK_ROUNDS; round++) {
        UNROLL for (size_t i = 0; i < CHAINS; i++) /* or the sums would go by way of memory */
            sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
        __asm__ volatile("" : "+v"(a), "+v"(b));
    }
    UNROLL for (size_t i = 1; i < CHAINS; i++) sums[0] = _mm512_add_epi32(sums[0], sums[i]);
    *(volatile int *)context = _mm512_reduce_add_epi32(sums[0]);
}

static double peak_gmac_s(const bench *b)
{
    int sink;
    double start = clock_ms();
    team_run(b->threads, multiply, &sink);
    return (double)PEAK_ROUNDS * CHAINS * LANES * team_size(b->threads) / (clock_ms() - start) /
           1e6;
}

static bool has_peak(void)
{
    return __builtin_cpu_supports("avx512vnni");
}
#else
static double peak_gmac_s(const bench *b)
{
    (void)b;
    return 0;
}

static bool has_peak(void)
{
    return false;
}
#endif

/* ---- what a model multiplies ------------------------------------------------------------------
 */

static double size_of(const matrix *m)
{
    return m == NULL ? 0 : (double)matrix_rows(m) * (double)matrix_cols(m);
}

/* Multiplications with weights of a row without logits. */
static double row_products(const model *m)
{
    double all = 0;
    for (size_t i = 0; i < m->config.n_layers; i++) {
        const layer_weights *l = &m->layers[i];
        all += size_of(l->qkv) + size_of(l->attn_output) + size_of(l->gate_up) + size_of(l->down);
    }
    return all;
}

static double run_rows(bench *b, size_t position, size_t n, size_t outputs)
{
    for (size_t i = 0; i < n; i++)
        b->rows[i] = (forward_row){(int32_t)((position + i) * 7919 % b->m->config.n_vocab),
                                   (uint32_t)(position + i), &b->slot->view,
                                   i + outputs >= n ? WANT_LOGITS : WANT_NOTHING};
    double start = clock_ms();
    forward_step(b->forward, b->threads, b->rows, n);
    return clock_ms() - start;
}

/* ms of a prefill of CONTEXT tokens with logits for the last. */
static double run_prefill(bench *b)
{
    double ms = 0;
    for (size_t at = 0; at < CONTEXT; at += CHUNK)
        ms += run_rows(b, at, CHUNK, at + CHUNK == CONTEXT ? 1 : 0);
    return ms;
}

static void measure(bench *b, const char *name, size_t rows, size_t outputs, size_t turns)
{
    double rates[MOST_TURNS], shares[MOST_TURNS], ms[MOST_TURNS];
    double products = (double)rows * row_products(b->m) + (double)outputs * size_of(b->m->output);
    for (size_t i = 0; i < turns; i++) {
        double peak = peak_gmac_s(b);
        ms[i] = rows == CONTEXT ? run_prefill(b) : run_rows(b, CONTEXT / 8, rows, outputs);
        rates[i] = products / ms[i] / 1e6;
        shares[i] = 100 * rates[i] / peak;
    }
    spread rate = spread_of(rates, turns), share = spread_of(shares, turns);
    spread time = spread_of(ms, turns);
    printf("%-12s %8.2f ms  %6.1f GMAC/s (%.1f to %.1f)  %5.1f %% (%.1f to %.1f) of the peak\n",
           name, time.median, rate.median, rate.low, rate.high, share.median, share.low,
           share.high);
}

int main(int argc, char **argv)
{
    failure fail;
    model *m;
    bench b = {0};
    kv_cache *kv;
    size_t turns = argc == 3 ? strtoul(argv[2], NULL, 10) : 10;
    if (argc < 2 || argc > 3 || turns == 0 || turns > MOST_TURNS) {
        fprintf(stderr, "usage: arithmetic FILE [TURNS]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(kernel_init(NULL, &fail), &fail);
    if (!has_peak()) {
        printf("no AVX-512 with VNNI here: there is no peak to compare with\n");
        return 0;
    }
    must(model_load(&m, argv[1], &(model_options){0}, &fail), &fail);
    must(team_create(&b.threads, team_default_size(), &fail), &fail);
    must(forward_create(&b.forward, m, team_size(b.threads), CHUNK, CHUNK, &fail), &fail);
    must(kv_create(&kv, &m->config, KV_F16, CONTEXT, CONTEXT, 1, &fail), &fail);
    b.m = m;
    b.slot = kv_acquire(kv, &(int32_t){0}, 1);
    kv_commit(kv, b.slot, CONTEXT);
    run_prefill(&b);
    printf("%s, %d threads: vpdpbusd alone %.1f GMAC/s\n", argv[1], team_size(b.threads),
           peak_gmac_s(&b));
    measure(&b, "1 row", 1, 1, turns);
    measure(&b, "8 rows", 8, 8, turns);
    measure(&b, "16 rows", 16, 16, turns);
    measure(&b, "prefill 512", CONTEXT, 1, turns);
    kv_destroy(kv);
    forward_destroy(b.forward);
    team_destroy(b.threads);
    model_destroy(m);
    return 0;
}
