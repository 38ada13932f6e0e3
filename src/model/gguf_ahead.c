/* gguf_ahead.c: a thread that reads the file ahead, as far as it has not been read. */
#include "model/gguf_ahead.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "model/gguf_internal.h"

/* Reading is what the system looks ahead of, at twice the speed of wishes (posix_fadvise), of which
 * it hears no more at once than the device's window has. */
#define PIECE_BYTES ((size_t)1 << 20)

struct gguf_ahead {
    const gguf *file;
    pthread_t thread;
    atomic_bool stop;
    char piece[PIECE_BYTES]; /* read into, and forgotten */
};

/* By its last byte: what is there already need not be copied. */
static bool is_cached(const gguf *part, size_t end)
{
    char byte;
    const struct iovec one = {&byte, 1};
    return preadv2(part->fd, &one, 1, (off_t)end - 1, RWF_NOWAIT) == 1;
}

static void read_part(gguf_ahead *a, const gguf *part)
{
    for (size_t at = 0; at < part->bytes && !atomic_load(&a->stop); at += PIECE_BYTES) {
        size_t n = part->bytes - at < PIECE_BYTES ? part->bytes - at : PIECE_BYTES;
        if (!is_cached(part, at + n) && pread(part->fd, a->piece, n, (off_t)at) <= 0)
            return; /* whoever packs it finds out why */
    }
}

static void *read_all(void *context)
{
    gguf_ahead *a = context;
    read_part(a, a->file);
    for (size_t i = 0; i < a->file->n_others; i++)
        read_part(a, a->file->others[i]);
    return NULL;
}

gguf_ahead *gguf_ahead_start(const gguf *file)
{
    gguf_ahead *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->file = file;
    atomic_init(&a->stop, false);
    if (pthread_create(&a->thread, NULL, read_all, a) == 0)
        return a;
    free(a);
    return NULL;
}

void gguf_ahead_stop(gguf_ahead *a)
{
    if (a == NULL)
        return;
    atomic_store(&a->stop, true);
    pthread_join(a->thread, NULL);
    free(a);
}
