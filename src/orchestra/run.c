/* run.c: polling a run, and its end. */
#include <stdlib.h>

#include "base/clock.h"
#include "orchestra/run_internal.h"

static void poll_probe(run *r)
{
    failure why;
    if (run_is_cancelled(r)) {
        sense_drop(&r->probe);
        failure_set(&r->failure, ERR_CANCELLED, "cancelled before a model was chosen");
        r->state = RUN_FAILED;
        return;
    }
    if (!sense_poll(&r->probe, r->routing, &r->sensed, &r->receipt, &why))
        return;
    if (run_follow_probe(r, &why) != OK)
        r->state = RUN_FAILED;
    if (r->state != RUN_PROBING)
        request_copy_free(&r->request);
}

static void note_delay(run *r, const reply_stats *s)
{
    if (r->is_timed || s->reply_tokens == 0 || s->prefill_ms <= 0)
        return;
    r->is_timed = true;
    delay_note(&r->orchestra->players[r->plan.level].delay, s->prefill_ms, clock_ms());
}

static void poll_reply(run *r, buffer *text, token_list *tokens)
{
    reply_status status;
    error_code code = reply_poll(r->reply, &status, text, tokens);
    if (code != OK) {
        failure_set(&r->failure, code, "cannot take the reply: %s", error_code_text(code));
        r->state = RUN_FAILED;
        return;
    }
    overhead *o = &r->receipt.overhead;
    r->receipt.reply = status.stats;
    note_delay(r, &status.stats);
    o->total_ms += status.stats.switch_ms - o->switch_ms; /* it becomes known with the first step */
    o->switch_ms = status.stats.switch_ms;
    if (status.state == WORK_FAILED) {
        r->failure = status.failure;
        r->state = RUN_FAILED;
    } else if (status.state == WORK_FINISHED) {
        r->finish = status.finish;
        r->stop = status.stop;
        r->state = RUN_FINISHED;
    }
}

run_state run_poll(run *r, buffer *text, token_list *tokens)
{
    if (r->state == RUN_PROBING)
        poll_probe(r);
    if (r->state == RUN_REPLYING)
        poll_reply(r, text, tokens);
    return r->state;
}

void run_release(run *r)
{
    if (r == NULL)
        return;
    /* Where no memory was had for the prompt, the log counts a lost line. */
    if (r->orchestra->log != NULL && r->is_decided)
        decision_log_write(r->orchestra->log, &r->routing->head, record_line(r, r->prompt));
    json_decref(r->prompt);
    facts_free(&r->known);
    sense_drop(&r->probe);
    if (r->reply != NULL)
        reply_release(r->reply);
    request_copy_free(&r->request);
    run_drop_prompts(r);
    routing_release(r->routing); /* last: plan, intent and probe point into it */
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->woken_changed);
    free(r);
}
