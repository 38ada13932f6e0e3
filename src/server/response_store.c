/* response_store.c: a list by age under one lock, bounded in bytes. */
#include "server/response_store.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/json.h"

#define MAX_ENTRIES 1024
#define MAX_BYTES ((size_t)32 << 20) /* of all texts together */

typedef struct entry {
    char id[RESPONSE_ID_SIZE];
    buffer messages, response; /* JSON */
} entry;

struct response_store {
    pthread_mutex_t lock;
    entry entries[MAX_ENTRIES]; /* a ring, from the oldest on */
    size_t first, n;
    size_t bytes;
};

error_code response_store_create(response_store **out, failure *fail)
{
    response_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the responses");
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return OK;
}

static entry *entry_at(response_store *s, size_t i)
{
    return &s->entries[(s->first + i) % MAX_ENTRIES];
}

static size_t size_of(const entry *one)
{
    return one->messages.length + one->response.length;
}

static void free_entry(entry *one)
{
    buffer_free(&one->messages);
    buffer_free(&one->response);
    one->id[0] = '\0';
}

static void forget_first(response_store *s)
{
    entry *one = entry_at(s, 0);
    s->bytes -= size_of(one);
    free_entry(one);
    s->first = (s->first + 1) % MAX_ENTRIES;
    s->n--;
}

void response_store_destroy(response_store *s)
{
    if (s == NULL)
        return;
    while (s->n > 0)
        forget_first(s);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void response_store_put(response_store *s, const char *id, json_t *messages, json_t *response)
{
    entry made = {.id = ""};
    snprintf(made.id, sizeof made.id, "%s", id);
    buffer_init(&made.messages, MAX_BYTES / 2);
    buffer_init(&made.response, MAX_BYTES / 2);
    bool is_written = json_write_exact(&made.messages, messages) == OK;
    is_written = json_write_exact(&made.response, response) == OK && is_written;
    if (!is_written) {
        free_entry(&made);
        return;
    }
    pthread_mutex_lock(&s->lock);
    while (s->n == MAX_ENTRIES || (s->n > 0 && s->bytes + size_of(&made) > MAX_BYTES))
        forget_first(s);
    *entry_at(s, s->n++) = made;
    s->bytes += size_of(&made);
    pthread_mutex_unlock(&s->lock);
}

/* Under the lock. */
static entry *find(response_store *s, const char *id)
{
    for (size_t i = 0; i < s->n && id[0] != '\0'; i++)
        if (strcmp(entry_at(s, i)->id, id) == 0)
            return entry_at(s, i);
    return NULL;
}

static json_t *read_back(response_store *s, const char *id, bool wants_messages)
{
    json_t *value = NULL;
    json_error_t error;
    error_code code;
    pthread_mutex_lock(&s->lock);
    const entry *one = find(s, id);
    const buffer *text = one == NULL ? NULL : wants_messages ? &one->messages : &one->response;
    if (text != NULL)
        value = json_read(text->data, text->length, JSON_ALLOW_NUL, &error, &code);
    pthread_mutex_unlock(&s->lock);
    return value;
}

json_t *response_store_messages(response_store *s, const char *id)
{
    return read_back(s, id, true);
}

json_t *response_store_response(response_store *s, const char *id)
{
    return read_back(s, id, false);
}

/* Its place stays empty until it is the oldest. */
bool response_store_remove(response_store *s, const char *id)
{
    pthread_mutex_lock(&s->lock);
    entry *one = find(s, id);
    if (one != NULL) {
        s->bytes -= size_of(one);
        free_entry(one);
    }
    pthread_mutex_unlock(&s->lock);
    return one != NULL;
}
