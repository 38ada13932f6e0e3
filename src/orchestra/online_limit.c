/* online_limit.c: the limit's moves, and the requests that may still be told of. */
#include "orchestra/online_limit.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_SIZE 129 /* the longest id that a client may choose, and its end */

typedef struct noted {
    char id[ID_SIZE];
    bool sent_small, is_told;
    size_t said;
} noted;

struct online_limit {
    online_limit_options options;
    pthread_mutex_t lock; /* guards what follows */
    online_limit_counts counts;
    size_t n_noted; /* since the beginning */
    noted ring[ONLINE_LIMIT_MEMORY];
};

error_code online_limit_create(online_limit **out, const online_limit_options *options,
                               failure *fail)
{
    online_limit *l = calloc(1, sizeof *l);
    *out = l;
    if (l == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the online limit");
    l->options = *options;
    l->counts.limit = fmin(options->start, options->highest);
    pthread_mutex_init(&l->lock, NULL);
    return OK;
}

void online_limit_destroy(online_limit *l)
{
    if (l == NULL)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void online_limit_read(online_limit *l, online_limit_counts *out)
{
    pthread_mutex_lock(&l->lock);
    *out = l->counts;
    pthread_mutex_unlock(&l->lock);
}

double online_limit_now(online_limit *l)
{
    online_limit_counts c;
    online_limit_read(l, &c);
    return c.limit;
}

/* With the lock held. */
static void learn(online_limit *l, bool sent_small, bool wrong)
{
    const online_limit_options *o = &l->options;
    bool misrouted = sent_small && wrong;
    l->counts.right += !wrong;
    l->counts.wrong += wrong;
    l->counts.misrouted += misrouted;
    l->counts.limit = fmin(o->highest, l->counts.limit - o->step * (misrouted - o->target));
}

void online_limit_note(online_limit *l, const char *id, bool sent_small, size_t said)
{
    pthread_mutex_lock(&l->lock);
    noted *n = &l->ring[l->n_noted++ % ONLINE_LIMIT_MEMORY];
    *n = (noted){.sent_small = sent_small, .said = said};
    snprintf(n->id, sizeof n->id, "%s", id);
    pthread_mutex_unlock(&l->lock);
}

/* With the lock held; the latest one, because a client may use an id twice. */
static noted *find(online_limit *l, const char *id)
{
    for (size_t i = l->n_noted; i-- > 0 && i + ONLINE_LIMIT_MEMORY >= l->n_noted;)
        if (strcmp(l->ring[i % ONLINE_LIMIT_MEMORY].id, id) == 0)
            return &l->ring[i % ONLINE_LIMIT_MEMORY];
    return NULL;
}

error_code online_limit_tell(online_limit *l, const char *id, size_t truth,
                             online_limit_lesson *out, failure *fail)
{
    error_code code = OK;
    pthread_mutex_lock(&l->lock);
    noted *n = find(l, id);
    if (n == NULL) {
        code = failure_set(fail, ERR_NOT_FOUND,
                           "no decision by intent of the id '%.128s' is among the last %d", id,
                           ONLINE_LIMIT_MEMORY);
    } else if (n->is_told) {
        code = failure_set(fail, ERR_INVALID, "the truth about '%.128s' was told before", id);
    } else {
        bool wrong = n->said != truth;
        n->is_told = true;
        learn(l, n->sent_small, wrong);
        *out = (online_limit_lesson){.said = n->said,
                                     .wrong = wrong,
                                     .misrouted = wrong && n->sent_small,
                                     .limit = l->counts.limit};
    }
    pthread_mutex_unlock(&l->lock);
    return code;
}
