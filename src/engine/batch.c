/* batch.c: which rows a step has. */
#include "base/clock.h"
#include "engine/conductor.h"

#define PREFILL_UNIT 8 /* rows: kernels work on so many at once, and fewer would take for ever */

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void add_row(step *st, const sequence *s, int32_t token, size_t position, bool wants_logits)
{
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
    st->n_rows = st->n_logits = st->n_sequences = st->decode_rows = st->prefill_rows = 0;
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* Ends the draft before the first token that would end the reply: nothing follows it. */
static void cut_draft(const sequence *s, draft *d)
{
    const tokenizer *t = engine_model(s->engine)->tokenizer;
    for (size_t i = 0; i < d->n_found; i++)
        if (tokenizer_is_control(t, d->tokens[i]) || tokenizer_is_end(t, d->tokens[i]))
            draft_cut(d, i);
}

static void plan_drafts(step *st)
{
    const engine *e = st->engine;
    size_t n = 0;
    for (sequence *s = e->running.first; s != NULL; s = s->next) {
        if (!sequence_is_decoding(s))
            continue;
        size_t left = s->max_tokens - (s->tokens.length - s->n_prompt) - 1;
        draft_find(&s->draft, s->tokens.ids, s->tokens.length, left);
        cut_draft(s, &s->draft);
        st->drafts[n++] = &s->draft;
    }
    /* Every sequence may need one output. */
    size_t kept = e->running.length;
    drafts_choose(st->drafts, n, &e->cost, n, st->max_outputs > kept ? st->max_outputs - kept : 0);
}

static void add_decoding(step *st, sequence *s)
{
    size_t position = s->tokens.length - 1;
    begin_sequence(st, s);
    add_row(st, s, s->tokens.ids[position], position, true);
    for (size_t i = 0; i < s->draft.n_sent; i++)
        add_row(st, s, s->draft.tokens[i], position + 1 + i, true);
    s->n_rows = 1 + s->draft.n_sent;
    st->decode_rows += s->n_rows;
}

/* ---- prefill -------------------------------------------------------------------------------- */

static bool has_prefill(const sequence *s)
{
    return s->step == NULL && !sequence_is_decoding(s) && !kv_is_copying(s->slot);
}

/* At most `room` rows of it. */
static void add_prefill(step *st, sequence *s, size_t room)
{
    size_t have = s->slot->tokens.length;
    size_t n = smaller(s->tokens.length - have, room);
    begin_sequence(st, s);
    for (size_t i = 0; i < n; i++)
        add_row(st, s, s->tokens.ids[have + i], have + i, have + i + 1 == s->tokens.length);
    s->n_rows = n;
    st->prefill_rows += n;
}

/* Rows are given out in this order. */
typedef enum urgency { CLASSIFICATIONS, REPLIES, BATCH_REPLIES } urgency;

static urgency urgency_of(const sequence *s, double now_ms)
{
    if (s->n_labels > 0)
        return CLASSIFICATIONS;
    return s->priority == SEQUENCE_BATCH && now_ms >= s->keeps_ms ? BATCH_REPLIES : REPLIES;
}

static size_t count_prefills(const engine *e, urgency which, double now_ms)
{
    size_t n = 0;
    for (const sequence *s = e->running.first; s != NULL; s = s->next)
        n += has_prefill(s) && urgency_of(s, now_ms) == which ? 1 : 0;
    return n;
}

/* Equal parts for all of them, so that a short prompt need not wait for a long one's end; until the
 * step has `limit` prompt rows. */
static void add_prefills(step *st, urgency which, size_t limit)
{
    double now_ms = clock_ms();
    size_t left = count_prefills(st->engine, which, now_ms);
    for (sequence *s = st->engine->running.first; s != NULL && left > 0; s = s->next) {
        if (!has_prefill(s) || urgency_of(s, now_ms) != which || st->prefill_rows >= limit)
            continue;
        size_t room = limit - st->prefill_rows, part = room / left / PREFILL_UNIT * PREFILL_UNIT;
        add_prefill(st, s, smaller(room, left == 1 ? room : larger(part, PREFILL_UNIT)));
        left--;
    }
}

/* ---- the budget ----------------------------------------------------------------------------- */

typedef struct load {
    double decode_ms; /* of one step of every engine's replies */
    double budget_ms; /* the least of theirs */
    size_t prefilling;
} load;

static void add_load(load *l, const engine *e, size_t decode_rows)
{
    bool prefilling = false;
    size_t decoding = 0;
    for (const sequence *s = e->running.first; s != NULL; s = s->next) {
        if (sequence_is_decoding(s))
            decoding++;
        else
            prefilling = prefilling || s->n_labels == 0;
    }
    l->prefilling += prefilling ? 1 : 0;
    if (decoding == 0)
        return;
    l->decode_ms += step_cost_of(&e->cost, decode_rows > decoding ? decode_rows : decoding);
    if (l->budget_ms == 0 || e->options.step_budget_ms < l->budget_ms)
        l->budget_ms = e->options.step_budget_ms;
}

/* Prompt rows that the step may have, so that every engine can take its turn within the budget of
 * the replies that stream, whichever engine they are of. */
static size_t prefill_limit(const step *st)
{
    const engine *e = st->engine;
    size_t chunk = e->options.prefill_chunk;
    load l = {0};
    for (const engine *o = e->conductor->engines; o != NULL; o = o->next)
        add_load(&l, o, o == e ? st->decode_rows : 0);
    if (l.budget_ms == 0)
        return chunk;
    double share_ms = (l.budget_ms - l.decode_ms) / (double)larger(l.prefilling, 1);
    double rows = e->prefill_row_ms > 0 ? share_ms / e->prefill_row_ms : (double)chunk;
    if (rows >= (double)chunk)
        return chunk;
    size_t units = rows > 0 ? (size_t)rows / PREFILL_UNIT : 0;
    return smaller(chunk, larger(units, 1) * PREFILL_UNIT);
}

/* ---- steps ---------------------------------------------------------------------------------- */

void step_compose(step *st)
{
    begin_step(st);
    plan_drafts(st);
    for (sequence *s = st->engine->running.first; s != NULL; s = s->next)
        if (sequence_is_decoding(s))
            add_decoding(st, s);
    /* Classifications first, and beyond the budget: a request waits for its plan before anything
     * else can happen to it. */
    add_prefills(st, CLASSIFICATIONS, smaller(st->engine->options.prefill_chunk, URGENT_ROWS));
    size_t limit = prefill_limit(st);
    add_prefills(st, REPLIES, limit);
    add_prefills(st, BATCH_REPLIES, limit);
}

void step_compose_urgent(step *st)
{
    begin_step(st);
    add_prefills(st, CLASSIFICATIONS, st->max_rows);
}
