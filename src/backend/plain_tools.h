/* plain_tools.h: tools for templates that know of none. Inside the backend room only. */
#ifndef BACKEND_PLAIN_TOOLS_H
#define BACKEND_PLAIN_TOOLS_H

#include "backend/backend.h"

/* A conversation in which the first user's message begins with what the tools are and how to call
 * them (chat_form "json"), the assistant's calls are said that way, and a tool's result is what a
 * user says: several results in a row, and what the user says behind them, are one message, for
 * most of such templates want the two to take turns. */
typedef struct plain_tools {
    chat_message *messages;
    size_t n_messages; /* at most as many as the request has */
    buffer text;
} plain_tools;

/* ERR_MEMORY only; to be freed either way. */
error_code plain_tools_make(plain_tools *out, const request *r, failure *fail);
void plain_tools_free(plain_tools *p);

#endif
