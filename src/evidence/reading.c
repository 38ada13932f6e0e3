/* reading.c: one scored prompt, summed over the answer's tokens. */
#include "evidence/reading.h"

#include <math.h>
#include <string.h>

static void count_scores(reading *out, const score_list *scores)
{
    for (size_t i = 0; i < scores->length; i++) {
        double logprob = (double)scores->items[i].logprob;
        out->mean += (logprob - out->mean) / (double)(out->tokens + 1);
        out->least = fmin(out->least, logprob);
        out->tokens++;
    }
}

error_code reading_take(reading *out, orchestra *o, const char *reader, const task *t,
                        const char *answer, failure *fail)
{
    *out = (reading){.tokens = 0};
    if (answer[0] == '\0')
        return OK;
    request q = {.messages = t->messages,
                 .n_messages = t->n_messages,
                 .kind = REQUEST_SCORE,
                 .completion = answer,
                 .completion_length = strlen(answer),
                 .sampling = sampling_defaults()};
    run_options options = {.model = reader};
    run *r = NULL;
    error_code code = orchestra_submit(o, &q, &options, (wakeup){NULL, NULL}, &r, fail);
    if (code != OK)
        return code;
    run_state state;
    while ((state = run_poll(r, NULL, NULL)) != RUN_FAILED) {
        count_scores(out, run_scores(r));
        if (state == RUN_FINISHED)
            break;
        run_wait(r);
    }
    if (state == RUN_FAILED)
        *fail = *run_failure(r);
    code = state == RUN_FAILED ? fail->code : OK;
    run_release(r);
    return code;
}
