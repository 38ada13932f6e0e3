/* run_signal.c: waking who waits for a run, and cancelling it. */
#include "orchestra/run_internal.h"

/* On the backend's thread. */
static void on_wake(void *context)
{
    run *r = context;
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    pthread_cond_signal(&r->woken_changed);
    pthread_mutex_unlock(&r->lock);
    if (r->wake.call != NULL)
        r->wake.call(r->wake.context);
}

wakeup run_wakeup(run *r)
{
    return (wakeup){.call = on_wake, .context = r};
}

static bool is_over(const run *r)
{
    return r->state == RUN_FINISHED || r->state == RUN_FAILED;
}

void run_wait(run *r)
{
    if (is_over(r))
        return;
    pthread_mutex_lock(&r->lock);
    while (!r->woken)
        pthread_cond_wait(&r->woken_changed, &r->lock);
    r->woken = false;
    pthread_mutex_unlock(&r->lock);
}

bool run_is_cancelled(run *r)
{
    pthread_mutex_lock(&r->lock);
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return cancelled;
}

void run_cancel(run *r)
{
    pthread_mutex_lock(&r->lock);
    r->cancelled = true;
    reply *running = r->reply;
    pthread_mutex_unlock(&r->lock);
    if (running != NULL)
        reply_cancel(running);
    else
        on_wake(r);
}
