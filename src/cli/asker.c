#include "cli/asker.h"

static void ring(void *context)
{
    bell *b = context;
    pthread_mutex_lock(&b->lock);
    b->count++;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

static size_t heard(bell *b)
{
    pthread_mutex_lock(&b->lock);
    size_t count = b->count;
    pthread_mutex_unlock(&b->lock);
    return count;
}

static void wait_for_more(bell *b, size_t count)
{
    pthread_mutex_lock(&b->lock);
    while (b->count == count)
        pthread_cond_wait(&b->rung, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

void asker_init(asker *a, backend *b)
{
    *a = (asker){.backend = b};
    pthread_mutex_init(&a->bell.lock, NULL);
    pthread_cond_init(&a->bell.rung, NULL);
}

void asker_end(asker *a)
{
    pthread_mutex_destroy(&a->bell.lock);
    pthread_cond_destroy(&a->bell.rung);
}

error_code asker_ask(asker *a, const request *q, const question *what, classification **out,
                     failure *fail)
{
    wakeup wake = {.call = ring, .context = &a->bell};
    prepared_prompt *p;
    error_code code = backend_prepare(a->backend, q, &p, fail);
    if (code != OK)
        return code;
    code = backend_classify(a->backend, q, p, &what->template, what->words, what->n_words, wake,
                            out, fail);
    prompt_destroy(p);
    return code;
}

error_code asker_take(asker *a, classification *c, classification_result *out, failure *fail)
{
    error_code code;
    for (;;) {
        size_t count = heard(&a->bell);
        code = classification_poll(c, out);
        if (code != OK || out->state != SEQUENCE_RUNNING)
            break;
        wait_for_more(&a->bell, count);
    }
    classification_release(c);
    if (code != OK)
        return failure_set(fail, code, "%s", error_code_text(code));
    if (out->state != SEQUENCE_FAILED)
        return OK;
    *fail = out->failure;
    return fail->code;
}
