/* prefetch.c: how far ahead products ask for weights on this processor. */
#include "kernel/prefetch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

prefetch_distances prefetch = {
    .one = PREFETCH_BYTES, .several = PREFETCH_BYTES, .few_of_bytes = PREFETCH_NEAR_BYTES};

#if defined(__x86_64__)
/* AMD's Zen 4, which is family 19h with AVX-512: a stream that little but its loads asks for is 3
 * to 18 % faster there, up to 40 % where it is of bytes, and as much slower on the next family and
 * on Zen 3, the same family's; several columns are 5 % faster in the mean when asked for nearer.
 * See docs/speed.md. */
void prefetch_choose(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx)
        return;
    __get_cpuid(1, &a, &b, &c, &d);
    unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    if (family == 0x19 && __builtin_cpu_supports("avx512f"))
        prefetch = (prefetch_distances){
            .one = PREFETCH_NONE, .several = PREFETCH_NEAREST_BYTES, .few_of_bytes = PREFETCH_NONE};
}
#endif
