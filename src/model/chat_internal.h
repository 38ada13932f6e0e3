/*
 * chat_internal.h: what the chat files share; nobody else includes it.
 *
 *   chat.c           spans of text and their tokens
 *   chat_template.c  compiled templates, and rendering
 *   chat_builtin.c   the built-in templates
 */
#ifndef MODEL_CHAT_INTERNAL_H
#define MODEL_CHAT_INTERNAL_H

#include "model/chat.h"

/* The Jinja text of a built-in template, or NULL. */
const char *chat_builtin_find(const char *name);
/* "chatml, qwen2, ...": all of them. */
const char *chat_builtin_names(void);

#endif
