/*
 * redecide.h: a decision log (docs/decision-log.md) decided again: by the tables that it holds
 * itself, every plan must come out the same, word for word. No engine runs.
 */
#ifndef EVIDENCE_REDECIDE_H
#define EVIDENCE_REDECIDE_H

#include <jansson.h>
#include <stddef.h>

#include "base/failure.h"

typedef struct redecided {
    size_t policies;  /* tables read */
    size_t decisions; /* decided again */
    size_t pinned;    /* requests that named their model: nothing to decide */
    size_t same;
    size_t torn;     /* lines that are no JSON: a write that a crash or a full disk cut short */
    size_t orphans;  /* decisions without a table before them: a file whose first line was lost */
    char first[256]; /* what differs in the first that does; "" */
} redecided;

/* ERR_FORMAT names the line that is JSON and no line of a decision log. */
error_code redecide_log(const char *path, redecided *out, failure *fail);

#endif
