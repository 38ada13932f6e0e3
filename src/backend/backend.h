/*
 * backend.h: one interface to own and foreign engines: submit, cancel, reply, count_tokens,
 * classify.
 *
 * A backend serves one model. Requests are messages or a raw prompt, never token ids: each backend
 * renders and tokenises for its own model. Results are pulled: `wake` says (from the backend's own
 * thread, so it must only signal) that polling will give something new. Any thread may call; one
 * reply or classification is polled by one thread at a time.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include "base/buffer.h"
#include "base/failure.h"
#include "engine/engine.h"
#include "model/chat.h"

/* What a conversation holds beyond roles and texts, as JSON for the chat template; NULL: nothing.
 */
typedef struct request_chat {
    const char
        *messages_json; /* the whole messages, which are then rendered instead of `messages` */
    const char *tools_json;
    const char *documents_json;
    const char *variables_json; /* chat_template_kwargs */
} request_chat;

typedef struct request {
    const chat_message *messages; /* a conversation, or … */
    size_t n_messages;
    request_chat chat;
    const char *prompt; /* … a raw prompt (NULL: messages), with no template around it */
    size_t prompt_length;
    sampling_params sampling;
    size_t max_tokens; /* 0: up to the context's end */
    const char *const *stops;
    size_t n_stops;
    sequence_priority priority; /* of the reply */
    double deadline_ms;         /* from submission on, then it fails with ERR_TIMEOUT; 0: none */
} request;

typedef struct wakeup {
    void (*call)(void *context); /* or NULL */
    void *context;
} wakeup;

typedef struct backend backend;
typedef struct reply reply;
typedef struct classification classification;

/* A local backend: an engine of a started (or not yet started) conductor. Owns nothing of it. */
error_code backend_create_local(backend **out, const char *name, engine *e, failure *fail);
void backend_destroy(backend *b);

const char *backend_name(const backend *b);
size_t backend_context(const backend *b); /* tokens */

void backend_read_status(backend *b, engine_status *out);

/* What cannot fit however it is tokenised, told from its bytes alone: tokenising megabytes takes
 * seconds. ERR_CONTEXT; OK for prompts of a size that is tokenised soon enough. */
error_code backend_check_length(const backend *b, const request *r, failure *fail);

/* Tokens of the rendered prompt. */
error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail);

/* ---- replies ------------------------------------------------------------------------------ */

/* The request is copied as far as it is needed; it may be freed after the call. */
error_code backend_submit(backend *b, const request *r, const lookup_setting *lookup, wakeup wake,
                          reply **out, failure *fail);

typedef struct reply_status {
    sequence_state state;
    finish_reason finish;
    failure failure;
    sequence_stats stats;
} reply_status;

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens);
void reply_cancel(reply *r);
void reply_release(reply *r); /* cancels if running; wake is not called after it returned */

/* ---- classification (the probe) ------------------------------------------------------------- */

/* Where the probe's question goes. Exactly one of the two placeholders stands in the text:
 *   {conversation}  the conversation exactly as the model would answer it: a suffix template, whose
 *                   prefill is the answer's own prefix
 *   {query}         the last user message's text alone, between the template's own words
 * Only the template's own text may contain special tokens. */
typedef struct probe_template {
    const char *text;
    size_t window_head; /* a longer {…} is cut to its first window_head … */
    size_t window_tail; /* … and last window_tail tokens */
    bool is_alone;      /* nothing that is prefilled is taken from or left to other requests */
} probe_template;

/* Each label's text must be exactly one token of the backend's model, told apart from the others:
 * ERR_CONFIG says which is not, and into how many tokens it falls. Also checks the template. */
error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail);

error_code backend_classify(backend *b, const request *r, const probe_template *t,
                            const char *const *labels, size_t n_labels, wakeup wake,
                            classification **out, failure *fail);

typedef struct classification_result {
    sequence_state state;
    failure failure;
    size_t n_labels;
    float logits[SEQUENCE_MAX_LABELS]; /* of the label tokens, as they came */
    float log_sum_exp;                 /* over the whole vocabulary */
    size_t prompt_tokens;              /* the request's own, before windowing */
    size_t probe_tokens;               /* what the probe read */
    bool windowed;
    double template_ms; /* rendering and tokenising */
    sequence_stats stats;
} classification_result;

error_code classification_poll(classification *c, classification_result *out);
void classification_release(classification *c);

#endif
