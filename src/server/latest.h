/*
 * latest.h: the last requests that were decided, for whoever looks at the server now. What must
 * not be lost is the decision log's (docs/decision-log.md). Inside the server room only; any
 * thread.
 */
#ifndef SERVER_LATEST_H
#define SERVER_LATEST_H

#include <jansson.h>

#include "base/failure.h"

typedef struct exchange exchange;
typedef struct latest latest;

#define LATEST_ENTRIES 32

error_code latest_create(latest **out, failure *fail);
void latest_destroy(latest *l); /* NULL too */

/* A request is over: `status` as the log line tells it. What was never decided is passed over. */
void latest_add(latest *l, const exchange *e, int status);

/* A list, the latest first; NULL: no memory. */
json_t *latest_json(latest *l);

#endif
