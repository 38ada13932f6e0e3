/*
 * item.h: inside the evidence room only: what blocks on own engines (block.c) and on a server
 * (server_block.c) share: one request's record (its fields: summary.h), judging answers, and when
 * requests arrive.
 */
#ifndef EVIDENCE_ITEM_H
#define EVIDENCE_ITEM_H

#include <stdint.h>

#include "evidence/block.h"

/* Of a request that was not sent yet; NULL: no memory. */
json_t *item_new(const task *t);
void item_put_integer(json_t *object, const char *key, uint64_t value);
void item_put_real(json_t *object, const char *key, double value);
/* Of an answer's text; NULL: an empty one. */
uint32_t item_digest(const char *text);

/* After the clock has stopped. A request without an answer (NULL) is wrong. */
error_code items_check(json_t **items, char *const *answers, const task *tasks, size_t n,
                       checker *judge, failure *fail);

/* Open loop: due[i] is when task i arrives, in ms after the begin. */
error_code load_arrivals(const block_options *o, const task *tasks, size_t n_tasks, double *due,
                         failure *fail);

#endif
