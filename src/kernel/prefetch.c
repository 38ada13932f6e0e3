/* prefetch.c: how far ahead products of one column ask for weights on this processor. */
#include "kernel/prefetch.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

size_t prefetch_one_column = PREFETCH_BYTES;

#if defined(__x86_64__)
/* AMD's family 19h, Zen 3 and 4: a stream that nothing but its loads asks for is 3 to 18 % faster
 * there, and as much slower on the next family. See docs/speed.md. */
void prefetch_choose(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_AMD_ebx)
        return;
    __get_cpuid(1, &a, &b, &c, &d);
    unsigned family = (a >> 8 & 15) + (a >> 20 & 255);
    if (family == 0x19)
        prefetch_one_column = PREFETCH_NONE;
}
#endif
