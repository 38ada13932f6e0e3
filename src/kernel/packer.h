/*
 * packer.h: from a file's tensors to what products read, by threads of its own, while the caller
 * does something else.
 *
 * Jobs are added, then all of them are started; each is cut into pieces of some hundred kilobytes,
 * which are fetched, checked to hold numbers only, and used while they are in a core's cache. One
 * thread adds, starts, helps and finishes.
 */
#ifndef KERNEL_PACKER_H
#define KERNEL_PACKER_H

#include "kernel/kernel.h"

/* Brings the bytes of a source that are at `from` to `into`. Several threads call it at once. */
typedef error_code packer_fetch(void *context, const void *from, void *into, size_t bytes,
                                failure *fail);

/* Blocks of a tensor, and what is made of them. */
typedef struct packer_job {
    const tensor_type_info *type;
    const void *data;   /* in the file's layout; only read between start and finish */
    size_t bytes;       /* whole blocks */
    size_t unit_bytes;  /* `use` gets whole multiples of it, whole blocks; the end may be less */
    const char *tensor; /* for messages, copied; NULL: it has no name */
    size_t first_block; /* of `data` in the tensor, for messages */
    /* Makes something of `bytes` of the job that begin with its byte `at`, and are at `data`. */
    void (*use)(const struct packer_job *job, const void *data, size_t at, size_t bytes);
    void *into; /* what `use` knows: where to, and which part of it */
    size_t part;
} packer_job;

/* Without `fetch` sources are looked at where they are. */
error_code packer_create(packer **out, packer_fetch *fetch, void *context, failure *fail);
/* What has not been packed stays so, and what `into` points to is no more touched. NULL is allowed.
 */
void packer_destroy(packer *p);
error_code packer_add(packer *p, const packer_job *job, failure *fail);
/* Fetched sources are taken in the order of their addresses: that of the file. */
void packer_start(packer *p);
/* Packs a piece; false: none is left to take. */
bool packer_help(packer *p);
double packer_progress(packer *p); /* 0 … 1 of all bytes: those of which somebody has taken care */
/* Helps until all is packed. ERR_FORMAT with the first block, in order, that is no number; what
 * fetching failed with. */
error_code packer_finish(packer *p, failure *fail);

#endif
