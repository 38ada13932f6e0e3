/*
 * kept_steps.h: inside the backend room only: what steps cost, kept from one start to the next
 * (base/kept.h). An engine goes on learning while it runs, so figures of a day when the machine was
 * busy do not last.
 */
#ifndef BACKEND_KEPT_STEPS_H
#define BACKEND_KEPT_STEPS_H

#include "base/kept.h"
#include "engine/engine.h"

/* Into the options, for this processor, kernel, number of threads, model and KV type; nothing
 * changes where nothing was kept of them that could be true. */
void kept_steps_read(const kept_store *k, const model *m, int threads, engine_options *o);
void kept_steps_write(const kept_store *k, const model *m, int threads, kv_type kv,
                      const engine_costs *measured);

#endif
