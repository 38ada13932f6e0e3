/* latest.c: a ring of the last decisions. */
#include "server/latest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "server/exchange.h"

typedef struct entry {
    char id[REQUEST_ID_SIZE];
    plan_headers plan;
    int status;
    int64_t created; /* Unix seconds */
    double total_ms;
    bool has_reply;
    reply_stats stats;
} entry;

struct latest {
    pthread_mutex_t lock;          /* of the others */
    entry entries[LATEST_ENTRIES]; /* a ring */
    size_t n_added;
};

error_code latest_create(latest **out, failure *fail)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the recent requests");
    pthread_mutex_init(&(*out)->lock, NULL);
    return OK;
}

void latest_destroy(latest *l)
{
    if (l != NULL)
        pthread_mutex_destroy(&l->lock);
    free(l);
}

void latest_add(latest *l, const exchange *e, int status)
{
    if (!e->plan.known)
        return;
    pthread_mutex_lock(&l->lock);
    entry *slot = &l->entries[l->n_added++ % LATEST_ENTRIES];
    memcpy(slot->id, e->id, sizeof slot->id);
    slot->plan = e->plan;
    slot->status = status;
    slot->created = e->created;
    slot->total_ms = clock_ms() - e->start_ms;
    slot->has_reply = !e->decide_only;
    slot->stats = e->stats;
    pthread_mutex_unlock(&l->lock);
}

static json_t *entry_json(const entry *one)
{
    const plan_headers *p = &one->plan;
    json_t *tokens =
        one->has_reply ? json_integer((json_int_t)one->stats.reply_tokens) : json_null();
    return json_pack("{s:s, s:I, s:i, s:f, s:s, s:s?, s:s, s:s, s:s?, s:o}", "id", one->id,
                     "created", (json_int_t)one->created, "status", one->status, "total_ms",
                     one->total_ms, "model", p->model, "intent", p->has_intent ? p->intent : NULL,
                     "rule", p->reason, "lookup", p->lookup, "fallback", p->fallback,
                     "reply_tokens", tokens);
}

json_t *latest_json(latest *l)
{
    json_t *list = json_array();
    pthread_mutex_lock(&l->lock);
    size_t n = l->n_added < LATEST_ENTRIES ? l->n_added : LATEST_ENTRIES;
    bool whole = list != NULL;
    for (size_t i = 1; whole && i <= n; i++)
        whole = json_array_append_new(
                    list, entry_json(&l->entries[(l->n_added - i) % LATEST_ENTRIES])) == 0;
    pthread_mutex_unlock(&l->lock);
    if (whole)
        return list;
    json_decref(list);
    return NULL;
}
