/*
 * kernel.h: everything that touches numbers: tensor types, packed matrices, activations, attention,
 * the small vector operations, and the team of threads that runs them.
 *
 * Promise 1 lives here: the value of one output element never depends on how many columns (rows of
 * a step) are computed beside it, nor on how rows are shared among threads. Every kernel therefore
 * reduces one output element in one fixed order.
 *
 * One instruction set is chosen for the process by kernel_init; all others can be chosen by name
 * for tests. After kernel_init everything here may be called from any thread; functions that take a
 * `matrix` or `activation` only read the matrix.
 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"
#include "kernel/weight_memory.h"

/* ---- instruction sets --------------------------------------------------------------------- */

/* Chooses the kernels: by name ("reference", "avx2", "avxvnni", "avx512", "neon"), or, with NULL,
 * A_IO_KERNEL from the environment, or else the best this CPU runs. ERR_INVALID for an unknown
 * name, ERR_UNSUPPORTED for one this CPU cannot run. Call once before the first matrix is made
 * (tests call it again when no matrix is alive). */
error_code kernel_init(const char *name, failure *fail);
const char *kernel_name(void);
/* Names this machine can run, best first, NULL-terminated. */
const char *const *kernel_names(void);

/* ---- tensor types (the ids are GGUF's) ------------------------------------------------------ */

typedef enum tensor_type {
    TENSOR_F32 = 0,
    TENSOR_F16 = 1,
    TENSOR_Q4_0 = 2,
    TENSOR_Q4_1 = 3,
    TENSOR_Q5_0 = 6,
    TENSOR_Q5_1 = 7,
    TENSOR_Q8_0 = 8,
    TENSOR_Q2_K = 10,
    TENSOR_Q3_K = 11,
    TENSOR_Q4_K = 12,
    TENSOR_Q5_K = 13,
    TENSOR_Q6_K = 14,
    TENSOR_IQ4_NL = 20,
    TENSOR_IQ4_XS = 23,
    TENSOR_BF16 = 30,
    TENSOR_MXFP4 = 39, /* 32 values of 4 bits and their power of two, a byte (OCP MX) */
} tensor_type;

typedef struct tensor_type_info {
    tensor_type type;
    const char *name;      /* "Q4_K" */
    uint32_t block_values; /* values a block */
    uint32_t block_bytes;  /* bytes a block */
    /* Decodes n values (a multiple of block_values) from the file's layout to f32. */
    void (*decode)(const void *src, float *dst, size_t n);
} tensor_type_info;

/* NULL when this program does not know the id. */
const tensor_type_info *tensor_type_find(uint32_t id);
/* By name in any case ("q4_k"); NULL when unknown. */
const tensor_type_info *tensor_type_find_name(const char *name);

/* Of n blocks in the file's layout, how many come before the first of which a value (for types
 * without blocks) or a scale is NaN or infinite: n when all are numbers. */
size_t tensor_finite_blocks(const tensor_type_info *type, const void *data, size_t n);

float f16_to_f32(uint16_t half);
uint16_t f32_to_f16(float value); /* round to nearest even */

/* ---- matrices ------------------------------------------------------------------------------- */

/* A weight matrix W, rows × cols, repacked for the chosen kernel into its own (anonymous) memory.
 * It may be joined from several sources stacked by rows (q, k and v; gate and up), each with its
 * own tensor type. Rows of every source are padded to MATRIX_ROW_GROUP inside; the padding is
 * invisible. */
typedef struct matrix matrix;

#define MATRIX_ROW_GROUP                                                                           \
    16 /* row ranges given to matrix_multiply start at multiples of this within a source */

typedef struct matrix_source {
    tensor_type type;
    const void *data; /* the file's layout, rows × cols values; only read during matrix_create */
    size_t rows;
} matrix_source;

/* cols must be a multiple of 32 for quantised types with blocks of 32, 256 for K-quants and IQ4_XS.
 * ERR_FORMAT, with tensor and block, when a weight is not a finite number. */
error_code matrix_create(matrix **out, const matrix_source *sources, size_t n_sources, size_t cols,
                         failure *fail);
/* Where in a file a source comes from, for messages. */
typedef struct matrix_origin {
    const char *tensor;
    size_t first_block; /* of the source in the tensor */
} matrix_origin;

typedef struct packer packer; /* packer.h */

/* How a matrix of a model is packed. */
typedef struct matrix_packing {
    weight_memory *memory; /* where to, as long as it has room; NULL: memory of the matrix's own */
    packer *packer; /* by whom: the matrix is whole when that has finished, and lives until then.
                       NULL: by as many threads as there are cores, at once */
    const matrix_origin *origins; /* one a source; NULL: they have no names */
    bool in_turns; /* two sources of one shape and type lie by turns, pieces of MATRIX_PIECE_ROWS or
                      fewer: for products that take the same rows of both, piece by piece */
} matrix_packing;

error_code matrix_create_packed(matrix **out, const matrix_source *sources, size_t n_sources,
                                size_t cols, const matrix_packing *how, failure *fail);
void matrix_destroy(matrix *m); /* NULL is allowed */
size_t matrix_rows(const matrix *m);
size_t matrix_cols(const matrix *m);
size_t matrix_bytes(const matrix *m);       /* bytes one multiplication reads */
const void *matrix_memory(const matrix *m); /* where these bytes are */
/* One row as f32, cols values: bit for bit what the file's type decodes to. */
void matrix_read_row(const matrix *m, size_t row, float *out);

/* ---- activations ---------------------------------------------------------------------------- */

/* The right-hand side of a product: up to `max_columns` vectors of up to `max_length` values, each
 * kept in the forms the matrices want (f32; int8 in blocks of 32 with scales and sums). */
typedef struct activation activation;

error_code activation_create(activation **out, size_t max_length, size_t max_columns,
                             failure *fail);
void activation_destroy(activation *a);

/* Sets column `column` to the `length` values x, in the forms that products with `m` read.
 * Different columns may be set by different threads at once. */
void activation_set(activation *a, size_t column, const float *x, size_t length, const matrix *m);

/* Sets the part from value `first` on, n values long, of a column `length` long: as if
 * activation_set had been called with the whole. `first` is a multiple of 32, n too unless the part
 * is the last. */
void activation_set_part(activation *a, size_t column, size_t first, const float *x, size_t n,
                         size_t length, const matrix *m);

/* y[c * y_stride + r] = Σ_k W[r][k] · x_c[k]  for c < columns and row_begin ≤ r < row_end.
 * Bit for bit the same for a column whatever `columns` is and however rows are divided. */
void matrix_multiply(const matrix *m, const activation *a, size_t columns, size_t row_begin,
                     size_t row_end, float *y, size_t y_stride);

/* The same for the activation's columns from first_column on: column first_column + c gives y's c.
 */
void matrix_multiply_columns(const matrix *m, const activation *a, size_t first_column,
                             size_t columns, size_t row_begin, size_t row_end, float *y,
                             size_t y_stride);

/* Rows that make one piece of a product of so many columns: small enough to be shared out evenly,
 * large enough to be read as one stream; at most MATRIX_PIECE_ROWS. A multiple of 32, so that a
 * piece of the result is a whole part of an activation. */
#define MATRIX_PIECE_ROWS 128
size_t matrix_piece_rows(const matrix *m, size_t columns);

/* Splits the rows [first, first + rows) among n_threads in whole row groups: the share of `thread`.
 */
void matrix_share(size_t first, size_t rows, int thread, int n_threads, size_t *row_begin,
                  size_t *row_end);

/* ---- KV and attention ----------------------------------------------------------------------- */

/* KV_Q8_0: blocks of KV_BLOCK values, an f16 scale and then 8-bit integers.
 * KV_Q4: integers of four bits with an f16 scale and minimum. Values (of V) share these by
 * KV_Q4_BLOCK of one position; keys by channel, over a group of KV_GROUP positions counted from 0,
 * because what keys have in common from one position to the next lies in their channels (KIVI). A
 * group's keys are therefore open, in KV_OPEN_TYPE, until its last position is there and
 * kv_close_group makes it one. Which form of a key a row sees depends on the two positions alone:
 * the row's own group is open, all before it are closed. */
typedef enum kv_type { KV_F32, KV_F16, KV_Q8_0, KV_Q4 } kv_type;
enum { KV_TYPES = KV_Q4 + 1, KV_BLOCK = 32, KV_Q4_BLOCK = 64, KV_GROUP = 64 };
#define KV_OPEN_TYPE KV_F16

const char *kv_type_name(kv_type type); /* "q8_0" */
bool kv_type_find(const char *name, kv_type *out);
/* Whether keys are closed in groups of positions. */
bool kv_groups_keys(kv_type type);
/* Values of one position and head come in multiples of this. */
size_t kv_block_values(kv_type type);
/* Bytes of n values, and storing them; n is a multiple of kv_block_values. Where keys are grouped a
 * closed group's keys take as much as its values, and kv_store is for values alone. */
size_t kv_value_bytes(kv_type type, size_t n);
void kv_store(kv_type type, void *dst, const float *src, size_t n);
/* group: KV_GROUP positions of the type; open: the same of KV_OPEN_TYPE. */
void kv_close_group(kv_type type, void *group, const void *open, size_t head_dim);
/* What a row at `position` that sees its last `seen` positions reads of them, of one KV head. */
size_t kv_read_bytes(kv_type type, size_t head_dim, size_t position, size_t seen);

/* Attention of one KV head for `n_rows` consecutive positions of one sequence, over the whole group
 * of query heads that share it.
 *   q:   n_rows × group × head_dim (row stride q_stride floats), not yet scaled
 *   kv:  the head's keys and values
 *   row r stands at position first_position + r and attends to positions up to that
 *   out: n_rows × group × head_dim (row stride out_stride floats)
 * With a window a row sees no more than its last `window` positions, itself included: what lies
 * before them may have been given back, and costs nothing.
 * Softmax is reduced in fixed blocks of positions counted from 0, and in spans of ATTENTION_SPAN
 * positions that are then merged, so a row's result depends only on its own q and the KV it sees,
 * not on n_rows, nor on the query heads beside its own: a group may be attended to in parts.
 *   scratch: attention_scratch_floats(...) floats of the calling thread's own. */
#define ATTENTION_SPAN 1024

/* One head's, each contiguous positions × head_dim values, from position 0. */
typedef struct attention_kv {
    const void *keys, *values; /* of the shape's type */
    const void *open_keys;     /* of KV_OPEN_TYPE, where keys are grouped: those of the rows' own
                                  groups up to the rows; all closed groups before are in `keys` */
    const void *later;  /* memory that will be read next: asked for evenly while few rows look */
    size_t later_bytes; /* back far, which takes arithmetic more than memory; 0: none */
} attention_kv;

typedef struct attention_shape {
    kv_type type;
    size_t group;    /* query heads per KV head */
    size_t head_dim; /* multiple of 8 and of kv_block_values(type) */
    float scale;     /* of scores; 1/sqrt(head_dim) in most models */
    size_t window;   /* the row at p sees positions max(0, p − window + 1) … p; 0: from 0 on */
    float soft_cap;  /* c > 0: a score s becomes c · tanh(s / c) before the softmax; 0: it stays */
    const float *sinks; /* `group` scores, one a query head, of which each joins its softmax's
                           denominator and nothing else; NULL: none */
} attention_shape;

/* Enough for up to max_rows rows of the shape, or of parts of its group. */
size_t attention_scratch_floats(const attention_shape *shape, size_t max_rows);
void attention_head(const attention_shape *shape, const float *q, size_t q_stride,
                    const attention_kv *kv, size_t first_position, size_t n_rows, float *scratch,
                    float *out, size_t out_stride);

/* ---- small vector operations (f32) ---------------------------------------------------------- */

/* out = x / rms(x) · weight; out may be x. */
void vector_rms_norm(float *out, const float *x, const float *weight, size_t n, float epsilon);
/* out = (x − mean(x)) / sqrt(variance(x) + epsilon) · weight; out may be x. */
void vector_layer_norm(float *out, const float *x, const float *weight, size_t n, float epsilon);
void vector_add(float *x, const float *y, size_t n); /* x += y */
void vector_scale(float *x, float factor, size_t n); /* x = x · factor */
void vector_soft_cap(float *x, float cap, size_t n); /* x = cap · tanh(x / cap), cap > 0 */

/* The gates of feed-forward blocks: gate becomes f(gate) · up.
 *   silu    f(g) = g · sigmoid(g)
 *   gelu    f(g) = g / 2 · (1 + tanh(√(2/π) · (g + 0.044715 g³))), the approximation models train
 *           with
 *   swiglu_oai   gpt-oss: f(g) = g · sigmoid(1.702 g) of min(gate, 7), times up clamped to −7 … 7,
 *           plus 1 */
void vector_silu_multiply(float *gate, const float *up, size_t n);
void vector_gelu_multiply(float *gate, const float *up, size_t n);
void vector_swiglu_oai_multiply(float *gate, const float *up, size_t n);

/* RoPE: pair i of x, of `pairs`, is turned by the angle whose cosine and sine are given: a becomes
 * a · cos − b · sin, and b becomes b · cos + a · sin, every product rounded before the sum. A
 * pair's a and b lie side by side, or else all a come before all b. */
typedef enum rotate_layout { ROTATE_ADJACENT, ROTATE_HALVES } rotate_layout;
void vector_rotate(float *x, const float *cosines, const float *sines, size_t pairs,
                   rotate_layout layout);

bool vector_is_finite(const float *x, size_t n); /* no NaN, no infinity */
/* The index of the largest value; the lowest one of several; NaN is never the largest unless first.
 */
size_t vector_argmax(const float *x, size_t n);
/* x[i] becomes exp(x[i] - max), where max is at least every x[i]; returns their sum. */
double vector_exponentials(float *x, size_t n, float max);

/* ---- threads -------------------------------------------------------------------------------- */

/* One team of threads for the process's forward passes. More threads than team_default_size are
 * allowed, and logged. The thread that calls team_run is worker 0.
 * Workers spin for a bounded time, then yield, then sleep: an idle team uses no CPU. */
typedef struct team team;
typedef void team_work(void *context, int thread, int n_threads);

error_code team_create(team **out, int n_threads, failure *fail);
void team_destroy(team *t);
int team_size(const team *t);
/* Runs work on every thread and returns when all have finished. Not reentrant. */
void team_run(team *t, team_work *work, void *context);
/* Inside team_run only: waits for every thread of the team; what was written before is seen after.
 */
void team_barrier(team *t);

/* Shares pieces of work out while a team runs: each thread takes its own consecutive part in order,
 * several pieces at a time, then helps the others with what nobody has taken, so that a core which
 * is held up by something else on the machine does not hold up the team. */
typedef struct team_loop team_loop;

error_code team_loop_create(team_loop **out, int n_threads, failure *fail);
void team_loop_destroy(team_loop *l); /* NULL is allowed */
/* The next of n pieces for this thread; false when none is left. All threads give the same n. */
bool team_take(team_loop *l, int thread, size_t n, size_t *piece);
/* At a barrier's other side: whether pieces are left because threads stopped taking them. */
bool team_loop_unfinished(const team_loop *l, int thread, size_t n);
/* Ends the loop for this thread, which takes from another one then. Between the last team_take of
 * any thread and this stands a barrier. */
void team_loop_next(team_loop *l, int thread);

/* Physical cores this process may use: affinity mask, SMT siblings counted once, and no more than
 * the whole CPUs in its container's quota: a thread too many would be stopped in mid-step, and all
 * others wait for it. At least 1; read once, at the first call. */
int team_default_size(void);

#endif
