/* subject.c: single runs of the tests, as the engine would compute them: same chunks, same KV, same
 * sampler. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "engine/kv.h"
#include "engine/sample.h"
#include "model/forward.h"

enum {
    STEPS_PER_RUN = 4, /* at most: a run of a step test is their mean */
    WARM_DECODE_TOKENS = 2,
    PROBE_LABELS = 3,
};

struct subject {
    const model *m;
    team *threads;
    forward *forward;
    kv_cache *kv;
    kv_slot *slot;
    sampler *sampler;
    forward_row *rows;
    size_t chunk;    /* prompt rows a step takes, as in the engine */
    int32_t *prompt; /* `positions` ids */
    size_t positions;
    size_t held;     /* KV positions that hold the prompt's tokens */
    int32_t *answer; /* tokens of the last run; `positions` of them */
    size_t n_answer;
    /* The prompt's token at continuation_depth and the model's greedy tokens after it: what the
     * rows of a step at that depth are. */
    int32_t continuation[STEP_MAX_ROWS];
    size_t n_continuation;
    size_t continuation_depth;
    double multiply_rate, step_run_ms;
    void (*filling)(void *context, size_t done, size_t all);
    void *filling_context;
};

const char *speed_kind_name(speed_kind kind)
{
    static const char *const names[SPEED_KINDS] = {"prefill", "decode", "step", "probe"};
    return names[kind];
}

/* Rows of the continuation that a step test needs, its answer's included. */
static size_t continuation_rows(const speed_test *test)
{
    return test->n > STEP_TOKENS ? test->n : STEP_TOKENS;
}

size_t speed_test_positions(const speed_test *test)
{
    return test->depth + (test->kind == SPEED_STEP ? continuation_rows(test) : test->n);
}

/* ---- making one ----------------------------------------------------------------------------- */

static error_code fill_prompt(subject *s, const subject_options *o, failure *fail)
{
    size_t n_vocab = s->m->config.n_vocab;
    for (size_t i = 0; i < o->n_prompt; i++)
        if (o->prompt[i] < 0 || (size_t)o->prompt[i] >= n_vocab)
            return failure_set(fail, ERR_INVALID, "prompt token %d is not in the vocabulary of %zu",
                               (int)o->prompt[i], n_vocab);
    for (size_t i = 0; i < s->positions; i++)
        s->prompt[i] = o->n_prompt > 0 ? o->prompt[i % o->n_prompt]
                                       : (int32_t)(random_uniform(1, 0, i) * (double)n_vocab);
    return OK;
}

static error_code create_parts(subject *s, const subject_options *o, failure *fail)
{
    size_t max_rows = s->chunk > STEP_MAX_ROWS ? s->chunk : STEP_MAX_ROWS;
    s->rows = calloc(max_rows, sizeof *s->rows);
    s->prompt = calloc(s->positions, sizeof *s->prompt);
    s->answer = calloc(s->positions, sizeof *s->answer);
    if (s->rows == NULL || s->prompt == NULL || s->answer == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu tokens", s->positions);
    sampling_params greedy = sampling_defaults();
    greedy.temperature = 0;
    error_code code = fill_prompt(s, o, fail);
    if (code == OK)
        code = sampler_create(&s->sampler, &greedy, s->m->config.n_vocab, fail);
    if (code == OK)
        code =
            forward_create(&s->forward, s->m, team_size(s->threads), max_rows, STEP_MAX_ROWS, fail);
    if (code == OK)
        code = kv_create(&s->kv, &s->m->config, o->kv, s->positions, s->positions, 1, fail);
    if (code == OK)
        s->slot = kv_acquire(s->kv, s->prompt, 1);
    return code;
}

error_code subject_create(subject **out, const model *m, const subject_options *options,
                          failure *fail)
{
    *out = NULL;
    subject *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to measure a model");
    s->m = m;
    s->threads = options->threads;
    s->chunk = engine_defaults().prefill_chunk;
    s->positions = options->positions;
    s->multiply_rate = options->multiply_rate;
    s->step_run_ms = options->step_run_ms;
    s->filling = options->filling;
    s->filling_context = options->filling_context;
    error_code code = create_parts(s, options, fail);
    if (code != OK) {
        subject_destroy(s);
        return code;
    }
    *out = s;
    return OK;
}

void subject_destroy(subject *s)
{
    if (s == NULL)
        return;
    kv_destroy(s->kv);
    forward_destroy(s->forward);
    sampler_destroy(s->sampler);
    free(s->answer);
    free(s->prompt);
    free(s->rows);
    free(s);
}

/* ---- steps ---------------------------------------------------------------------------------- */

/* One step of n rows of the sequence; the last `outputs` rows want logits. */
static void step(subject *s, const int32_t *tokens, size_t position, size_t n, size_t outputs)
{
    for (size_t i = 0; i < n; i++)
        s->rows[i] = (forward_row){tokens[i], (uint32_t)(position + i), &s->slot->view,
                                   i + outputs >= n ? WANT_LOGITS : WANT_NOTHING};
    forward_step(s->forward, s->threads, s->rows, n);
}

static int32_t sampled(subject *s, size_t output, size_t position)
{
    return sampler_sample(s->sampler, forward_logits(s->forward, output), position);
}

/* Prompt tokens [from, to); the last step wants logits for its last row when last_logits. */
static void prefill(subject *s, size_t from, size_t to, bool last_logits)
{
    while (from < to) {
        size_t n = to - from < s->chunk ? to - from : s->chunk;
        step(s, s->prompt + from, from, n, last_logits && from + n == to ? 1 : 0);
        from += n;
    }
}

/* Afterwards the KV holds the prompt up to `depth`; what follows it is about to be overwritten. */
static void hold_prompt(subject *s, size_t depth)
{
    for (size_t done = s->held; done < depth;) {
        size_t end = depth - done < s->chunk ? depth : done + s->chunk;
        if (s->filling != NULL)
            s->filling(s->filling_context, done, depth);
        prefill(s, done, end, false);
        done = end;
    }
    s->held = depth;
}

/* Greedy tokens after the prompt's token at `depth`. */
static void decode(subject *s, size_t depth, size_t n)
{
    int32_t token = s->prompt[depth];
    for (size_t i = 0; i < n; i++) {
        step(s, &token, depth + i, 1, 1);
        token = sampled(s, 0, depth + i + 1);
        s->answer[i] = token;
    }
    s->n_answer = n;
}

static void find_continuation(subject *s, size_t depth, size_t n)
{
    if (s->n_continuation < n || s->continuation_depth != depth) {
        hold_prompt(s, depth);
        s->continuation[0] = s->prompt[depth];
        for (size_t i = 0; i + 1 < n; i++) {
            step(s, &s->continuation[i], depth + i, 1, 1);
            s->continuation[i + 1] = sampled(s, 0, depth + i + 1);
        }
        s->n_continuation = n;
        s->continuation_depth = depth;
    }
    hold_prompt(s, depth);
}

/* One verification step: rows `first` … of the continuation at its depth. */
static void verify(subject *s, size_t first, size_t n, int32_t *out)
{
    size_t position = s->continuation_depth + first;
    step(s, s->continuation + first, position, n, n);
    for (size_t i = 0; i < n; i++)
        out[i] = sampled(s, i, position + i + 1);
}

/* Softmax over the labels and its entropy, as the orchestra makes them of the last row. */
static void decide(subject *s, size_t position)
{
    const float *logits = forward_logits(s->forward, 0);
    double weights[PROBE_LABELS], total = 0, entropy = 0;
    for (size_t i = 0; i < PROBE_LABELS; i++)
        total += weights[i] = exp((double)logits[i] - (double)logits[0]);
    for (size_t i = 0; i < PROBE_LABELS; i++)
        entropy -= weights[i] / total * log(weights[i] / total);
    s->answer[0] = isnan(entropy) ? 0 : sampled(s, 0, position);
    s->n_answer = 1;
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void run_prompt(subject *s, const speed_test *test, size_t n)
{
    prefill(s, 0, n, true);
    s->held = n;
    if (test->kind == SPEED_PROBE) {
        decide(s, n);
    } else {
        s->answer[0] = sampled(s, 0, n);
        s->n_answer = 1;
    }
}

static size_t shorter(size_t a, size_t b)
{
    return a < b ? a : b;
}

void subject_warm(subject *s, const speed_test *test)
{
    int32_t ignored[STEP_MAX_ROWS];
    switch (test->kind) {
    case SPEED_DECODE:
        hold_prompt(s, test->depth);
        decode(s, test->depth, shorter(WARM_DECODE_TOKENS, test->n));
        break;
    case SPEED_STEP:
        find_continuation(s, test->depth, continuation_rows(test));
        verify(s, 0, test->n, ignored);
        break;
    default:
        run_prompt(s, test, shorter(s->chunk, test->n));
    }
}

/* The mean ms of a step. */
static double run_steps(subject *s, size_t n)
{
    double start = clock_ms(), ms = 0;
    size_t done = 0;
    while (done < STEPS_PER_RUN && (s->step_run_ms <= 0 || ms < s->step_run_ms)) {
        verify(s, 0, n, s->answer);
        ms = clock_ms() - start;
        done++;
    }
    s->n_answer = n;
    return ms / (double)done;
}

double subject_run(subject *s, const speed_test *test)
{
    double start;
    switch (test->kind) {
    case SPEED_DECODE:
        hold_prompt(s, test->depth);
        start = clock_ms();
        decode(s, test->depth, test->n);
        return (clock_ms() - start) / (double)test->n;
    case SPEED_STEP:
        find_continuation(s, test->depth, continuation_rows(test));
        return run_steps(s, test->n);
    default:
        start = clock_ms();
        run_prompt(s, test, test->n);
        return clock_ms() - start;
    }
}

void subject_trace(subject *s, const speed_test *test, forward_trace *trace)
{
    subject_warm(s, test);
    forward_set_trace(s->forward, trace);
    subject_run(s, test);
    forward_set_trace(s->forward, NULL);
}

static error_code step_answer(subject *s, const speed_test *test, token_list *out)
{
    int32_t ids[STEP_MAX_ROWS];
    find_continuation(s, test->depth, continuation_rows(test));
    for (size_t at = 0; at < STEP_TOKENS; at += test->n)
        verify(s, at, shorter(test->n, continuation_rows(test) - at), ids + at);
    return token_list_append(out, ids, STEP_TOKENS);
}

error_code subject_answer(subject *s, const speed_test *test, token_list *out)
{
    out->length = 0;
    return test->kind == SPEED_STEP ? step_answer(s, test, out)
                                    : token_list_append(out, s->answer, s->n_answer);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static size_t kv_read(const subject *s, size_t position)
{
    return forward_kv_bytes(s->m, s->slot->view.type, position);
}

static double prompt_bytes(const subject *s, size_t n)
{
    double bytes = (double)matrix_bytes(s->m->output); /* the head is read for the last row only */
    size_t body = s->m->weight_bytes - matrix_bytes(s->m->output);
    for (size_t at = 0; at < n; at += s->chunk)
        bytes += (double)body + (double)kv_read(s, shorter(at + s->chunk, n) - 1);
    return bytes;
}

double subject_bytes(const subject *s, const speed_test *test)
{
    double weights = (double)s->m->weight_bytes, kv = 0;
    switch (test->kind) {
    case SPEED_DECODE:
        for (size_t i = 0; i < test->n; i++)
            kv += (double)kv_read(s, test->depth + i);
        return weights + kv / (double)test->n;
    case SPEED_STEP: /* its rows share one reading of the KV */
        return weights + (double)kv_read(s, test->depth + test->n - 1);
    default:
        return prompt_bytes(s, test->n);
    }
}

size_t subject_kv_bytes(const subject *s, const speed_test *test)
{
    return kv_read(s, test->depth + test->n - 1);
}

kv_type subject_kv_type(const subject *s)
{
    return s->slot->view.type;
}

/* ---- multiply-adds -------------------------------------------------------------------------- */

double subject_multiply_rate(const subject *s)
{
    return s->multiply_rate;
}

static double matrix_values(const matrix *m)
{
    return m == NULL ? 0 : (double)matrix_rows(m) * (double)matrix_cols(m);
}

double subject_multiply_adds(const subject *s)
{
    const model_config *c = &s->m->config;
    double used = (double)c->n_experts_used;
    double sum = matrix_values(s->m->output);
    for (size_t i = 0; i < c->n_layers; i++) {
        const layer_weights *l = &s->m->layers[i];
        sum += matrix_values(l->qkv) + matrix_values(l->attn_output) + matrix_values(l->router);
        sum += matrix_values(l->gate_up) + matrix_values(l->down);
        if (used > 0)
            sum += used * (matrix_values(l->expert_gate_up[0]) + matrix_values(l->expert_down[0]));
    }
    return sum;
}
