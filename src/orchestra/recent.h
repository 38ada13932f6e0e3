/*
 * recent.h: what was last known of each of the last so many keys: a table that forgets the one that
 * was used least recently. Inside the room only. Any thread may call; values are copied.
 */
#ifndef ORCHESTRA_RECENT_H
#define ORCHESTRA_RECENT_H

#include <stdbool.h>

#include "base/digest.h"

typedef struct recent recent;

typedef struct recent_key {
    uint8_t digest[DIGEST_SIZE];
} recent_key;

/* Memory for all entries is taken at once. `capacity` ≥ 1. */
error_code recent_create(recent **out, size_t capacity, size_t value_size, failure *fail);
void recent_destroy(recent *r); /* NULL too */

bool recent_find(recent *r, const recent_key *key, void *value);
void recent_store(recent *r, const recent_key *key, const void *value);

#endif
