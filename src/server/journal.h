/*
 * journal.h: the last requests that were decided, for whoever looks at the server now. What must
 * not be lost is the decision log's (docs/decision-log.md). Inside the server room only; the loop's
 * thread alone.
 */
#ifndef SERVER_JOURNAL_H
#define SERVER_JOURNAL_H

#include <jansson.h>

#include "base/failure.h"

typedef struct exchange exchange;
typedef struct journal journal;

#define JOURNAL_ENTRIES 32

error_code journal_create(journal **out, failure *fail);
void journal_destroy(journal *j); /* NULL too */

/* A request is over: `status` as the log line tells it. What was never decided is passed over. */
void journal_add(journal *j, const exchange *e, int status);

/* A list, the latest first; NULL: no memory. */
json_t *journal_json(const journal *j);

#endif
