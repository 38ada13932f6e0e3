/* step.c: a step from its first row to what its results mean for every sequence in it. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/conductor.h"

#define SERVICE_RATE 0.1 /* of the mean time of a reply */

error_code step_create(step *st, engine *e, size_t max_rows, size_t max_outputs, failure *fail)
{
    st->engine = e;
    st->max_rows = max_rows;
    st->max_outputs = max_outputs;
    st->rows = calloc(max_rows, sizeof *st->rows);
    st->drafts = calloc(max_outputs, sizeof(draft *));
    st->readers = calloc(max_outputs, sizeof *st->readers);
    st->masked = calloc(max_outputs, sizeof *st->masked);
    if (st->rows == NULL || st->drafts == NULL || st->readers == NULL || st->masked == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an engine");
    return forward_create(&st->forward, e->model, team_size(e->conductor->threads), max_rows,
                          max_outputs, fail);
}

void step_destroy(step *st)
{
    forward_destroy(st->forward);
    free(st->rows);
    free(st->drafts);
    free(st->readers);
    free(st->masked);
}

/* ---- results -------------------------------------------------------------------------------- */

/* The KV of the next n tokens is valid from now on. */
static void keep_kv(sequence *s, size_t n)
{
    token_list *held = &s->slot->tokens; /* has room for the whole context */
    memcpy(held->ids + held->length, s->tokens.ids + held->length, n * sizeof *held->ids);
    held->length += n;
}

/* The logits of one of the sequence's rows; NULL: one is no number, and the sequence has failed.
 * Weights are finite (matrix_create refuses others), but what is computed with them may not be. */
static float *take_logits(sequence *s, size_t row)
{
    float *logits = forward_logits(s->step->forward, s->first_logits + row);
    if (vector_is_finite(logits, s->engine->model->config.n_vocab))
        return logits;
    sequence_fail_numbers(s);
    return NULL;
}

/* The same of a row that the reply's next token is sampled from: where only what a mask allows may
 * have been computed, only that is looked at, when the mask is applied. */
static float *take_sampled_logits(sequence *s, size_t row)
{
    return sequence_reads_all_logits(s) ? take_logits(s, row)
                                        : forward_logits(s->step->forward, s->first_logits + row);
}

static void finish_classification(sequence *s)
{
    size_t n_vocab = s->engine->model->config.n_vocab;
    float *logits = take_logits(s, 0);
    if (logits == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_labels; i++)
        s->result.label_logits[i] = logits[s->labels[i]];
    s->result.log_sum_exp = score_log_sum_exp(logits, n_vocab);
    pthread_mutex_unlock(&s->lock);
    sequence_finish(s, FINISH_STOP);
}

static void finish_embedding(sequence *s)
{
    size_t n = s->n_layers * s->engine->model->config.n_embd;
    double count = s->pooling == POOL_MEAN ? (double)s->n_prompt : 1;
    for (size_t i = 0; i < n; i++)
        s->states[i] = (float)(s->sums[i] / count);
    if (vector_is_finite(s->states, n))
        sequence_finish(s, FINISH_STOP);
    else
        sequence_fail(s, ERR_INTERNAL,
                      "the model computed a state that is not a number (NaN or infinite): its "
                      "weights or its file's settings are broken");
}

/* Samples the rows in order up to the first that differs from the draft; what was drafted and not
 * sent still tells, by one token. True: the reply has ended. */
static bool take_tokens(sequence *s)
{
    draft *d = &s->draft;
    bool ended = false, as_drafted = true;
    size_t taken = 0, followed = 0;
    s->progress.drafted += d->n_sent;
    while (!ended && as_drafted && taken <= d->n_sent) {
        float *logits = take_sampled_logits(s, taken);
        if (logits == NULL)
            return true;
        int32_t token = sequence_sample(s, taken, logits);
        if (token < 0)
            return true;
        as_drafted = draft_foresaw(d, taken, token);
        followed += as_drafted ? 1 : 0;
        s->progress.accepted += as_drafted && taken < d->n_sent ? 1 : 0;
        taken++;
        ended = sequence_accept(s, token);
    }
    draft_learn(d, taken < d->n_found ? taken : d->n_found, followed);
    keep_kv(s, taken);
    return ended;
}

/* The scores of the rows that were computed; false: one could not be had, and the sequence has
 * failed. *taken: their logits. */
static bool take_scores(sequence *s, size_t *taken)
{
    size_t have = s->slot->tokens.length;
    *taken = 0;
    for (size_t i = 0; i < s->n_rows; i++) {
        if (!sequence_scores_at(s, have + i))
            continue;
        float *logits = take_logits(s, (*taken)++);
        if (logits == NULL || !sequence_score(s, logits))
            return false;
    }
    return true;
}

/* A prompt's rows were computed. True when the sequence is over. */
static bool take_prompt(sequence *s)
{
    size_t n_scores;
    if (!take_scores(s, &n_scores))
        return true;
    keep_kv(s, s->n_rows);
    if (s->summed < s->slot->tokens.length)
        s->summed = s->slot->tokens.length;
    if (s->slot->tokens.length < s->tokens.length)
        return false; /* more of the prompt is to come */
    if (s->kind == SEQUENCE_REPLY) {
        float *logits = take_sampled_logits(s, n_scores);
        int32_t token = logits != NULL ? sequence_sample(s, 0, logits) : -1;
        return token < 0 || sequence_accept(s, token);
    }
    s->progress.prefill_ms = clock_ms() - s->started_ms;
    if (s->kind == SEQUENCE_CLASSIFICATION)
        finish_classification(s);
    else if (s->kind == SEQUENCE_EMBEDDING)
        finish_embedding(s);
    else
        sequence_finish(s, FINISH_LENGTH);
    return true;
}

static size_t read_weights(const step *st)
{
    return st->engine->model->weight_bytes - forward_skipped_bytes(st->forward);
}

/* True when the sequence is over. */
static bool take_results(sequence *s, const step *st)
{
    bool decoding = sequence_is_decoding(s);
    size_t last = s->slot->tokens.length + s->n_rows - 1;
    uint64_t kv_bytes = forward_kv_bytes(s->engine->model, s->slot->view.type, last);
    s->progress.weight_bytes += read_weights(st) / st->n_sequences;
    s->progress.kv_bytes += kv_bytes;
    if (decoding) {
        s->progress.steps++;
        return take_tokens(s);
    }
    return take_prompt(s);
}

static void learn_service(engine *e, const sequence *s)
{
    double ms = clock_ms() - s->started_ms;
    if (s->kind != SEQUENCE_REPLY)
        return;
    e->service_ms = e->service_ms == 0 ? ms : e->service_ms + SERVICE_RATE * (ms - e->service_ms);
}

/* What a sequence had before the step's results, to count what the step gave. */
static void count_gain(engine *e, const sequence *s, const sequence_stats *before)
{
    e->reply_tokens += s->progress.reply_tokens - before->reply_tokens;
    e->read_bytes += s->progress.kv_bytes - before->kv_bytes;
}

static void hand_out(step *st)
{
    engine *e = st->engine;
    e->read_bytes += read_weights(st);
    sequence_queue old = e->running;
    e->running = (sequence_queue){0};
    for (sequence *s; (s = queue_pop(&old)) != NULL;) {
        bool in_step = s->step == st;
        const sequence_stats before = s->progress;
        bool over = in_step && take_results(s, st);
        count_gain(e, s, &before);
        if (in_step)
            s->step = NULL;
        if (over) {
            learn_service(e, s);
            engine_leave(e, s);
            continue;
        }
        if (in_step && (s->tokens.length > s->n_prompt || s->scored > 0))
            sequence_publish(s);
        queue_push(&e->running, s);
    }
}

/* ---- the step ------------------------------------------------------------------------------- */

/* What may follow is worked out while the pass runs. */
static void begin_masks(sequence *s)
{
    bool decoding = sequence_is_decoding(s);
    bool samples = decoding || s->slot->tokens.length + s->n_rows == s->tokens.length;
    if (s->masks != NULL && samples)
        mask_lane_begin(s->masks, s->draft.tokens, decoding ? s->draft.n_sent : 0);
}

/* A logit_choice. */
static const uint32_t *choose_logits(void *context, size_t index)
{
    const masked_row *r = &((const step *)context)->masked[index];
    return r->lane != NULL ? mask_lane_find(r->lane, r->row) : NULL;
}

void step_begin(step *st)
{
    engine *e = st->engine;
    for (sequence *s = e->running.first; s != NULL; s = s->next) {
        if (s->step != st)
            continue;
        kv_commit(e->kv, s->slot, s->slot->tokens.length + s->n_rows);
        begin_masks(s);
    }
    forward_begin(st->forward, st->rows, st->n_rows);
    forward_read_states(st->forward, st->readers, st->n_readers);
    forward_choose_logits(st->forward, choose_logits, st);
}

/* Steps that left out rows of the output matrix say nothing of others. */
static void learn_cost(const step *st, double ran_ms)
{
    engine *e = st->engine;
    if (forward_skipped_bytes(st->forward) > 0)
        return;
    if (st->work.prompt_rows == 0)
        step_cost_learn(&e->cost, st->n_rows, ran_ms);
    /* Of a prompt's rows pace knows those without logits. */
    if (!st->is_scored)
        pace_learn(&e->pace, &st->work, ran_ms);
}

void step_end(step *st, double ran_ms)
{
    if (st == &st->engine->main)
        learn_cost(st, ran_ms);
    hand_out(st);
    st->n_rows = 0;
}
