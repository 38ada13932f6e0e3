/*
 * forward_internal.h: inside the forward pass only: the scratch memory of a step and what its files
 * ask of each other. `forward` is shared by all threads of a step, `worker` is one thread's view of
 * it.
 */
#ifndef MODEL_FORWARD_INTERNAL_H
#define MODEL_FORWARD_INTERNAL_H

#include <stdatomic.h>

#include "model/forward_trace.h"

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

/* In this order, from QKV to STATES for every layer, which skips those it has no use for; between
 * two stages all threads meet. */
typedef enum stage {
    STAGE_EMBED,
    STAGE_QKV,
    STAGE_QK_ROWS,   /* norms over the whole of q and of k */
    STAGE_HEADS,     /* bias, norm and RoPE of each row and KV head; storing keys and values */
    STAGE_CLOSE,     /* groups of keys whose last position is there */
    STAGE_ATTENTION, /* of single rows with what STAGE_HEADS does, which they then skip */
    STAGE_ATTENTION_OUTPUT,
    STAGE_ATTENTION_NORM, /* what attention gave is normalised and joins the residual stream */
    STAGE_GATE_UP,
    STAGE_DOWN,
    STAGE_EXPERTS,
    STAGE_FFN_NORM, /* as STAGE_ATTENTION_NORM */
    STAGE_STATES,   /* layers whose state is read */
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
    float *shares;        /* rows: how much the expert counts that every token meets */
    float *gate, *up;     /* pairs in execution order × n_expert_ff */
    float *result;        /* pairs in execution order × n_embd */
    activation *inputs;   /* pairs columns */
} expert_scratch;

/* The angles of a step's rows by one rope_plan. */
typedef struct rope_scratch {
    size_t pairs;
    double *frequencies;    /* pairs: radians a position */
    float *cosines, *sines; /* rows × pairs, times the plan's magnitude */
} rope_scratch;

typedef struct worker_scratch {
    activation *own;     /* PRIVATE_ROWS columns */
    float *normed;       /* max_length */
    float *attention;    /* attention_scratch_floats */
    float *tile;         /* two pieces of a product: MATRIX_PIECE_ROWS × rows each */
    size_t skipped_rows; /* of the output matrix, in this step */
} worker_scratch;

struct forward {
    const model *m;
    int n_threads;
    size_t max_rows, max_outputs, max_length;
    attention_shape shape; /* type, scale, window, caps and sinks are set when it is used */
    rope_scratch ropes[MODEL_ROPES];
    float *memory;       /* one block behind the pointers below */
    float *x;            /* rows × n_embd: the residual stream */
    float *block;        /* rows × n_embd: what a part of a layer gave, before it joins x */
    float *qkv;          /* rows × (n_heads + 2 n_kv_heads) head_dim */
    float *mixed;        /* rows × n_heads head_dim: attention's result */
    float *temperatures; /* rows: what queries are multiplied with; models that do so only */
    float *logits;       /* outputs × n_vocab */
    activation *shared;  /* max_rows columns */
    activation *ffn;     /* max_rows columns of n_ff; or NULL where that is 0 */
    team_loop *loop;     /* the pieces of the product that runs now */
    worker_scratch *workers;
    segment *segments;
    expert_scratch experts; /* models with experts only */

    /* The step that runs now. */
    team *threads;
    const forward_row *rows;
    size_t n_rows, n_segments;
    size_t *outputs; /* max_outputs: the rows that want logits */
    size_t n_outputs;
    logit_choice *choose; /* or NULL */
    void *choose_context;
    const uint32_t **chosen; /* max_outputs: what choose said of each; NULL: all logits */
    size_t *closing;         /* max_rows: those that are the last of a group of keys */
    size_t n_closing;
    const state_reader *readers;
    size_t n_readers;
    const atomic_bool *pause; /* or NULL */
    place at;                 /* where the step goes on */
    bool paused;              /* in the middle of the stage there: it has been prepared */
    forward_trace *trace;     /* or NULL */
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

/* When a traced stage begins; 0 without a trace. */
double forward_trace_begin(const worker *w);
/* Keeps what the thread did since begin_ms; returns the present, from which the next part counts.
 */
double forward_trace_note(const worker *w, place at, trace_part part, double begin_ms);

/* One thread's part of a step, from where it stands to its end or to a pause. A team_work. */
void forward_run_worker(void *context, int thread, int n_threads);

/* out = x as the model normalises it, times weight. */
static inline void forward_normalise(const worker *w, float *out, const float *x,
                                     const float *weight, size_t n)
{
    if (w->c->layer_norm)
        vector_layer_norm(out, x, weight, n, w->c->norm_epsilon);
    else
        vector_rms_norm(out, x, weight, n, w->c->norm_epsilon);
}

/* gate becomes what the network's two halves give together. */
static inline void forward_activate(ffn_activation kind, float *gate, const float *up, size_t n)
{
    if (kind == ACTIVATE_GELU)
        vector_gelu_multiply(gate, up, n);
    else if (kind == ACTIVATE_SWIGLU_OAI)
        vector_swiglu_oai_multiply(gate, up, n);
    else
        vector_silu_multiply(gate, up, n);
}

/* The right-hand side of a product with m: the rows of `input` (length floats apart), normalised
 * when weight is not NULL. Every thread of the step must call it. */
const activation *forward_prepare(const worker *w, const float *input, size_t length,
                                  const float *weight, const matrix *m);

/* Normalises the whole of a row's q, and of its k. */
void forward_normalise_qk(const worker *w, const layer_weights *l, size_t row);
/* One row's part of one KV head and of the query heads that share it: makes queries and key ready,
 * stores key and value. */
void forward_finish_head(const worker *w, size_t layer, size_t row, size_t head);
/* Of one KV head, closes the group of keys of which the row is the last. */
void forward_close_group(const worker *w, size_t layer, size_t row, size_t head);
/* The attention of a segment's rows over one KV head, into f->mixed. */
void forward_attend(const worker *w, size_t layer, const segment *s, size_t head);

size_t forward_output_pieces(const forward *f);
/* Makes an output's row ready for its product. */
void forward_normalise_output(const worker *w, size_t output);
/* The logits of one piece of the vocabulary, as far as they are wanted. */
void forward_multiply_output(const worker *w, size_t piece);

error_code forward_experts_create(forward *f, failure *fail);
void forward_experts_destroy(forward *f);
/* x += what the experts give, for every row; the one that every token meets has left its part in
 * f->block. Ends without a barrier. */
void forward_experts_run(const worker *w, size_t layer);

#endif
