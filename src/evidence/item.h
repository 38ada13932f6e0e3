/*
 * item.h: inside the evidence room only: what blocks on own engines (block.c) and on a server
 * (server_block.c) write: one request's record (its fields: summary.h).
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

#endif
