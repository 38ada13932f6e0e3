/* recent.c: a hash table whose entries are a list by use. */
#include "orchestra/recent.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

typedef struct entry {
    recent_key key;
    uint32_t next;         /* in the bucket */
    uint32_t newer, older; /* in the order of use */
} entry;

struct recent {
    pthread_mutex_t lock;
    size_t capacity, length, n_buckets, value_size;
    uint32_t newest, oldest;
    uint32_t *buckets;
    entry *entries;
    char *values;
};

error_code recent_create(recent **out, size_t capacity, size_t value_size, failure *fail)
{
    recent *r = calloc(1, sizeof *r);
    *out = r;
    if (r == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for what was recent");
    *r = (recent){.capacity = capacity,
                  .n_buckets = 2 * capacity,
                  .value_size = value_size,
                  .newest = NONE,
                  .oldest = NONE};
    pthread_mutex_init(&r->lock, NULL);
    r->buckets = reallocarray(NULL, r->n_buckets, sizeof *r->buckets);
    r->entries = calloc(capacity, sizeof *r->entries);
    r->values = calloc(capacity, value_size);
    if (r->buckets == NULL || r->entries == NULL || r->values == NULL) {
        recent_destroy(r);
        *out = NULL;
        return failure_set(fail, ERR_MEMORY, "no memory for what was recent");
    }
    for (size_t i = 0; i < r->n_buckets; i++)
        r->buckets[i] = NONE;
    return OK;
}

void recent_destroy(recent *r)
{
    if (r == NULL)
        return;
    pthread_mutex_destroy(&r->lock);
    free(r->buckets);
    free(r->entries);
    free(r->values);
    free(r);
}

/* A digest's bytes are as good as random. */
static uint32_t *bucket_of(recent *r, const recent_key *key)
{
    uint64_t number;
    memcpy(&number, key->digest, sizeof number);
    return &r->buckets[number % r->n_buckets];
}

static uint32_t find(recent *r, const recent_key *key)
{
    uint32_t at = *bucket_of(r, key);
    while (at != NONE && memcmp(&r->entries[at].key, key, sizeof *key) != 0)
        at = r->entries[at].next;
    return at;
}

static void leave_order(recent *r, uint32_t at)
{
    entry *e = &r->entries[at];
    *(e->newer != NONE ? &r->entries[e->newer].older : &r->newest) = e->older;
    *(e->older != NONE ? &r->entries[e->older].newer : &r->oldest) = e->newer;
}

static void become_newest(recent *r, uint32_t at)
{
    entry *e = &r->entries[at];
    e->newer = NONE;
    e->older = r->newest;
    *(r->newest != NONE ? &r->entries[r->newest].newer : &r->oldest) = at;
    r->newest = at;
}

static void leave_bucket(recent *r, uint32_t at)
{
    uint32_t *link = bucket_of(r, &r->entries[at].key);
    while (*link != at)
        link = &r->entries[*link].next;
    *link = r->entries[at].next;
}

static uint32_t place_for(recent *r, const recent_key *key)
{
    uint32_t at = r->oldest;
    if (r->length < r->capacity) {
        at = (uint32_t)r->length++;
    } else {
        leave_order(r, at);
        leave_bucket(r, at);
    }
    uint32_t *bucket = bucket_of(r, key);
    r->entries[at].key = *key;
    r->entries[at].next = *bucket;
    *bucket = at;
    become_newest(r, at);
    return at;
}

bool recent_find(recent *r, const recent_key *key, void *value)
{
    pthread_mutex_lock(&r->lock);
    uint32_t at = find(r, key);
    if (at != NONE) {
        memcpy(value, r->values + at * r->value_size, r->value_size);
        leave_order(r, at);
        become_newest(r, at);
    }
    pthread_mutex_unlock(&r->lock);
    return at != NONE;
}

void recent_store(recent *r, const recent_key *key, const void *value)
{
    pthread_mutex_lock(&r->lock);
    uint32_t at = find(r, key);
    if (at == NONE) {
        at = place_for(r, key);
    } else {
        leave_order(r, at);
        become_newest(r, at);
    }
    memcpy(r->values + at * r->value_size, value, r->value_size);
    pthread_mutex_unlock(&r->lock);
}
