/* workers.c: two lanes of a queue and a thread each. */
#include "server/workers.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

#define MAX_LONG 16      /* of half a second to four each: more is a wait that nobody expects */
#define LONG_NICENESS 10 /* a tenth of what a thread beside it has of a core */

typedef struct lane {
    pthread_t thread;
    bool has_thread;
    bool is_long;
    bool stops;
    pthread_mutex_t lock; /* guards what follows, and `stops` */
    pthread_cond_t changed;
    work *first, **last;
    size_t n;
} lane;

struct workers {
    lane lanes[2]; /* short, long */
};

static work *take_first(lane *l)
{
    work *w = l->first;
    l->first = w->next;
    if (l->first == NULL)
        l->last = &l->first;
    l->n--;
    w->is_queued = false;
    return w;
}

static void *lane_thread(void *context)
{
    lane *l = context;
    if (l->is_long && setpriority(PRIO_PROCESS, (id_t)gettid(), LONG_NICENESS) != 0)
        log_debug("workers: no lower priority: %s", strerror(errno));
    pthread_mutex_lock(&l->lock);
    while (!l->stops) {
        if (l->first == NULL) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        work *w = take_first(l);
        pthread_mutex_unlock(&l->lock);
        w->run(w);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void lane_init(lane *l, bool is_long)
{
    *l = (lane){.is_long = is_long};
    l->last = &l->first;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
}

static void lane_end(lane *l)
{
    pthread_mutex_lock(&l->lock);
    l->stops = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->has_thread)
        pthread_join(l->thread, NULL);
    l->has_thread = false;
}

error_code workers_create(workers **out, failure *fail)
{
    workers *p = calloc(1, sizeof *p);
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the server's threads");
    int error = 0;
    for (size_t i = 0; i < 2; i++) {
        lane *l = &p->lanes[i];
        lane_init(l, i == 1);
        if (error == 0)
            error = pthread_create(&l->thread, NULL, lane_thread, l);
        l->has_thread = error == 0;
    }
    if (error != 0) {
        workers_end(p);
        workers_destroy(p);
        return failure_set(fail, ERR_IO, "cannot start a thread that reads requests: %s",
                           strerror(error));
    }
    *out = p;
    return OK;
}

void workers_end(workers *p)
{
    for (size_t i = 0; i < 2; i++)
        lane_end(&p->lanes[i]);
}

void workers_destroy(workers *p)
{
    for (size_t i = 0; i < 2; i++) {
        pthread_mutex_destroy(&p->lanes[i].lock);
        pthread_cond_destroy(&p->lanes[i].changed);
    }
    free(p);
}

error_code workers_add(workers *p, work *w)
{
    lane *l = &p->lanes[w->is_long];
    pthread_mutex_lock(&l->lock);
    bool takes = !l->stops && (!l->is_long || w->is_begun || l->n < MAX_LONG);
    if (takes) {
        w->next = NULL;
        w->is_queued = true;
        *l->last = w;
        l->last = &w->next;
        l->n++;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return takes ? OK : ERR_BUSY;
}

bool workers_withdraw(workers *p, work *w)
{
    lane *l = &p->lanes[w->is_long];
    pthread_mutex_lock(&l->lock);
    bool was_queued = w->is_queued;
    for (work **at = &l->first; was_queued && *at != NULL; at = &(*at)->next) {
        if (*at != w)
            continue;
        *at = w->next;
        if (l->last == &w->next)
            l->last = at;
        l->n--;
        w->is_queued = false;
        break;
    }
    pthread_mutex_unlock(&l->lock);
    return was_queued;
}
