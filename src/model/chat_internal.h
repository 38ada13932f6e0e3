/*
 * chat_internal.h: what the chat files share; nobody else includes it.
 *
 *   chat.c            spans of text and their tokens
 *   chat_template.c   the known templates as data, and rendering by that data
 *   chat_recognise.c  which known template a Jinja text is
 */
#ifndef MODEL_CHAT_INTERNAL_H
#define MODEL_CHAT_INTERNAL_H

#include <stdint.h>

#include "model/chat.h"

enum { ROLE_OF_SYSTEM, ROLE_OF_USER, ROLE_OF_ASSISTANT, N_CHAT_ROLES };

struct chat_template {
    const char *name;
    const char *open[N_CHAT_ROLES]; /* what stands before a message of each role */
    const char *close;              /* and after it */
    /* The system message that begins a conversation, where it differs; "{date}" is today's date. */
    const char *first_system;
    const char *default_system; /* its text when the conversation has none; NULL: no such message */
    const char *generation;     /* where the assistant speaks next */
    bool starts_with_bos;
    bool trims;  /* messages lose the white space around them */
    bool thinks; /* Qwen3's treatment of <think> in the assistant's messages */
};

/* The template whose Jinja texts have this fingerprint, or NULL. */
const chat_template *chat_template_fingerprinted(uint64_t fingerprint);

/* A hash of what a Jinja text does: white space within tags, white-space control, comments, the
 * kind of quotes, escapes, `a['b']` for `a.b` and strings joined by `+` make no difference. False
 * for a text whose tags do not end. ERR_MEMORY and ERR_TOO_LARGE are false too: such a text is not
 * a known one. */
bool chat_fingerprint(const char *jinja, size_t length, uint64_t *fingerprint);

/* "chatml, qwen2.5, ...": the names of all templates. */
const char *chat_template_names(void);

#endif
