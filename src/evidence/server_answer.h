/*
 * server_answer.h: inside the evidence room only: what a server streams back to one request, and
 * the item (summary.h) that comes of it. A server may say anything: a figure that cannot be is the
 * answer's error.
 */
#ifndef EVIDENCE_SERVER_ANSWER_H
#define EVIDENCE_SERVER_ANSWER_H

#include <jansson.h>
#include <stdbool.h>

#include "backend/event_stream.h"

typedef struct server_answer {
    event_stream events;
    buffer text;
    double first_ms, last_ms; /* when text came; 0: none did */
    size_t pieces;            /* of the text, for a server that does not count tokens */
    bool is_whole;            /* the stream said that it had ended */
    json_t *account;          /* a_io */
    json_t *usage;
    char error[160]; /* "": none */
} server_answer;

void server_answer_init(server_answer *a);
void server_answer_free(server_answer *a); /* a zeroed one too */

/* Bytes of the stream, in pieces of any size. */
void server_answer_feed(server_answer *a, const char *data, size_t length);
/* Something went wrong, the first time that counts: "kind: text", or "kind" where text is "". */
void server_answer_note(server_answer *a, const char *kind, const char *text);
/* At its end: are its figures such that can be? */
void server_answer_check(server_answer *a);

/* Into an item that item_new made. `due_ms`: when the request was to be sent. */
void server_answer_describe(const server_answer *a, json_t *item, double due_ms);

#endif
