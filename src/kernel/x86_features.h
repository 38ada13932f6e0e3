/* x86_features.h: what __builtin_cpu_supports does not know by name in every compiler. That the
 * system keeps the registers is part of what AVX2 needs, which is asked first. */
#ifndef KERNEL_X86_FEATURES_H
#define KERNEL_X86_FEATURES_H

#include <cpuid.h>
#include <stdbool.h>

static inline bool supports_f16c(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c >> 29 & 1) != 0;
}

#endif
