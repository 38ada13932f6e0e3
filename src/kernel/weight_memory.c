/* weight_memory.c: one range of addresses for all matrices of a model. Matrices of a megabyte or
 * two have no huge page of their own; side by side they share them. */
#include "kernel/weight_memory.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 * 1024 * 1024, ALIGNMENT = 64 /* a cache line */ };

struct weight_memory {
    char *mapped;
    size_t mapped_bytes;
    char *next, *end;
};

error_code weight_memory_create(weight_memory **out, size_t most_bytes, failure *fail)
{
    *out = NULL;
    weight_memory *w = calloc(1, sizeof *w);
    if (w == NULL || __builtin_add_overflow(most_bytes, HUGE_PAGE_BYTES, &w->mapped_bytes)) {
        free(w);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu bytes of weights", most_bytes);
    }
    w->mapped = mmap(NULL, w->mapped_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w->mapped == MAP_FAILED) {
        failure_set(fail, ERR_MEMORY, "no memory for %zu bytes of weights", w->mapped_bytes);
        free(w);
        return ERR_MEMORY;
    }
    size_t past = (size_t)(uintptr_t)w->mapped % HUGE_PAGE_BYTES;
    w->next = w->mapped + (HUGE_PAGE_BYTES - past) % HUGE_PAGE_BYTES;
    w->end = w->next + (most_bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; /* pages are longer */
    madvise(w->mapped, w->mapped_bytes, MADV_HUGEPAGE); /* a wish: fewer TLB misses when granted */
    *out = w;
    return OK;
}

void weight_memory_destroy(weight_memory *w)
{
    if (w == NULL)
        return;
    munmap(w->mapped, w->mapped_bytes);
    free(w);
}

void *weight_memory_take(weight_memory *w, size_t bytes)
{
    size_t left = (size_t)(w->end - w->next);
    size_t whole = bytes > left ? 0 : (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (whole == 0 || whole > left)
        return NULL;
    void *taken = w->next;
    w->next += whole;
    return taken;
}
