/*
 * forward_internal.h: inside the forward pass only: the scratch memory of a step and what its files
 * ask of each other. `forward` is shared by all threads of a step, `worker` is one thread's view of
 * it.
 */
#ifndef MODEL_FORWARD_INTERNAL_H
#define MODEL_FORWARD_INTERNAL_H

#include <stdatomic.h>

#include "model/forward.h"

/* Up to here each thread repeats norm and quantisation instead of waiting for others to share it.
 */
#define PRIVATE_ROWS 2
#define ATTENTION_ROWS 16 /* rows one attention call takes */

/* Consecutive rows of one sequence. */
typedef struct segment {
    size_t first_row;
    size_t n_rows;
    size_t first_position;
    const kv_view *kv;
} segment;

/* In this order, from QKV to DOWN or EXPERTS for every layer; between two stages all threads meet.
 */
typedef enum stage {
    STAGE_EMBED,
    STAGE_QKV,
    STAGE_HEADS, /* bias, norm and RoPE of each row and KV head; storing keys and values */
    STAGE_ATTENTION,
    STAGE_ATTENTION_OUTPUT,
    STAGE_GATE_UP,
    STAGE_DOWN,
    STAGE_EXPERTS, /* instead of gate/up and down */
    STAGE_OUTPUTS,
    STAGE_LOGITS,
    STAGE_END,
} stage;

typedef struct place {
    stage stage;
    size_t layer;
} place;

/* One row's visit to one expert is a pair; pair p = row · n_experts_used + rank. In the order of
 * execution pairs of the same expert stand together, so that its weights are read once. */
typedef struct expert_scratch {
    float *router_logits; /* rows × n_experts */
    float *weights;       /* pairs: how much the expert counts */
    uint32_t *chosen;     /* pairs: the expert */
    uint32_t *order;      /* execution index of each pair */
    uint32_t *starts;     /* n_experts + 1: where each expert's pairs begin in that order */
    float *gate, *up;     /* pairs in execution order × n_ff */
    float *result;        /* pairs in execution order × n_embd */
    activation *inputs;   /* pairs columns */
} expert_scratch;

typedef struct worker_scratch {
    activation *own;  /* PRIVATE_ROWS columns */
    float *normed;    /* max_length */
    float *attention; /* attention_scratch_floats */
    float *tile;      /* two pieces of a product: MATRIX_PIECE_ROWS × rows each */
} worker_scratch;

struct forward {
    const model *m;
    int n_threads;
    size_t max_rows, max_outputs, max_length;
    attention_shape shape;  /* type is that of the largest scratch; set per segment when used */
    double *frequencies;    /* rope_dims / 2 */
    float *memory;          /* one block behind the pointers below */
    float *x;               /* rows × n_embd: the residual stream */
    float *qkv;             /* rows × (n_heads + 2 n_kv_heads) head_dim */
    float *mixed;           /* rows × n_heads head_dim: attention's result */
    float *cosines, *sines; /* rows × rope_dims / 2 */
    float *logits;          /* outputs × n_vocab */
    activation *shared;     /* max_rows columns */
    activation *ffn;        /* max_rows columns of n_ff; models without experts only */
    team_loop *loop;        /* the pieces of the product that runs now */
    worker_scratch *workers;
    segment *segments;
    expert_scratch experts; /* models with experts only */

    /* The step that runs now. */
    team *threads;
    const forward_row *rows;
    size_t n_rows, n_segments;
    size_t *outputs; /* max_outputs: the rows that want logits */
    size_t n_outputs;
    const atomic_bool *pause; /* or NULL */
    place at;                 /* where the step goes on */
    bool paused;              /* in the middle of the stage there: it has been prepared */
};

typedef struct worker {
    forward *f;
    const model_config *c;
    worker_scratch *scratch;
    int thread, n_threads;
} worker;

static inline size_t forward_qkv_rows(const model_config *c)
{
    return (c->n_heads + 2 * c->n_kv_heads) * c->head_dim;
}

/* One thread's part of a step, from where it stands to its end or to a pause. A team_work. */
void forward_run_worker(void *context, int thread, int n_threads);

/* The right-hand side of a product with m: the rows of `input` (length floats apart), normalised
 * when weight is not NULL. Every thread of the step must call it. */
const activation *forward_prepare(const worker *w, const float *input, size_t length,
                                  const float *weight, const matrix *m);

/* One row's part of one KV head and of the query heads that share it: makes queries and key ready,
 * stores key and value. */
void forward_finish_head(const worker *w, size_t layer, size_t row, size_t head);
/* The attention of a segment's rows over one KV head, into f->mixed. */
void forward_attend(const worker *w, size_t layer, const segment *s, size_t head);

error_code forward_experts_create(forward *f, failure *fail);
void forward_experts_destroy(forward *f);
/* x += the experts' share of the feed-forward network, for every row. Ends without a barrier. */
void forward_experts_run(const worker *w, const layer_weights *l);

#endif
