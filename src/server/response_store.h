/*
 * response_store.h: conversations that a later request may go on with (previous_response_id), and
 * the responses themselves. Inside the server room only. Any thread may call.
 *
 * In memory, and bounded in bytes and in number: the oldest are forgotten first. A conversation is
 * the list of its messages in OpenAI's form, the reply the last.
 */
#ifndef SERVER_RESPONSE_STORE_H
#define SERVER_RESPONSE_STORE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/failure.h"

typedef struct response_store response_store;

#define RESPONSE_ID_SIZE 48

error_code response_store_create(response_store **out, failure *fail);
void response_store_destroy(response_store *s); /* NULL too */

/* Both are taken over. What is too large, or has no memory, is not kept. */
void response_store_put(response_store *s, const char *id, json_t *messages, json_t *response);
/* New; NULL: it is not known, or no memory. */
json_t *response_store_messages(response_store *s, const char *id);
json_t *response_store_response(response_store *s, const char *id);
bool response_store_remove(response_store *s, const char *id);

#endif
