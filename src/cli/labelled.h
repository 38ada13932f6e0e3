/*
 * labelled.h: requests whose right label is known, kept in memory: of a file of JSON lines, or the
 * built-in ones. A set owns what its requests point to.
 */
#ifndef CLI_LABELLED_H
#define CLI_LABELLED_H

#include <jansson.h>

#include "cli/asker.h"

typedef struct labelled_request {
    request request;
    chat_message *messages;
    json_t *line;  /* what the request points into; NULL: texts that stay */
    size_t number; /* of its line */
    size_t label;  /* the right one's place in the set's labels */
    size_t tokens; /* of the asked model; known after labelled_fit */
} labelled_request;

typedef struct labelled_requests {
    const char *path; /* for messages */
    labelled_request *items;
    size_t n, capacity;
    size_t n_long; /* taken out by labelled_fit */
    const char *labels[PROBE_MAX_LABELS];
    size_t n_labels;
} labelled_requests;

/* Reads a file in its order, blank lines left out. With n_labels above 0 the labels are those that
 * stand in the set, and others are refused; with 0 they are those of the file, in the order in
 * which they come. ERR_INVALID names a bad line. */
error_code labelled_read(labelled_requests *set, const char *path, failure *fail);
/* The built-in sixty (builtin_requests.h). */
error_code labelled_builtin(labelled_requests *set, failure *fail);
/* The requests of Zhao et al. 2021 that ask for nothing: what a probe says of them is its bias. */
error_code labelled_content_free(labelled_requests *set, failure *fail);
void labelled_free(labelled_requests *set); /* a zeroed one too */

/* The same order every time: files are often in order of their labels. */
void labelled_shuffle(labelled_requests *set);

/* Counts tokens, and takes out the requests that the model's context does not hold. */
error_code labelled_fit(labelled_requests *set, backend *b, failure *fail);

/* Told of every answer; `question` is the number of what was asked, `index` the request's. */
typedef struct answer_sink {
    void (*call)(void *context, size_t index, size_t question, const classification_result *r);
    void *context;
} answer_sink;

/* Asks every question about the first `n` requests, with a bar that says `what` (NULL: none). The
 * questions of one request follow each other closely, so that they share what was prefilled. */
error_code labelled_ask(const labelled_requests *set, size_t n, backend *b, const question *asked,
                        size_t n_questions, const char *what, answer_sink sink, failure *fail);

#endif
