/*
 * request.h: what is asked of a model, whichever backend serves it.
 *
 * Nothing here is owned: whoever is given a request copies what it needs of it.
 */
#ifndef BACKEND_REQUEST_H
#define BACKEND_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/priority.h"
#include "base/sampling.h"
#include "base/score.h"
#include "model/chat.h"
#include "model/grammar.h"

/* ---- wishes --------------------------------------------------------------------------------- */

/* A reply, or no reply but scores: of the completion that is given, or of the prompt. */
typedef enum request_kind { REQUEST_REPLY, REQUEST_SCORE } request_kind;

/* What may be drafted of a reply: a wish, because it changes how soon the reply is there and
 * nothing else. WISH_DRAFT: not from the history, a smaller model guesses. */
typedef enum wish_mode { WISH_OFF, WISH_AUTO, WISH_FIXED, WISH_DRAFT } wish_mode;

#define WISH_MAX_DRAFT 16
#define WISH_CLASSES 16

typedef struct lookup_wish {
    wish_mode mode;
    uint32_t length; /* WISH_FIXED: tokens drafted a step, 1 … WISH_MAX_DRAFT */
    uint32_t prior;  /* WISH_AUTO: which acceptance estimate to start from, < WISH_CLASSES (the
                        intent's index) */
} lookup_wish;

/* ---- a request ------------------------------------------------------------------------------- */

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
    bool binds_calls; /* the reply may call, and arguments of tools with "strict": true are valid,
                         where a grammar is known for the form of the model's calls */
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

    request_kind kind;
    bool wants_scores;      /* of the reply's tokens, … */
    bool scores_drawn;      /* … by what they were drawn from, after all of the sampling: what
                               cannot be drawn has no probability */
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
    request_priority priority; /* of the reply */
    double deadline_ms;        /* from submission on, then it fails with ERR_TIMEOUT; 0: none */
    size_t lane;               /* whose thread is to be told of it (backend_houses_adopt) */
} request;

#endif
