/*
 * pool_prefix.h: where a prompt belongs: the hash of as much of its beginning as few others share.
 *
 * A prompt has marks: after 256, 512, 1024 … bytes, at the end of its first user's message, at its
 * end. Prompts with an equal beginning up to a mark have an equal hash there. Which mark says where
 * a prompt goes depends on what else comes (pool_heat): the first one at which no more than a given
 * share of the latest prompts agree. So documents stay together with all questions on them, and a
 * system prompt that everybody has does not send everybody to one place: its conversations are told
 * apart by what follows. No clock, no lock: one thread at a time.
 */
#ifndef BACKEND_POOL_PREFIX_H
#define BACKEND_POOL_PREFIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/aligned.h"

#define PREFIX_FIRST_BYTES 256
#define PREFIX_LAST_BYTES ((size_t)64 << 10) /* what follows is not looked at */
#define PREFIX_MARKS 16

typedef struct pool_prefix {
    uint64_t marks[PREFIX_MARKS];
    size_t n;      /* of them; at least one after pool_prefix_mark */
    size_t length; /* bytes so far */
    uint64_t hash;
    size_t next; /* where the next mark is */
    unsigned char rest[PREFIX_FIRST_BYTES];
    size_t n_rest; /* taken, not hashed yet */
} pool_prefix;

void pool_prefix_init(pool_prefix *p);
void pool_prefix_add(pool_prefix *p, const void *bytes, size_t n);
void pool_prefix_mark(pool_prefix *p); /* here; once more at the end */

#define HEAT_LINES 512
#define HEAT_ROWS 2
#define HEAT_COLUMNS 16

/* A line of a cache. */
typedef struct pool_heat_line {
    _Alignas(ALIGNED_BYTES) uint16_t counts[HEAT_ROWS][HEAT_COLUMNS];
} pool_heat_line;

/* How often each mark came lately: a count-min sketch, whose counts are halved as they grow. All
 * counts of a mark are in one line, so that it takes one miss of a cache to find them. */
typedef struct pool_heat {
    pool_heat_line lines[HEAT_LINES];
    uint32_t total; /* prompts */
} pool_heat;

/* Where a prompt belongs. */
typedef struct pool_place {
    uint64_t hash;
    double share; /* of the latest prompts, those that belong there too */
} pool_place;

/* At a mark that no more than `most` of the latest prompts have, a share; the prompt is among them
 * from now on. */
pool_place pool_heat_place(pool_heat *h, const pool_prefix *p, double most);

#endif
