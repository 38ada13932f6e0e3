/* asker.c: a ring of probes that are on their way, taken back in the order they were asked. */
#include "cli/asker.h"

void asker_init(asker *a, backend *b)
{
    *a = (asker){.backend = b};
    bell_init(&a->bell);
}

void asker_end(asker *a)
{
    bell_end(&a->bell);
}

error_code asker_ask(asker *a, const request *q, const question *what, classification **out,
                     failure *fail)
{
    prepared_prompt *p;
    error_code code = backend_prepare(a->backend, q, &p, fail);
    if (code != OK)
        return code;
    code = backend_classify(a->backend, q, p, &what->template, what->words, what->n_words,
                            bell_wakeup(&a->bell), out, fail);
    prompt_destroy(p);
    return code;
}

error_code asker_take(asker *a, classification *c, classification_result *out, failure *fail)
{
    error_code code;
    for (;;) {
        size_t count = bell_heard(&a->bell);
        code = classification_poll(c, out);
        if (code != OK || out->state != WORK_RUNNING)
            break;
        bell_wait(&a->bell, count);
    }
    classification_release(c);
    if (code != OK)
        return failure_set(fail, code, "%s", error_code_text(code));
    if (out->state != WORK_FAILED)
        return OK;
    *fail = out->failure;
    return fail->code;
}
