/* remote_call.c: one request on its way: made, told to who asked, ended, let go of. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/remote.h"
#include "base/clock.h"

/* Where the prompt belongs: its messages, the first user's being a mark. */
static void take_prefix(pool_prefix *p, const request *r)
{
    bool is_first = true;
    pool_prefix_init(p);
    if (r->prompt != NULL)
        pool_prefix_add(p, r->prompt, r->prompt_length);
    else if (r->prompt_ids != NULL)
        pool_prefix_add(p, r->prompt_ids, r->n_prompt_ids * sizeof *r->prompt_ids);
    else if (r->n_messages == 0 && r->chat.messages_json != NULL)
        pool_prefix_add(p, r->chat.messages_json, strlen(r->chat.messages_json));
    for (size_t i = 0; r->prompt == NULL && r->prompt_ids == NULL && i < r->n_messages; i++) {
        const chat_message *m = &r->messages[i];
        pool_prefix_add(p, m->role, strlen(m->role));
        pool_prefix_add(p, m->content, m->content_length);
        if (is_first && strcmp(m->role, "user") == 0) {
            pool_prefix_mark(p);
            is_first = false;
        }
    }
    pool_prefix_mark(p);
}

size_t remote_prompt_estimate(const request *r)
{
    size_t bytes = r->prompt_length + r->suffix_length;
    if (r->prompt_ids != NULL)
        return r->n_prompt_ids;
    if (r->prompt == NULL && r->chat.messages_json != NULL)
        bytes = strlen(r->chat.messages_json);
    for (size_t i = 0; r->prompt == NULL && r->chat.messages_json == NULL && i < r->n_messages; i++)
        bytes += r->messages[i].content_length;
    return bytes / BYTES_A_TOKEN + 1;
}

remote_call *remote_call_make(remote_backend *b, const request *r, wakeup wake)
{
    remote_call *c = calloc(1, sizeof *c);
    bool is_chat = r->prompt == NULL && r->prompt_ids == NULL;
    if (c == NULL)
        return NULL;
    *c = (remote_call){.backend = b,
                       .submitted_ms = clock_ms(),
                       .is_chat = is_chat,
                       .is_parted = r->chat.is_parted,
                       .max_tokens = r->max_tokens,
                       .prompt_tokens = remote_prompt_estimate(r),
                       .wants_scores = r->wants_scores,
                       .scores = {.n_top = r->wants_scores ? r->n_top : 0},
                       .status = {.state = WORK_RUNNING},
                       .wake = wake};
    c->end_ms = r->deadline_ms > 0 ? c->submitted_ms + r->deadline_ms : 0;
    atomic_init(&c->references, 1);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->wake_lock, NULL);
    event_stream_init(&c->events);
    event_frame_init(&c->frame);
    buffer_init(&c->text, REMOTE_TEXT_LIMIT);
    take_prefix(&c->prefix, r);
    return c;
}

void remote_probe_free(remote_probe *p)
{
    for (size_t i = 0; p != NULL && i < p->n_labels; i++)
        free(p->labels[i]);
    free(p);
}

void remote_probe_clear(remote_probe *p)
{
    for (size_t i = 0; p != NULL && i < p->n_labels; i++)
        p->logprobs[i] = -INFINITY;
    if (p != NULL)
        p->is_told = false;
}

void remote_call_unreference(remote_call *c)
{
    if (atomic_fetch_sub(&c->references, 1) > 1)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->wake_lock);
    event_stream_free(&c->events);
    event_frame_free(&c->frame);
    buffer_free(&c->text);
    score_list_free(&c->scores);
    remote_probe_free(c->probe);
    buffer_free(&c->body);
    free(c);
}

void remote_call_wake(remote_call *c)
{
    pthread_mutex_lock(&c->wake_lock);
    if (c->wake.call != NULL)
        c->wake.call(c->wake.context);
    pthread_mutex_unlock(&c->wake_lock);
}

static void count(const remote_call *c)
{
    remote_backend *b = c->backend;
    double took_ms = c->status.stats.prefill_ms + c->status.stats.decode_ms;
    double mean_ms = atomic_load(&b->reply_ms);
    atomic_fetch_add(&b->reply_tokens, c->status.stats.reply_tokens);
    atomic_store(&b->reply_ms, mean_ms == 0 ? took_ms : mean_ms + (took_ms - mean_ms) / 8);
}

void remote_call_finish(remote_call *c, const failure *why)
{
    pthread_mutex_lock(&c->lock);
    c->status.state = why->code == OK ? WORK_FINISHED : WORK_FAILED;
    c->status.failure = *why;
    if (why->code == OK)
        count(c);
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(&c->backend->in_flight, 1);
    remote_call_wake(c);
    remote_call_unreference(c);
}

void remote_call_cancel(remote_call *c)
{
    pthread_mutex_lock(&c->lock);
    bool runs = c->status.state == WORK_RUNNING;
    pthread_mutex_unlock(&c->lock);
    atomic_store(&c->cancelled, true);
    if (runs)
        remote_lane_look(c->lane);
}

void remote_call_leave(remote_call *c)
{
    pthread_mutex_lock(&c->wake_lock);
    c->wake = (wakeup){.call = NULL};
    pthread_mutex_unlock(&c->wake_lock);
    remote_call_cancel(c);
    remote_call_unreference(c);
}
