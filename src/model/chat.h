/*
 * chat.h: from a conversation to the exact text and tokens a model was trained on.
 *
 * A chat template is the model file's own Jinja (template/), one of a few built-in ones, or a file.
 * Special tokens are recognised in the template's own text only: what a request writes can never
 * become a control token. A compiled template is read-only; any thread may render with it.
 */
#ifndef MODEL_CHAT_H
#define MODEL_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "model/chat_form.h"
#include "model/tokenizer.h"

typedef struct chat_message {
    const char *role; /* "system", "user", "assistant" … */
    const char *content;
    size_t content_length;
} chat_message;

/* ---- templates ------------------------------------------------------------------------------ */

typedef struct chat_template chat_template;

/* The texts of special tokens where there is no tokenizer; NULL: the template sees none. */
typedef struct chat_tokens {
    const char *bos, *eos;
} chat_tokens;

/* What a template is told of its model: the tokenizer's special tokens (it may be freed later), or
 * the texts alone. */
typedef struct chat_vocabulary {
    const tokenizer *tokenizer; /* or NULL */
    chat_tokens tokens;         /* without a tokenizer */
} chat_vocabulary;

/* Compiles a model file's own template. ERR_FORMAT says what does not compile and in which line. */
error_code chat_template_compile(chat_template **out, const char *jinja, size_t length,
                                 chat_vocabulary words, failure *fail);
/* The override: a built-in name ("chatml", "llama3", "pangu" …) or file:PATH. ERR_NOT_FOUND lists
 * the names. */
error_code chat_template_choose(chat_template **out, const char *choice, chat_vocabulary words,
                                failure *fail);
void chat_template_destroy(chat_template *t);

/* The override's name, or "own" and a hash of the file's own text. */
const char *chat_template_name(const chat_template *t);

/* Its Jinja, as it is; lives as long as the template. */
const char *chat_template_text(const chat_template *t);

/* What the template shows of how its model writes. */
chat_style chat_template_style(const chat_template *t);

/* ---- rendering ------------------------------------------------------------------------------ */

/* A conversation, as plain messages or as JSON. */
typedef struct chat_input {
    const chat_message *messages;
    size_t n_messages;
    const char *messages_json;  /* an array of message objects, instead of `messages`; or NULL */
    const char *tools_json;     /* an array; NULL: none */
    const char *documents_json; /* an array; NULL: none */
    const char *variables_json; /* an object of more variables (chat_template_kwargs); or NULL */
    bool generation_prompt;     /* ends where the assistant speaks */
    const char *now; /* "2026-03-14T09:26:53": what strftime_now tells; NULL: the local time */
} chat_input;

typedef struct chat_span {
    size_t begin, end; /* bytes of chat_text.text */
    bool is_template;
} chat_span;

typedef struct chat_text {
    buffer text;
    chat_span *spans;
    size_t n_spans;
} chat_text;

void chat_text_init(chat_text *text, size_t limit);
void chat_text_free(chat_text *text);
error_code chat_text_add(chat_text *text, const char *data, size_t length, bool is_template);

/* Appends the rendered conversation. ERR_TEMPLATE: the template refuses it, or fails on it, in its
 * words; ERR_INVALID: no messages, or JSON that is none; ERR_UNSUPPORTED: the template takes more
 * steps than a template may. Spans that are not the template's are texts of the request that a
 * special token could begin or end with; its other texts, which could not, count as the template's.
 */
error_code chat_render(const chat_template *t, const chat_input *input, chat_text *out,
                       failure *fail);

/* Appends the ids: specials recognised in template spans only; text between two specials is encoded
 * as one piece, so that merges are those of the whole text. Adds bos first when the tokenizer asks
 * for it and the text does not begin with it. */
error_code chat_encode(const tokenizer *t, const chat_text *text, token_list *out, failure *fail);

#endif
