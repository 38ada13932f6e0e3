/*
 * backend.h: one interface to own and foreign engines: prepare, submit, classify, embed.
 *
 * A backend serves one model. Requests are messages or a raw prompt: each backend renders and
 * tokenises for its own model, once (backend_prepare); the prompt is then counted, classified,
 * answered, scored or embedded. Results are pulled: `wake` says (from the backend's own thread, so
 * it must only signal) that polling will give something new. Any thread may call; one reply,
 * classification or embedding is polled by one thread at a time.
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
    /* What the assistant has said already, and the reply goes on with; or NULL. */
    const char *begun;
    size_t begun_length;
    bool is_parted; /* the reply's text will be parted (reply_style): it shows the marks that its
                       model's form has, control tokens though they be */
    bool must_call; /* the reply calls tools and does nothing else, … */
    const char *called; /* … the one of this name, once; NULL: any of them */
    bool calls_once;
} request_chat;

/* What a reply must match, for whichever model gives it. */
typedef struct reply_grammar {
    grammar_kind kind;
    const char *text; /* NULL: anything will do */
} reply_grammar;

typedef struct request {
    const chat_message *messages; /* a conversation, or … */
    size_t n_messages;
    request_chat chat;
    const char *prompt; /* … a raw prompt (NULL: messages), with no template around it, or … */
    size_t prompt_length;
    const char *suffix; /* of a raw prompt, what follows the reply: the model fills in; or NULL */
    size_t suffix_length;
    const char *files_json; /* what else such a model is shown: a list of {"filename", "text"}; or
                               NULL. What the reply begins with is chat.begun */
    const int32_t *prompt_ids; /* … one in tokens of the model that is asked (NULL: not) */
    size_t n_prompt_ids;

    /* A reply, or no reply but scores: of the completion that is given, or of the prompt. */
    sequence_kind kind;     /* SEQUENCE_REPLY or SEQUENCE_SCORE */
    bool wants_scores;      /* of the reply's tokens, … */
    bool scores_drawn;      /* … by what they were drawn from (engine.h) */
    bool scores_prompt;     /* of the prompt's tokens but the first; a score without a
                               completion does this anyway */
    size_t n_top;           /* most probable tokens with each scored one, ≤ SCORE_MAX_TOP */
    const char *completion; /* a score's: follows the prompt, tokenised apart from it; or NULL */
    size_t completion_length;

    sampling_params sampling;
    reply_grammar grammar;
    size_t max_tokens; /* 0: up to the context's end */
    size_t min_tokens; /* of the reply, before the model may end it; SIZE_MAX: it may not */
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

/* ---- prompts ------------------------------------------------------------------------------ */

/* A request's prompt, rendered and tokenised for one backend's model, and its grammar, compiled for
 * it. Read-only once made; lives apart from the request, and from the backend but for its model. */
typedef struct prepared_prompt prepared_prompt;

/* ERR_INVALID for token ids that are not in the vocabulary and for what cannot be read or honoured
 * of the grammar, ERR_UNSUPPORTED for messages where the model has no chat template. */
error_code backend_prepare(backend *b, const request *r, prepared_prompt **out, failure *fail);
size_t prompt_tokens(const prepared_prompt *p); /* how many; a completion's are not among them */
const int32_t *prompt_ids(const prepared_prompt *p); /* the completion's stand behind them */
double prompt_template_ms(const prepared_prompt *p); /* what rendering and tokenising took */
void prompt_destroy(prepared_prompt *p);             /* NULL is allowed */

/* backend_prepare for who only counts. */
error_code backend_count_tokens(backend *b, const request *r, size_t *count, failure *fail);

/* ---- texts and tokens --------------------------------------------------------------------- */

/* `specials`: texts of control tokens become those tokens. */
error_code backend_tokenize(backend *b, const char *text, size_t length, bool specials,
                            token_list *out, failure *fail);
/* Appends those that end a reply. */
error_code backend_end_tokens(const backend *b, token_list *out);
/* The token that begins every text, or -1. */
int32_t backend_first_token(const backend *b);
/* The bytes of one token; they live as long as the backend's model. */
const char *backend_token_text(const backend *b, int32_t id, size_t *length);
/* The text of tokens, those of control tokens included. ERR_INVALID: one is not in the vocabulary.
 */
error_code backend_detokenize(backend *b, const int32_t *ids, size_t n, buffer *out, failure *fail);
/* A conversation as its template writes it. */
error_code backend_render(backend *b, const request *r, buffer *out, failure *fail);

/* ---- replies and scores ------------------------------------------------------------------- */

/* `p` is the request's, prepared by this backend. What is needed of both is copied; they may be
 * freed after the call. */
error_code backend_submit(backend *b, const request *r, const prepared_prompt *p,
                          const lookup_setting *lookup, wakeup wake, reply **out, failure *fail);

typedef struct reply_status {
    sequence_state state;
    finish_reason finish;
    const char *stop; /* the stop string that ended it, or NULL; lives as long as the reply */
    failure failure;
    sequence_stats stats;
} reply_status;

error_code reply_poll(reply *r, reply_status *status, buffer *text, token_list *tokens);
/* What the last poll brought of scores: sequence_scores (engine.h). */
const score_list *reply_scores(const reply *r);

/* Of the model that answers, for this reply: how it writes, and how long its prompt is. */
typedef struct reply_style {
    size_t prompt_tokens;
    int32_t first_token; /* of the prompt */
    chat_style chat;     /* form NULL: the prompt was no conversation */
    bool is_in_thought;  /* its prompt ends with the beginning of one */
} reply_style;

reply_style reply_style_of(const reply *r);
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

/* The one token of the backend's model that a text is; ERR_CONFIG: it is none, or several. */
error_code backend_find_token(backend *b, const char *text, int32_t *id, failure *fail);

/* Each label's text must be exactly one token of the backend's model, told apart from the others:
 * ERR_CONFIG says which is not, and into how many tokens it falls. Also checks the template. */
error_code backend_check_labels(backend *b, const probe_template *t, const char *const *labels,
                                size_t n_labels, failure *fail);

/* `p` is the request's, prepared by this backend. */
error_code backend_classify(backend *b, const request *r, const prepared_prompt *p,
                            const probe_template *t, const char *const *labels, size_t n_labels,
                            wakeup wake, classification **out, failure *fail);

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

/* ---- embeddings (and the learned probe) ------------------------------------------------------ */

typedef struct embedding_job embedding_job;

typedef struct embedding_request {
    const uint32_t *layers; /* increasing, from 1 to backend_last_state; copied */
    size_t n_layers;
    sequence_pooling pooling;
    bool is_urgent;             /* a probe's: goes before all replies */
    bool is_alone;              /* nothing is taken from or left to other requests */
    sequence_priority priority; /* of what is not urgent */
    double deadline_ms;         /* 0: none */
} embedding_request;

size_t backend_state_width(const backend *b);  /* numbers in one layer's state */
uint32_t backend_last_state(const backend *b); /* the state after the output norm */
/* The states of the model's layers at the prompt's tokens. */
error_code backend_embed(backend *b, const prepared_prompt *p, const embedding_request *e,
                         wakeup wake, embedding_job **out, failure *fail);

typedef struct embedding_result {
    sequence_state state;
    failure failure;
    const float *states; /* n_layers × width once finished; the embedding owns them. NULL before */
    sequence_stats stats;
} embedding_result;

error_code embedding_poll(embedding_job *e, embedding_result *out);
void embedding_release(embedding_job *e);

#endif
