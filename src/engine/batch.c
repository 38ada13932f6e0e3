/* batch.c: which rows a step has. */
#include <math.h>

#include "base/clock.h"
#include "engine/conductor.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* masked: which of the step's masks the row's logits are sampled by. */
static void add_row(step *st, const sequence *s, int32_t token, size_t position, bool wants_logits,
                    masked_row masked)
{
    if (wants_logits)
        st->masked[st->n_logits] = masked;
    st->rows[st->n_rows++] = (forward_row){token, (uint32_t)position, &s->slot->view,
                                           wants_logits ? WANT_LOGITS : WANT_NOTHING};
    st->n_logits += wants_logits ? 1 : 0;
}

static void begin_sequence(step *st, sequence *s)
{
    s->step = st;
    s->first_logits = st->n_logits;
    st->n_sequences++;
    if (s->started_ms == 0) {
        s->started_ms = clock_ms();
        s->progress.queue_ms = s->started_ms - s->submitted_ms;
        s->progress.cached_tokens = s->slot->tokens.length;
    }
    if (s->given_up > s->slot->tokens.length)
        s->progress.refilled_tokens += s->given_up - s->slot->tokens.length;
    s->given_up = 0;
}

static void begin_step(step *st)
{
    st->n_rows = st->n_logits = st->n_sequences = st->n_readers = 0;
    st->is_scored = false;
    st->work = (step_work){0};
}

/* The logits of the row-th token that the step samples for the sequence. */
static masked_row sampled_row(const sequence *s, size_t row)
{
    return (masked_row){sequence_reads_all_logits(s) ? NULL : s->masks, row};
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* What the grammar makes certain is drafted in place of what was guessed, which is cut before the
 * first token that may not follow. */
static void follow_grammar(sequence *s, size_t left)
{
    draft *d = &s->draft;
    int32_t forced[LOOKUP_MAX_DRAFT];
    size_t n = mask_lane_forced(s->masks, forced, smaller(left, LOOKUP_MAX_DRAFT));
    if (n > 0)
        draft_force(d, forced, n);
    else
        draft_cut(d, mask_lane_count_valid(s->masks, d->tokens, d->n_found));
}

/* Ends the draft before the first token that would end the reply: nothing follows it. */
static void cut_draft(const sequence *s, draft *d)
{
    const tokenizer *t = s->engine->model->tokenizer;
    for (size_t i = 0; i < d->n_found; i++)
        if (tokenizer_is_end(t, d->tokens[i]) ||
            (i >= d->n_certain && tokenizer_is_control(t, d->tokens[i])))
            draft_cut(d, i);
}

/* Every sequence may need one output; one with scores to come gets on with a few. */
static size_t count_kept_outputs(const engine *e)
{
    size_t n = e->running.length;
    for (const sequence *s = e->running.first; s != NULL; s = s->next) {
        if (s->scored < s->n_scored)
            return n + PREFILL_LEAST - 1;
    }
    return n;
}

static void plan_drafts(step *st)
{
    const engine *e = st->engine;
    size_t n = 0;
    for (sequence *s = e->running.first; s != NULL; s = s->next) {
        if (!sequence_is_decoding(s))
            continue;
        size_t left = s->max_tokens - (s->tokens.length - s->n_prompt) - 1;
        if (s->draft.setting.mode != LOOKUP_DRAFT)
            draft_find(&s->draft, s->tokens.ids, s->tokens.length, left);
        if (s->masks != NULL)
            follow_grammar(s, left);
        cut_draft(s, &s->draft);
        st->drafts[n++] = &s->draft;
    }
    size_t kept = count_kept_outputs(e);
    drafts_choose(st->drafts, n, &e->cost, n, st->max_outputs > kept ? st->max_outputs - kept : 0);
}

static void add_decoding(step *st, sequence *s)
{
    size_t position = s->tokens.length - 1;
    begin_sequence(st, s);
    add_row(st, s, s->tokens.ids[position], position, true, sampled_row(s, 0));
    for (size_t i = 0; i < s->draft.n_sent; i++)
        add_row(st, s, s->draft.tokens[i], position + 1 + i, true, sampled_row(s, i + 1));
    s->n_rows = 1 + s->draft.n_sent;
    st->work.rows += s->n_rows;
    st->work.kv_bytes +=
        (double)forward_kv_bytes(s->engine->model, s->slot->view.type, position + s->draft.n_sent);
}

/* ---- prefill -------------------------------------------------------------------------------- */

static bool has_prefill(const sequence *s)
{
    return s->step == NULL && !sequence_is_decoding(s) && !kv_is_copying(s->slot);
}

/* The states of the rows that come, from position `have` on, as far as the sequence wants them. */
static void add_reader(step *st, sequence *s, size_t have, size_t n)
{
    size_t from = sequence_first_wanted(s);
    if (from < have + n)
        st->readers[st->n_readers++] = (state_reader){.first_row = st->n_rows + from - have,
                                                      .n_rows = have + n - from,
                                                      .layers = s->layers,
                                                      .n_layers = s->n_layers,
                                                      .sums = s->sums};
}

static void add_prefill(step *st, sequence *s, size_t n)
{
    size_t have = s->slot->tokens.length;
    begin_sequence(st, s);
    if (s->kind == SEQUENCE_EMBEDDING)
        add_reader(st, s, have, n);
    for (size_t i = 0; i < n; i++) {
        bool is_last = have + i + 1 == s->tokens.length && !sequence_scores_at(s, have + i);
        add_row(st, s, s->tokens.ids[have + i], have + i, sequence_wants_logits(s, have + i),
                is_last ? sampled_row(s, 0) : (masked_row){0});
        st->is_scored = st->is_scored || sequence_scores_at(s, have + i);
    }
    s->n_rows = n;
    st->work = step_work_add_prompt(st->work, have, n);
}

/* Rows are given out in this order. */
typedef enum urgency { URGENT, INTERACTIVE, BATCH } urgency;

static urgency urgency_of(const sequence *s, double now_ms)
{
    if (s->is_urgent)
        return URGENT;
    return s->priority == PRIORITY_BATCH && now_ms >= s->keeps_ms ? BATCH : INTERACTIVE;
}

static size_t count_prefills(const engine *e, urgency which, double now_ms)
{
    size_t n = 0;
    for (const sequence *s = e->running.first; s != NULL; s = s->next)
        n += has_prefill(s) && urgency_of(s, now_ms) == which ? 1 : 0;
    return n;
}

/* What a step may have of prompts. */
typedef struct prefill_limit {
    size_t rows;
    double ms; /* the step shall be over by then */
} prefill_limit;

/* The most rows of the prompt with which the step is expected to keep to the limit. */
static size_t fitting_rows(const step *st, const sequence *s, prefill_limit limit)
{
    size_t have = s->slot->tokens.length, left = s->tokens.length - have;
    size_t most = smaller(left, limit.rows - st->work.prompt_rows);
    size_t least = st->work.prompt_rows == 0 ? smaller(most, PREFILL_LEAST) : 0;
    return larger(pace_fitting_rows(&st->engine->pace, st->work, have, most, limit.ms), least);
}

/* As many of the n rows as there are outputs for, when the others have one each. */
static size_t cut_to_outputs(const step *st, const sequence *s, size_t n)
{
    if (s->scored == s->n_scored)
        return n;
    size_t others = st->engine->running.length - st->n_sequences - 1;
    size_t left = st->max_outputs - st->n_logits - others, have = s->slot->tokens.length;
    for (size_t i = 0; i < n; i++) {
        if (!sequence_wants_logits(s, have + i))
            continue;
        if (left == 0)
            return i;
        left--;
    }
    return n;
}

/* Where the next of n sequences has to stop, so that all get equal parts. */
static prefill_limit equal_part(const step *st, prefill_limit all, size_t n)
{
    size_t used = st->work.prompt_rows;
    double used_ms = pace_predict(&st->engine->pace, &st->work);
    if (n == 1)
        return all;
    return (prefill_limit){used + larger((all.rows - used) / n, 1),
                           used_ms + (all.ms - used_ms) / (double)n};
}

/* Equal parts for all of them, so that a short prompt need not wait for a long one's end. */
static void add_prefills(step *st, urgency which, prefill_limit limit)
{
    double now_ms = clock_ms();
    size_t left = count_prefills(st->engine, which, now_ms);
    for (sequence *s = st->engine->running.first; s != NULL && left > 0; s = s->next) {
        if (!has_prefill(s) || urgency_of(s, now_ms) != which || st->work.prompt_rows >= limit.rows)
            continue;
        size_t n = cut_to_outputs(st, s, fitting_rows(st, s, equal_part(st, limit, left)));
        if (n > 0)
            add_prefill(st, s, n);
        left--;
    }
}

/* ---- the budget ----------------------------------------------------------------------------- */

static void add_load(engine_load *l, const engine *e)
{
    bool prefilling = false;
    size_t decoding = 0;
    for (const sequence *s = e->running.first; s != NULL; s = s->next) {
        decoding += sequence_is_decoding(s) ? 1 : 0;
        prefilling = prefilling || (!s->is_urgent && !sequence_is_decoding(s));
    }
    l->prefilling += prefilling ? 1 : 0;
    l->streaming += decoding;
    if (decoding > 0 && e->options.step_budget_ms < l->budget_ms)
        l->budget_ms = e->options.step_budget_ms;
}

engine_load conductor_read_load(const conductor *c)
{
    engine_load l = {.budget_ms = INFINITY};
    for (const engine *e = c->engines; e != NULL; e = e->next)
        add_load(&l, e);
    return l;
}

/* Prompts share the budget, those of all engines together, for these take turns; what a draft model
 * took of it before this step is gone. */
static prefill_limit find_limit(const step *st)
{
    const engine *e = st->engine;
    prefill_limit limit = {e->options.prefill_chunk, INFINITY};
    engine_load l = conductor_read_load(e->conductor);
    double budget_ms = fmax(l.budget_ms - e->drafting.budget_ms, 0);
    if (l.streaming > 0)
        limit.ms = pace_mixed_ms(&e->pace, &st->work, budget_ms / (double)larger(l.prefilling, 1));
    return limit;
}

/* ---- steps ---------------------------------------------------------------------------------- */

void step_compose(step *st)
{
    begin_step(st);
    plan_drafts(st);
    for (sequence *s = st->engine->running.first; s != NULL; s = s->next)
        if (sequence_is_decoding(s))
            add_decoding(st, s);
    prefill_limit limit = find_limit(st);
    /* Urgent work first, and beyond the budget: a request waits for its plan before anything
     * else can happen to it. */
    add_prefills(st, URGENT, (prefill_limit){smaller(limit.rows, URGENT_ROWS), INFINITY});
    add_prefills(st, INTERACTIVE, limit);
    add_prefills(st, BATCH, limit);
}

void step_compose_urgent(step *st)
{
    begin_step(st);
    add_prefills(st, URGENT, (prefill_limit){st->max_rows, INFINITY});
}
