/* batch.c: one step of one engine: which rows, and what their results mean. */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "engine/conductor.h"

#define KV_WORK_MS 10.0 /* of a step, for copying KV and giving it back */

/* ---- composing --------------------------------------------------------------------------------
 */

typedef struct step {
    engine *e;
    size_t n_rows;
    size_t n_logits;
    size_t n_sequences;
    size_t prefill_rows;
} step;

static bool is_decoding(const sequence *s)
{
    return s->slot->tokens.length + 1 == s->tokens.length && s->tokens.length > s->n_prompt;
}

static void add_row(step *st, const sequence *s, int32_t token, size_t position, bool wants_logits)
{
    st->e->rows[st->n_rows++] = (forward_row){token, (uint32_t)position, &s->slot->view,
                                              wants_logits ? WANT_LOGITS : WANT_NOTHING};
    st->n_logits += wants_logits ? 1 : 0;
}

static void begin_sequence(step *st, sequence *s)
{
    s->first_row = st->n_rows;
    s->first_logits = st->n_logits;
    st->n_sequences++;
    if (s->started_ms == 0) {
        s->started_ms = clock_ms();
        s->progress.queue_ms = s->started_ms - s->submitted_ms;
        s->progress.cached_tokens = s->slot->tokens.length;
    }
}

/* Ends the draft before the first token that would end the reply: nothing follows it. */
static size_t cut_draft(const sequence *s, size_t n)
{
    const tokenizer *t = engine_model(s->engine)->tokenizer;
    for (size_t i = 0; i < n; i++) {
        if (tokenizer_is_control(t, s->draft[i]) || tokenizer_is_end(t, s->draft[i]))
            return i;
    }
    return n;
}

/* Finds a draft and decides how much of it this step carries. */
static void plan_draft(step *st, sequence *s)
{
    s->n_draft = s->n_sent = 0;
    if (s->lookup == NULL)
        return;
    size_t left = s->max_tokens - (s->tokens.length - s->n_prompt) - 1;
    size_t most = s->setting.mode == LOOKUP_FIXED ? s->setting.length : LOOKUP_MAX_DRAFT;
    size_t kept = st->n_logits + st->e->running.length; /* every sequence may need one output */
    size_t free_rows = st->e->max_outputs > kept ? st->e->max_outputs - kept : 0;
    most = most < left ? most : left;
    most = most < free_rows ? most : free_rows;
    lookup_update(s->lookup, s->tokens.ids, s->tokens.length);
    s->n_draft =
        lookup_draft(s->lookup, s->tokens.ids, s->tokens.length, most, s->draft, &s->match);
    s->n_draft = cut_draft(s, s->n_draft);
    s->n_sent = s->n_draft;
    if (s->setting.mode == LOOKUP_AUTO && s->n_draft > 0)
        s->n_sent =
            speculate_length(&st->e->cost, &s->acceptance, s->match, st->n_rows + 1, s->n_draft);
}

static void add_decoding(step *st, sequence *s)
{
    size_t position = s->tokens.length - 1;
    plan_draft(st, s);
    begin_sequence(st, s);
    add_row(st, s, s->tokens.ids[position], position, true);
    for (size_t i = 0; i < s->n_sent; i++)
        add_row(st, s, s->draft[i], position + 1 + i, true);
    s->n_rows = 1 + s->n_sent;
}

static void add_prefill(step *st, sequence *s)
{
    size_t have = s->slot->tokens.length;
    size_t room = st->e->options.prefill_chunk - st->prefill_rows;
    size_t n = s->tokens.length - have;
    n = n < room ? n : room;
    begin_sequence(st, s);
    for (size_t i = 0; i < n; i++)
        add_row(st, s, s->tokens.ids[have + i], have + i, have + i + 1 == s->tokens.length);
    s->n_rows = n;
    st->prefill_rows += n;
}

static void compose(step *st)
{
    engine *e = st->e;
    for (sequence *s = e->running.first; s != NULL; s = s->next) {
        s->n_rows = 0;
        if (is_decoding(s))
            add_decoding(st, s);
    }
    /* Classifications first: a request waits for its plan before anything else can happen to it. */
    for (int urgent = 1; urgent >= 0; urgent--) {
        for (sequence *s = e->running.first; s != NULL; s = s->next) {
            if (!is_decoding(s) && !kv_is_copying(s->slot) && (s->n_labels > 0) == (urgent == 1) &&
                st->prefill_rows < e->options.prefill_chunk)
                add_prefill(st, s);
        }
    }
}

static void admit(engine *e)
{
    while (e->waiting.first != NULL) {
        sequence *s = e->waiting.first;
        kv_slot *slot = kv_acquire(e->kv, s->tokens.ids, s->tokens.length);
        if (slot == NULL)
            return;
        queue_pop(&e->waiting);
        s->slot = slot;
        s->acceptance = acceptance_from_prior(&e->priors[s->setting.prior % LOOKUP_CLASSES]);
        queue_push(&e->running, s);
    }
}

/* ---- results ----------------------------------------------------------------------------------
 */

/* The KV of the next n tokens is valid from now on. */
static void keep_kv(sequence *s, size_t n)
{
    token_list *held = &s->slot->tokens; /* has room for the whole context */
    memcpy(held->ids + held->length, s->tokens.ids + held->length, n * sizeof *held->ids);
    held->length += n;
}

static void finish_classification(sequence *s)
{
    float *logits = forward_logits(s->engine->forward, s->first_logits);
    size_t n_vocab = s->engine->model->config.n_vocab;
    s->progress.prefill_ms = clock_ms() - s->started_ms;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_labels; i++)
        s->result.label_logits[i] = logits[s->labels[i]];
    float best = logits[vector_argmax(logits, n_vocab)];
    s->result.log_sum_exp = best + (float)log(vector_exponentials(logits, n_vocab, best));
    pthread_mutex_unlock(&s->lock);
    sequence_finish(s, FINISH_STOP);
}

/* A draft that was not sent still tells: its first token is compared with what was sampled. */
static void learn_acceptance(sequence *s, size_t followed)
{
    if (s->n_draft == 0)
        return;
    size_t judged = s->n_sent > 0 ? s->n_sent : 1;
    acceptance_learn(&s->acceptance, s->match, judged, followed);
    acceptance_learn(&s->engine->priors[s->setting.prior % LOOKUP_CLASSES], s->match, judged,
                     followed);
}

/* Samples the rows in order up to the first that differs from the draft. True: the reply has ended.
 */
static bool take_tokens(sequence *s)
{
    bool ended = false, as_drafted = true;
    size_t taken = 0, followed = 0;
    s->progress.drafted += s->n_sent;
    while (!ended && as_drafted && taken <= s->n_sent) {
        float *logits = forward_logits(s->engine->forward, s->first_logits + taken);
        int32_t token = sampler_sample(s->sampler, logits, s->tokens.length);
        as_drafted = taken < s->n_draft && s->draft[taken] == token;
        if (as_drafted && taken < s->n_sent)
            s->progress.accepted++;
        if (as_drafted && (taken < s->n_sent || s->n_sent == 0))
            followed++;
        taken++;
        ended = sequence_accept(s, token);
    }
    learn_acceptance(s, followed);
    keep_kv(s, taken);
    return ended;
}

/* True when the sequence is over. */
static bool take_results(sequence *s, const step *st)
{
    bool decoding = is_decoding(s);
    size_t last = s->slot->tokens.length + s->n_rows - 1;
    uint64_t kv_bytes = forward_kv_bytes(s->engine->model, s->slot->view.type, last);
    s->progress.weight_bytes += s->engine->model->weight_bytes / st->n_sequences;
    s->progress.kv_bytes += kv_bytes;
    if (decoding) {
        s->progress.steps++;
        return take_tokens(s);
    }
    keep_kv(s, s->n_rows);
    if (s->slot->tokens.length < s->tokens.length)
        return false; /* more of the prompt is to come */
    if (s->n_labels > 0) {
        finish_classification(s);
        return true;
    }
    s->n_draft = s->n_sent = 0;
    float *logits = forward_logits(s->engine->forward, s->first_logits);
    return sequence_accept(s, sampler_sample(s->sampler, logits, s->tokens.length));
}

static void leave(engine *e, sequence *s)
{
    if (s->slot != NULL)
        kv_release(e->kv, s->slot);
    sequence_unreference(s);
}

static void hand_out(step *st)
{
    engine *e = st->e;
    sequence_queue old = e->running;
    e->running = (sequence_queue){0};
    for (sequence *s; (s = queue_pop(&old)) != NULL;) {
        bool over = s->n_rows > 0 && take_results(s, st);
        if (over) {
            leave(e, s);
            continue;
        }
        if (s->n_rows > 0 && s->tokens.length > s->n_prompt)
            sequence_publish(s);
        queue_push(&e->running, s);
    }
}

/* ---- the step ---------------------------------------------------------------------------------
 */

bool engine_run_step(engine *e, team *threads, double chosen_ms, bool switched)
{
    step st = {.e = e};
    admit(e);
    bool more = kv_work(e->kv, KV_WORK_MS);
    compose(&st);
    if (st.n_rows == 0)
        return more;
    double start_ms = clock_ms();
    for (sequence *s = e->running.first; s != NULL; s = s->next)
        kv_commit(e->kv, s->slot, s->slot->tokens.length + s->n_rows);
    for (sequence *s = e->running.first; switched && s != NULL; s = s->next) {
        if (s->n_rows > 0 && s->progress.prefill_ms == 0 && s->progress.switch_ms == 0)
            s->progress.switch_ms = start_ms - chosen_ms;
    }
    forward_step(e->forward, threads, e->rows, st.n_rows);
    if (st.prefill_rows == 0)
        step_cost_learn(&e->cost, st.n_rows, clock_ms() - start_ms);
    hand_out(&st);
    return true;
}

static void drop_cancelled_from(engine *e, sequence_queue *q)
{
    sequence_queue old = *q;
    *q = (sequence_queue){0};
    for (sequence *s; (s = queue_pop(&old)) != NULL;) {
        if (atomic_load(&s->cancelled)) {
            sequence_fail(s, ERR_CANCELLED, "the request was cancelled");
            leave(e, s);
        } else {
            queue_push(q, s);
        }
    }
}

void engine_drop_cancelled(engine *e)
{
    drop_cancelled_from(e, &e->waiting);
    drop_cancelled_from(e, &e->running);
}

void engine_measure_step_cost(engine *e, team *threads, double budget_ms)
{
    static const size_t sizes[] = {1, 1, 2,
                                   4, 8, LOOKUP_MAX_DRAFT + 1}; /* the first one warms up */
    const int repeats = 3;
    double start = clock_ms();
    int32_t token = 0;
    kv_slot *slot = kv_acquire(e->kv, &token, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = sizes[i];
        if (n > e->max_outputs || n > slot->tokens.capacity)
            break;
        kv_commit(e->kv, slot, n);
        for (size_t r = 0; r < n; r++)
            e->rows[r] = (forward_row){token, (uint32_t)r, &slot->view, WANT_LOGITS};
        for (int k = 0; k < repeats; k++) {
            double before = clock_ms();
            if (before - start > budget_ms)
                break;
            forward_step(e->forward, threads, e->rows, n);
            if (i > 0)
                step_cost_learn(&e->cost, n, clock_ms() - before);
        }
    }
    kv_release(e->kv, slot);
}
