/* kernel.c: the one place that chooses: which instruction set runs, and which types exist. */
#include "kernel/internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "kernel/prefetch.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include "kernel/matmul_avxvnni.h"

/* AVX2 but for its integer products: filled in before the first use, by complete_sets. */
static kernel_set kernel_avxvnni = {.name = "avxvnni"};
#endif

static const kernel_set *const kernel_sets[] = {
/* best first */
#if defined(__x86_64__)
    &kernel_avx512,
    &kernel_avxvnni,
    &kernel_avx2,
#elif defined(__aarch64__)
    &kernel_neon,
#endif
    &kernel_reference,
};
enum { SET_COUNT = sizeof kernel_sets / sizeof kernel_sets[0] };

static _Atomic(const kernel_set *) active = &kernel_reference;
static const char *runnable_names[SET_COUNT + 1];
static pthread_once_t runnable_once = PTHREAD_ONCE_INIT;

const kernel_set *kernel_active(void)
{
    return atomic_load_explicit(&active, memory_order_relaxed);
}

const char *kernel_name(void)
{
    return kernel_active()->name;
}

#if defined(__x86_64__)
/* CPUID's bit, as not every compiler knows the extension's name. That the system keeps the
 * registers is part of what AVX2 needs. */
static bool supports_avxvnni(void)
{
    unsigned a, b, c, d;
    return kernel_avx2.supported() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1) != 0;
}

static void complete_sets(void)
{
    prefetch_choose();
    kernel_set set = kernel_avx2;
    set.name = kernel_avxvnni.name;
    set.supported = supports_avxvnni;
    set.tile[PACKED_Q8_0] = avxvnni_tile_q8_0;
    set.tile[PACKED_Q4_0] = avxvnni_tile_q4_0;
    set.tile[PACKED_Q4_1] = avxvnni_tile_q4_1;
    set.tile[PACKED_Q5_0] = avxvnni_tile_q5_0;
    set.tile[PACKED_Q5_1] = avxvnni_tile_q5_1;
    set.tile[PACKED_IQ4_NL] = avxvnni_tile_iq4_nl;
    set.tile[PACKED_Q2_K] = avxvnni_tile_q2_k;
    set.tile[PACKED_Q3_K] = avxvnni_tile_q3_k;
    set.tile[PACKED_Q4_K] = avxvnni_tile_q4_k;
    set.tile[PACKED_Q5_K] = avxvnni_tile_q5_k;
    set.tile[PACKED_Q6_K] = avxvnni_tile_q6_k;
    set.tile[PACKED_IQ4_XS] = avxvnni_tile_iq4_xs;
    set.tile[PACKED_MXFP4] = avxvnni_tile_mxfp4;
    set.wide = avxvnni_wide_forms;
    kernel_avxvnni = set;
}
#else
static void complete_sets(void)
{
}
#endif

static void find_runnable(void)
{
    complete_sets();
    size_t n = 0;
    for (size_t i = 0; i < SET_COUNT; i++)
        if (kernel_sets[i]->supported())
            runnable_names[n++] = kernel_sets[i]->name;
}

const char *const *kernel_names(void)
{
    pthread_once(&runnable_once, find_runnable);
    return runnable_names;
}

error_code kernel_init(const char *name, failure *fail)
{
    const char *best = kernel_names()[0];
    if (name == NULL)
        name = getenv("A_IO_KERNEL");
    if (name == NULL || name[0] == '\0')
        name = best;
    for (size_t i = 0; i < SET_COUNT; i++) {
        if (strcmp(kernel_sets[i]->name, name) != 0)
            continue;
        if (!kernel_sets[i]->supported())
            return failure_set(fail, ERR_UNSUPPORTED,
                               "this CPU cannot run the kernel \"%s\"; the best it runs is \"%s\"",
                               name, best);
        atomic_store_explicit(&active, kernel_sets[i], memory_order_relaxed);
        return OK;
    }
    return failure_set(fail, ERR_INVALID,
                       "unknown kernel \"%s\" (A_IO_KERNEL takes reference, avx2, avxvnni, avx512 "
                       "or neon)",
                       name);
}

static const packed_format *const formats[PACKED_COUNT] = {
    [PACKED_F32] = &format_f32,     [PACKED_F16] = &format_f16,   [PACKED_BF16] = &format_bf16,
    [PACKED_Q8_0] = &format_q8_0,   [PACKED_Q4_0] = &format_q4_0, [PACKED_Q4_1] = &format_q4_1,
    [PACKED_Q5_0] = &format_q5_0,   [PACKED_Q5_1] = &format_q5_1, [PACKED_IQ4_NL] = &format_iq4_nl,
    [PACKED_Q2_K] = &format_q2_k,   [PACKED_Q3_K] = &format_q3_k, [PACKED_Q4_K] = &format_q4_k,
    [PACKED_Q5_K] = &format_q5_k,   [PACKED_Q6_K] = &format_q6_k, [PACKED_IQ4_XS] = &format_iq4_xs,
    [PACKED_MXFP4] = &format_mxfp4,
};

packed_index packed_find(uint32_t type)
{
    unsigned i = 0;
    while (i < PACKED_COUNT && (uint32_t)formats[i]->info.type != type)
        i++;
    return (packed_index)i;
}

const packed_format *packed_format_of(packed_index index)
{
    return formats[index];
}

const tensor_type_info *tensor_type_find(uint32_t id)
{
    packed_index index = packed_find(id);
    return index == PACKED_COUNT ? NULL : &formats[index]->info;
}

const tensor_type_info *tensor_type_find_name(const char *name)
{
    for (size_t i = 0; i < PACKED_COUNT; i++)
        if (strcasecmp(formats[i]->info.name, name) == 0)
            return &formats[i]->info;
    return NULL;
}
