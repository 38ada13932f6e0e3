/* model_step.h: one step of a model whose file may be broken. */
#ifndef TESTS_FUZZ_MODEL_STEP_H
#define TESTS_FUZZ_MODEL_STEP_H

#include <stdlib.h>

#include "model/forward.h"

#define STEP_ROWS 3

/* Head counts and layers may have been changed into others that fit the tensors, so the KV is made
 * for what the model says. False: no memory. */
static inline bool model_step(const model *m, team *workers)
{
    const model_config *c = &m->config;
    size_t values = c->n_layers * c->n_kv_heads * STEP_ROWS * c->head_dim;
    kv_view kv = {.type = KV_F16, .capacity = STEP_ROWS};
    kv.keys = calloc(1, kv_value_bytes(KV_F16, values));
    kv.values = calloc(1, kv_value_bytes(KV_F16, values));
    forward *f;
    bool has_memory = kv.keys != NULL && kv.values != NULL;
    if (has_memory && forward_create(&f, m, team_size(workers), STEP_ROWS, STEP_ROWS, NULL) == OK) {
        forward_row rows[STEP_ROWS];
        for (uint32_t i = 0; i < STEP_ROWS; i++)
            rows[i] = (forward_row){.token = (int32_t)(i * (c->n_vocab - 1) / (STEP_ROWS - 1)),
                                    .position = i,
                                    .kv = &kv,
                                    .want = WANT_LOGITS};
        forward_step(f, workers, rows, STEP_ROWS);
        forward_destroy(f);
    }
    free(kv.keys);
    free(kv.values);
    return has_memory;
}

#endif
