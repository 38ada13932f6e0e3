/* answer_reading.h: reads another server's stream as a remote model does, from pieces of a given
 * size: for test_remote_answer and fuzz_events, who includes it HOLDS(condition) says what must be
 * true. */
#ifndef TESTS_FUZZ_ANSWER_READING_H
#define TESTS_FUZZ_ANSWER_READING_H

#include <stdlib.h>
#include <string.h>

#include "backend/remote.h"

/* All that a caller could see of it. */
typedef struct answer_outcome {
    buffer text;
    error_code fault;
    bool is_whole;
    reply_end finish;
    size_t reply_tokens;
    float logprobs[2];
} answer_outcome;

static inline void take_event(void *context, const char *data, size_t length)
{
    remote_answer_take(context, data, length);
}

static inline remote_probe *make_probe(void)
{
    remote_probe *p = calloc(1, sizeof *p);
    HOLDS(p != NULL);
    p->n_labels = 2;
    for (size_t i = 0; i < 2; i++) {
        p->labels[i] = strdup(i == 0 ? " code" : " qa");
        p->logprobs[i] = -1000;
    }
    return p;
}

/* In pieces of `step` bytes. */
static inline answer_outcome read_answer(remote_backend *b, const char *answer, size_t length,
                                         size_t step)
{
    const request r = {.n_messages = 0, .chat = {.is_parted = true}};
    remote_call *c = remote_call_make(b, &r, (wakeup){.call = NULL});
    HOLDS(c != NULL);
    c->probe = make_probe();
    error_code code = OK;
    for (size_t at = 0; code == OK && at < length; at += step) {
        size_t n = step < length - at ? step : length - at;
        code = event_stream_feed(&c->events, answer + at, n, take_event, c);
    }
    answer_outcome out = {.fault = c->fault.code,
                          .is_whole = c->is_whole,
                          .finish = c->status.finish,
                          .reply_tokens = c->status.stats.reply_tokens};
    memcpy(out.logprobs, c->probe->logprobs, sizeof out.logprobs);
    buffer_init(&out.text, (size_t)1 << 20);
    HOLDS(buffer_add(&out.text, c->text.data, c->text.length) == OK);
    remote_call_unreference(c);
    return out;
}

/* Frees both. */
static inline void expect_the_same(answer_outcome *one, answer_outcome *other)
{
    HOLDS(one->text.length == other->text.length);
    HOLDS(one->text.length == 0 || memcmp(one->text.data, other->text.data, one->text.length) == 0);
    HOLDS(one->fault == other->fault && one->is_whole == other->is_whole);
    HOLDS(one->finish == other->finish && one->reply_tokens == other->reply_tokens);
    HOLDS(memcmp(one->logprobs, other->logprobs, sizeof one->logprobs) == 0);
    buffer_free(&one->text);
    buffer_free(&other->text);
}

#endif
