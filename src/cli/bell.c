/* bell.c: a condition variable that a wake-up rings and a command waits for. */
#include "cli/bell.h"

void bell_init(bell *b)
{
    b->count = 0;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->rung, NULL);
}

void bell_end(bell *b)
{
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->rung);
}

static void ring(void *context)
{
    bell *b = context;
    pthread_mutex_lock(&b->lock);
    b->count++;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

wakeup bell_wakeup(bell *b)
{
    return (wakeup){.call = ring, .context = b};
}

size_t bell_heard(bell *b)
{
    pthread_mutex_lock(&b->lock);
    size_t count = b->count;
    pthread_mutex_unlock(&b->lock);
    return count;
}

void bell_wait(bell *b, size_t heard)
{
    pthread_mutex_lock(&b->lock);
    while (b->count == heard)
        pthread_cond_wait(&b->rung, &b->lock);
    pthread_mutex_unlock(&b->lock);
}
