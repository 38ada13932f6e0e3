/*
 * asker.h: questions to a model's probe, of which several are on their way at once; each is waited
 * for on the caller's own thread.
 */
#ifndef CLI_ASKER_H
#define CLI_ASKER_H

#include "cli/bell.h"

typedef struct asker {
    backend *backend;
    bell bell;
} asker;

/* What is asked: a template and the words that may answer it, each one token. */
typedef struct question {
    probe_template template;
    const char *words[PROBE_MAX_LABELS];
    size_t n_words;
} question;

void asker_init(asker *a, backend *b); /* it stays where it is: questions point to it */
void asker_end(asker *a);              /* after the last answer was taken or released */

error_code asker_ask(asker *a, const request *q, const question *what, classification **out,
                     failure *fail);
/* Waits for this one, and gives it back, whatever came of it. */
error_code asker_take(asker *a, classification *c, classification_result *out, failure *fail);

#endif
