/* own_stack.c: a thread that is waited for. */
#include "base/own_stack.h"

#include <pthread.h>

typedef struct job {
    void (*work)(void *);
    void *context;
} job;

static void *begin(void *context)
{
    const job *j = context;
    j->work(j->context);
    return NULL;
}

bool own_stack_run(size_t bytes, void (*work)(void *), void *context)
{
    job j = {work, context};
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    bool has_begun = pthread_attr_setstacksize(&attributes, bytes) == 0 &&
                     pthread_create(&thread, &attributes, begin, &j) == 0;
    pthread_attr_destroy(&attributes);
    if (has_begun)
        pthread_join(thread, NULL);
    return has_begun;
}
