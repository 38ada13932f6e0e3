/*
 * metrics_text.h: Prometheus's text format (exposition format 0.0.4), a sample or a family at a
 * time. The first error stays in `code`, and nothing is written after it. Inside the server room
 * only.
 */
#ifndef SERVER_METRICS_TEXT_H
#define SERVER_METRICS_TEXT_H

#include "base/buffer.h"
#include "server/histogram.h"

typedef struct metrics_text {
    buffer *out;
    error_code code;
} metrics_text;

void put(metrics_text *t, const char *text);
void put_head(metrics_text *t, const char *name, const char *type, const char *help);
/* `before`: "{", or "," after another label. */
void put_label(metrics_text *t, const char *before, const char *name, const char *value);
void put_count(metrics_text *t, uint64_t value); /* and ends the line; as the next two */
void put_number(metrics_text *t, double value);
void put_seconds(metrics_text *t, double ms);
/* One that has no labels, with its head. */
void put_plain(metrics_text *t, const char *name, const char *type, const char *help, double value);
/* Its buckets, sum and count; `label` NULL: none. */
void put_histogram(metrics_text *t, const char *name, const char *label, const char *value,
                   const histogram *h);

#endif
