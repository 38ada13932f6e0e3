/*
 * forward.h: the forward pass: one step of many rows through one model.
 *
 * A row is one token of one sequence at one position. Rows of the same sequence stand together in
 * increasing positions; their keys and values are written before any row attends. What a row
 * computes depends only on its token, its position and the KV before it (promise 1). A `forward` is
 * the scratch memory of one model's steps: one step at a time.
 */
#ifndef MODEL_FORWARD_H
#define MODEL_FORWARD_H

#include <stdatomic.h>

#include "model/model.h"

/* Where the keys and values of one sequence live. Layer l, head h, position p of K starts at
 * keys + ((l · n_kv_heads + h) · capacity + p) · bytes of head_dim values; V likewise. Where the
 * type groups keys these are written to open_keys, laid out likewise, and become a group of K in
 * the step that writes the group's last position: a row needs those of its own group, from the
 * group's begin on. */
typedef struct kv_view {
    kv_type type;
    char *keys;
    char *values;
    size_t capacity; /* positions; a multiple of KV_GROUP where keys are grouped */
    char *open_keys; /* of KV_OPEN_TYPE; NULL where keys are not grouped */
} kv_view;

typedef enum forward_want { WANT_NOTHING, WANT_LOGITS } forward_want;

typedef struct forward_row {
    int32_t token;
    uint32_t position;
    const kv_view *kv;
    forward_want want;
} forward_row;

/* Reads states of the residual stream while a step runs: of the step's rows first_row …
 * first_row + n_rows - 1, one after the other, the state after layers[i] layers is added to sums[i
 * · n_embd …]; so for one row it is the state itself. A layer's state is what the next layer reads,
 * before its norm: 1 … the model's number of layers; one more means the last state after the output
 * norm, which is what logits are computed from (model_last_state). */
typedef struct state_reader {
    size_t first_row, n_rows; /* n_rows ≥ 1 */
    const uint32_t *layers;   /* n_layers of them, increasing */
    size_t n_layers;
    double *sums; /* n_layers × n_embd */
} state_reader;

typedef struct forward forward;

/* max_rows: rows a step may have; max_outputs: of them, rows that may want logits.
 */
error_code forward_create(forward **out, const model *m, int n_threads, size_t max_rows,
                          size_t max_outputs, failure *fail);
void forward_destroy(forward *f);

/* Runs the rows. Afterwards forward_logits(f, i) are the n_vocab logits of the i-th row that wanted
 * them, in row order; valid until the next step. The caller checks tokens and positions against
 * vocabulary and capacity. */
void forward_step(forward *f, team *threads, const forward_row *rows, size_t n_rows);

/* The same in parts, so that urgent work on the same threads need not wait for a long step's end:
 * forward_run returns false soon (a piece of one product later) after *pause has become true, and
 * goes on from there when it is called again; true: the step is complete. What the rows give does
 * not depend on where they paused. Rows and their KV stay untouched in between. */
void forward_begin(forward *f, const forward_row *rows, size_t n_rows);
/* Between forward_begin and the first forward_run: what is read of this step. The readers stay
 * untouched until the step is complete. */
void forward_read_states(forward *f, const state_reader *readers, size_t n_readers);
bool forward_run(forward *f, team *threads, const atomic_bool *pause); /* NULL: no pause */

/* Which logits are wanted of the i-th row that wants logits: bit t % 32 of word t / 32 for token t.
 * NULL: all, or nobody knows yet. Called once for each such row when they are about to be computed,
 * on any thread of the step; what it returns stays as it is until the step is complete. */
typedef const uint32_t *logit_choice(void *context, size_t index);
/* Between forward_begin and the first forward_run. Where every row of the step has a choice, logits
 * that none wants are not computed (their places hold anything); those that are have the bits that
 * they have among all. */
void forward_choose_logits(forward *f, logit_choice *choose, void *context);
/* Of a complete step: the bytes of the output matrix that were not read for that. */
size_t forward_skipped_bytes(const forward *f);
float *forward_logits(forward *f, size_t index);

/* Bytes of KV that a step reads for a row at this position. */
size_t forward_kv_bytes(const model *m, kv_type type, size_t position);

#endif
