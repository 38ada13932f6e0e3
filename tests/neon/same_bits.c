/*
 * same_bits.c: every kernel this processor runs against the reference, function by function, bit
 * for bit. A plain program without libraries, so that it can be cross-compiled and emulated.
 *
 *   same_bits names     the kernels that run here, best first, a line each
 *   same_bits           all checks; prints their number and a digest of the reference's results,
 *                       which must be the same on every architecture
 */
#include "same_bits.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MOST_REPORTS 20 /* failures printed in full */

static size_t n_checks, n_failures;
static uint64_t digest = 14695981039346656037u; /* FNV-1a */

/* What the kernel room warns of: the program's log needs a library, this one may have none. */
void log_write(log_level level, const char *format, ...)
{
    (void)level;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

static uint64_t random_state = 88172645463325252u;

uint32_t bits_random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

float bits_random_float(void)
{
    return (float)(int32_t)bits_random_u32() * 0x1p-31f;
}

void bits_random_floats(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] = bits_random_float() * factor;
}

float bits_float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void *bits_allocate(size_t bytes)
{
    bytes = (bytes + RECORD_ALIGNMENT - 1) / RECORD_ALIGNMENT * RECORD_ALIGNMENT;
    void *memory = aligned_alloc(RECORD_ALIGNMENT, bytes);
    if (memory == NULL) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    memset(memory, 0, bytes);
    return memory;
}

const kernel_set *bits_sets[MOST_SETS];
size_t bits_n_sets;

static void find_sets(void)
{
    for (const char *const *name = kernel_names(); *name != NULL; name++) {
        failure fail;
        if (kernel_init(*name, &fail) != OK) {
            fprintf(stderr, "%s\n", fail.text);
            exit(1);
        }
        if (kernel_active() != &kernel_reference && bits_n_sets < MOST_SETS)
            bits_sets[bits_n_sets++] = kernel_active();
    }
}

void bits_add_to_digest(const void *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        digest = (digest ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
}

void bits_check(const kernel_set *set, const char *what, size_t a, size_t b, const void *got,
                const void *expected, size_t n, size_t size)
{
    n_checks++;
    if (memcmp(got, expected, n * size) == 0)
        return;
    n_failures++;
    if (n_failures > MOST_REPORTS)
        return;
    size_t i = 0;
    while (memcmp((const char *)got + i * size, (const char *)expected + i * size, size) == 0)
        i++;
    printf("%s: %s (%zu, %zu): element %zu of %zu differs from the reference", set->name, what, a,
           b, i, n);
    if (size == sizeof(float))
        printf(": %a, not %a", (double)((const float *)got)[i],
               (double)((const float *)expected)[i]);
    putchar('\n');
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "names") == 0) {
        for (const char *const *name = kernel_names(); *name != NULL; name++)
            puts(*name);
        return 0;
    }
    find_sets();
    bits_check_products();
    bits_check_attention();
    bits_check_vectors();
    printf("checks %zu failures %zu\n", n_checks, n_failures);
    printf("reference %016llx\n", (unsigned long long)digest);
    return n_failures == 0 ? 0 : 1;
}
