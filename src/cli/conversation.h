/* conversation.h: the messages of one conversation, copied and owned. One thread at a time. */
#ifndef CLI_CONVERSATION_H
#define CLI_CONVERSATION_H

#include <stdbool.h>

#include "model/chat.h"

typedef struct conversation {
    chat_message *messages; /* the system message first, where there is one */
    size_t n, capacity;
    bool has_system;
} conversation;

void conversation_free(conversation *c); /* a zeroed one too */

/* `role` is kept as it is: "user" or "assistant". ERR_MEMORY. */
error_code conversation_add(conversation *c, const char *role, const char *text, size_t length);
/* Takes back the last message. */
void conversation_drop(conversation *c);
/* The system message from now on; NULL or "": none. ERR_MEMORY. */
error_code conversation_set_system(conversation *c, const char *text);
/* Forgets all but the system message. */
void conversation_reset(conversation *c);

#endif
