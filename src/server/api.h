/*
 * api.h: the APIs that are spoken. Each is a form of requests (which fields there are and who reads
 * them) and a writer of replies; what lies between them is the same for all. Inside the server room
 * only.
 */
#ifndef SERVER_API_H
#define SERVER_API_H

#include "server/openai.h"
#include "server/reply_parser.h"

typedef struct exchange exchange;
typedef struct choice choice;

typedef struct api {
    const char *id_prefix;
    const char *stream_type; /* the Content-Type of its streams */
    const request_form *form;
    bool keeps_text; /* its streams tell at their end what they have told, too */

    /* The body of a whole reply: new, NULL where there is no memory; or written as text at once. */
    json_t *(*whole)(const exchange *e);
    void (*write_whole)(const exchange *e, json_out *o);
    /* The body for who asks nothing (chat_request.asks_nothing); NULL: its form refuses such. */
    json_t *(*loaded)(const exchange *e);
    /* Of a stream; each adds events (exchange_add_event …), and is false where there is no memory.
     * `piece` is told what came, `choice_end` that a reply is whole, `end` that all are. */
    bool (*begin)(exchange *e);
    bool (*piece)(exchange *e, choice *c, const reply_piece *piece);
    bool (*choice_end)(exchange *e, choice *c);
    bool (*end)(exchange *e);
    bool (*keep_alive)(exchange *e);

    /* How errors are told; NULL: as OpenAI does. */
    json_t *(*error)(const api_error *e);
    bool (*stream_error)(exchange *e, const api_error *error);
} api;

extern const api openai_chat_api, openai_text_api, anthropic_api, responses_api, ollama_chat_api,
    ollama_generate_api, score_api, native_api, infill_api, embeddings_api, ollama_embed_api,
    ollama_embeddings_api;

#endif
