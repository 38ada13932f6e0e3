/*
 * journal.h: what a long work has found so far, in a file, so that a work that was killed goes on
 * where it was.
 *
 * Values by key; one thread. The file's first line says with what settings the rest was made, every
 * further one is an object of keys. A line that was cut short is forgotten.
 */
#ifndef EVIDENCE_JOURNAL_H
#define EVIDENCE_JOURNAL_H

#include <jansson.h>

#include "base/failure.h"

typedef struct journal journal;

/* Reads what is there and goes on with it. ERR_INVALID: it was left by a work with other settings;
 * `work` ("replay") is what the message calls it. `path` NULL: kept in memory alone. */
error_code journal_open(journal **out, const char *path, const char *work, const json_t *settings,
                        failure *fail);
void journal_close(journal *j); /* NULL too; the file stays */

/* NULL: none. Lives as long as the journal. */
json_t *journal_find(const journal *j, const char *key);
/* `value` is taken over (NULL: no memory). On the file when it returns. */
error_code journal_put(journal *j, const char *key, json_t *value, failure *fail);

#endif
