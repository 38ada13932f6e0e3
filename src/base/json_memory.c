/* json_memory.c: jansson's allocator: the system's memory, then a reserve of addresses. */
#include "base/json_memory.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { ALIGNMENT = 16 };

/* A text of a request's largest size, grown once more, on several threads at once. */
#define RESERVE_BYTES ((size_t)256 << 20)

static char *reserve;                                    /* NULL: there were no addresses for it */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the rest */
static size_t used;                                      /* bytes given out */
static size_t pieces; /* in use; without any the reserve is whole again */

static _Thread_local bool was_short;

static void *take_of_reserve(size_t bytes)
{
    void *piece = NULL;
    pthread_mutex_lock(&lock);
    size_t whole = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (reserve != NULL && bytes <= RESERVE_BYTES && whole <= RESERVE_BYTES - used) {
        piece = reserve + used;
        used += whole;
        pieces++;
    }
    pthread_mutex_unlock(&lock);
    return piece;
}

static void *take_memory(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory != NULL)
        return memory;
    was_short = true;
    return take_of_reserve(bytes);
}

static void give_memory(void *memory)
{
    if (reserve == NULL || (char *)memory < reserve || (char *)memory >= reserve + RESERVE_BYTES) {
        free(memory);
        return;
    }
    pthread_mutex_lock(&lock);
    if (--pieces == 0)
        used = 0;
    pthread_mutex_unlock(&lock);
}

/* Before the first value, whichever thread makes it. */
__attribute__((constructor)) static void replace_allocator(void)
{
    void *addresses = mmap(NULL, RESERVE_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    reserve = addresses != MAP_FAILED ? addresses : NULL;
    json_set_alloc_funcs(take_memory, give_memory);
}

bool json_memory_was_short(void)
{
    bool before = was_short;
    was_short = false;
    return before;
}

bool json_memory_is_short(void)
{
    return was_short;
}

void json_memory_note_shortage(void)
{
    was_short = true;
}
