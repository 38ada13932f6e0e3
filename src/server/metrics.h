/*
 * metrics.h: what the server counted and what the engines say of themselves, as Prometheus text.
 * Inside the server room only. Any thread may call; the orchestra must outlive its metrics.
 */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "orchestra/orchestra.h"

typedef struct metrics metrics;

error_code metrics_create(metrics **out, orchestra *o, failure *fail);
void metrics_destroy(metrics *m);

/* A request that has ended, with what it was answered; 499: its client went away. */
void metrics_count_answer(metrics *m, int status);
/* A run that has ended, after its plan was there; is_finished: well, with its reply complete. */
void metrics_count_run(metrics *m, const run *r, bool is_finished);
/* An embedding that is done: a prompt of so many tokens, read in one step at least. */
void metrics_count_embedding(metrics *m, size_t tokens);

typedef struct server_load {
    size_t connections;
    size_t running; /* requests with work in the engines */
} server_load;

error_code metrics_write(metrics *m, const server_load *load, buffer *out);

#endif
