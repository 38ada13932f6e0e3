/*
 * chat.h: from a conversation to the exact text and tokens a model was trained on.
 *
 * Rendering yields spans marked template or user, so that special tokens are recognised only in the
 * template's own text: what a user writes can never become a control token.
 */
#ifndef MODEL_CHAT_H
#define MODEL_CHAT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/failure.h"
#include "model/tokenizer.h"

typedef struct chat_message {
    const char *role; /* "system", "user" or "assistant" */
    const char *content;
    size_t content_length;
} chat_message;

typedef struct chat_template chat_template; /* a recognised template: static data, never freed */

/* Recognises the Jinja text of a model file. ERR_UNSUPPORTED (naming the chat_template: override)
 * for one that would not be rendered exactly. */
error_code chat_template_recognise(const chat_template **out, const char *jinja, size_t length,
                                   failure *fail);
/* The override: "chatml", "llama3", "pangu" ... ERR_NOT_FOUND lists the known names. */
error_code chat_template_named(const chat_template **out, const char *name, failure *fail);
const char *chat_template_name(const chat_template *t);

typedef struct chat_span {
    size_t begin, end; /* bytes of chat_text.text */
    bool is_template;
} chat_span;

typedef struct chat_text {
    buffer text;
    chat_span *spans;
    size_t n_spans;
    bool starts_with_bos; /* the template begins with its model's bos token, which has no text here
                           */
} chat_text;

void chat_text_init(chat_text *text, size_t limit);
void chat_text_free(chat_text *text);
error_code chat_text_add(chat_text *text, const char *data, size_t length, bool is_template);

/* Appends the rendered conversation; with `generation_prompt` ending where the assistant speaks.
 * ERR_INVALID for a role or an order the template refuses. */
error_code chat_render(const chat_template *t, const chat_message *messages, size_t n_messages,
                       bool generation_prompt, chat_text *out, failure *fail);

/* Appends the ids: specials recognised in template spans only; text between two specials is encoded
 * as one piece, so that merges are those of the whole text. Adds bos first when the tokenizer or
 * the template asks for it and the text does not begin with it. */
error_code chat_encode(const tokenizer *t, const chat_text *text, token_list *out, failure *fail);

#endif
