/* drafter.c: the draft model's steps: catching up with the replies, then guessing ahead. */
#include "engine/drafter.h"

#include <stdlib.h>

#include "base/clock.h"

#define PROMPT_ROWS 64 /* of a prompt that the small model has not read yet, between two steps */
#define RETRY_STEPS 32 /* after so many steps without a draft one is tried */

struct drafter {
    engine *engine;        /* of the large model */
    compute_pass *compute; /* of the round that runs */
    const model *model;    /* the small one */
    kv_cache *kv;
    size_t context;
    size_t n_slots;
    forward *forward;
    forward_row *rows;  /* n_slots + PROMPT_ROWS */
    sequence **drafted; /* n_slots: those that the present round drafts for */
    size_t n_drafted;
    step_cost cost; /* of its own steps */
    pace pace;
};

/* ---- making --------------------------------------------------------------------------------- */

static error_code create_parts(drafter *d, failure *fail)
{
    size_t n = d->n_slots;
    d->rows = calloc(n + PROMPT_ROWS, sizeof *d->rows);
    d->drafted = calloc(n, sizeof(sequence *));
    if (d->rows == NULL || d->drafted == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a draft model");
    error_code code = kv_create(&d->kv, &d->model->config, d->engine->options.kv, d->context,
                                d->context, n, fail);
    if (code == OK)
        code = forward_create(&d->forward, d->model, team_size(d->engine->conductor->threads),
                              n + PROMPT_ROWS, n, fail);
    return code;
}

error_code drafter_create(drafter **out, engine *e, const model *small, size_t n_sequences,
                          failure *fail)
{
    error_code code = model_check_vocabulary(e->model, small, fail);
    if (code != OK)
        return code;
    drafter *d = calloc(1, sizeof *d);
    if (d == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a draft model");
    size_t most = small->config.context_length;
    *d = (drafter){.engine = e, .model = small, .n_slots = n_sequences};
    d->context = e->options.context < most ? e->options.context : most;
    pace_init(&d->pace, small);
    code = create_parts(d, fail);
    if (code != OK)
        drafter_destroy(d);
    else
        *out = d;
    return code;
}

void drafter_fix_cost(drafter *d, const double step_ms[ENGINE_STEP_ROWS + 1])
{
    for (size_t n = 1; n <= ENGINE_STEP_ROWS; n++)
        step_cost_learn(&d->cost, n, step_ms[n]);
    d->cost.fixed = true;
}

void drafter_destroy(drafter *d)
{
    if (d == NULL)
        return;
    forward_destroy(d->forward);
    if (d->kv != NULL)
        kv_destroy(d->kv);
    free(d->rows);
    free(d->drafted);
    free(d);
}

size_t drafter_kv_bytes(const drafter *d)
{
    return d->n_slots * kv_sequence_bytes(d->kv, d->context);
}

void drafter_forget(drafter *d, sequence *s)
{
    if (s->draft_slot != NULL)
        kv_release(d->kv, s->draft_slot);
    s->draft_slot = NULL;
}

/* ---- one step of the small model ------------------------------------------------------------ */

static void set_row(drafter *d, size_t row, const sequence *s, size_t position, bool wants_logits)
{
    size_t n = s->tokens.length;
    int32_t token = position < n ? s->tokens.ids[position] : s->draft.tokens[position - n];
    d->rows[row] = (forward_row){token, (uint32_t)position, &s->draft_slot->view,
                                 wants_logits ? WANT_LOGITS : WANT_NOTHING};
}

/* Its KV holds the tokens that were accepted, never a guess that was not. */
static void keep_accepted(sequence *s)
{
    const token_list *all = &s->tokens;
    token_list *held = &s->draft_slot->tokens;
    size_t n = 0, most = held->length < all->length - 1 ? held->length : all->length - 1;
    while (n < most && held->ids[n] == all->ids[n])
        n++;
    held->length = n;
}

/* The KV of positions up to `end` has been computed. */
static void note_kv(sequence *s, size_t end)
{
    token_list *held = &s->draft_slot->tokens;
    for (size_t i = held->length; i < end; i++)
        held->ids[i] =
            i < s->tokens.length ? s->tokens.ids[i] : s->draft.tokens[i - s->tokens.length];
    held->length = end;
}

static bool has_slot(drafter *d, sequence *s)
{
    if (s->tokens.length + LOOKUP_MAX_DRAFT > d->context)
        return false;
    if (s->draft_slot == NULL)
        s->draft_slot = kv_acquire(d->kv, s->tokens.ids, s->tokens.length);
    if (kv_is_copying(s->draft_slot))
        return false;
    keep_accepted(s);
    kv_commit(d->kv, s->draft_slot, s->tokens.length + LOOKUP_MAX_DRAFT);
    return true;
}

/* Runs the first n rows; returns what it took. */
static double run_rows(drafter *d, size_t n)
{
    forward_begin(d->forward, d->rows, n);
    double ms = d->compute(d->engine, d->forward);
    d->engine->drafting.ms += ms;
    d->engine->drafting_ms += ms;
    return ms;
}

/* As many of the missing tokens as may still be read before this step; a few, if none has been. */
static size_t fitting_rows(const drafter *d, size_t have, size_t missing, double budget_ms)
{
    size_t most = missing < PROMPT_ROWS ? missing : PROMPT_ROWS;
    size_t least = d->engine->drafting.ms == 0 ? PREFILL_LEAST : 0;
    size_t n =
        pace_fitting_rows(&d->pace, (step_work){0}, have, most, budget_ms - d->engine->drafting.ms);
    least = least < most ? least : most;
    return n > least ? n : least;
}

/* Reads more of a sequence's tokens, all but the last; false: there is still more. */
static bool catch_up(drafter *d, sequence *s, double budget_ms)
{
    size_t have = s->draft_slot->tokens.length, missing = s->tokens.length - 1 - have;
    size_t n = fitting_rows(d, have, missing, budget_ms);
    if (n == 0)
        return missing == 0;
    for (size_t i = 0; i < n; i++)
        set_row(d, i, s, have + i, false);
    step_work work = step_work_add_prompt((step_work){0}, have, n);
    pace_learn(&d->pace, &work, run_rows(d, n));
    note_kv(s, have + n);
    return n == missing;
}

/* ---- guessing ------------------------------------------------------------------------------- */

/* With a forced reply the guesses are right as often as was asked for. */
static int32_t guess(sequence *s, float *logits, size_t at)
{
    size_t position = s->tokens.length + at;
    int32_t token = sampler_sample(s->sampler, logits, position);
    if (position - s->n_prompt >= s->n_forced)
        return token;
    int32_t forced = s->forced[position - s->n_prompt];
    bool right = random_uniform(s->n_forced, 1, position) < s->forced_agreement;
    return right ? forced : (forced == 0 ? 1 : 0);
}

/* One more token for all; the first time with what was accepted since the last round. */
static void guess_next(drafter *d, size_t at)
{
    for (size_t i = 0; i < d->n_drafted; i++)
        set_row(d, i, d->drafted[i], d->drafted[i]->tokens.length - 1 + at, true);
    double ms = run_rows(d, d->n_drafted);
    for (size_t i = 0; i < d->n_drafted; i++) {
        sequence *s = d->drafted[i];
        note_kv(s, s->tokens.length + at);
        s->progress.weight_bytes += d->model->weight_bytes / d->n_drafted;
        s->progress.kv_bytes +=
            forward_kv_bytes(d->model, s->draft_slot->view.type, s->tokens.length - 1 + at);
        s->draft.tokens[at] = guess(s, forward_logits(d->forward, i), at);
        s->draft.n_found = at + 1;
    }
    step_cost_learn(&d->cost, d->n_drafted, ms);
}

static size_t tokens_left(const sequence *s)
{
    size_t left = s->max_tokens - (s->tokens.length - s->n_prompt) - 1;
    return left < LOOKUP_MAX_DRAFT ? left : LOOKUP_MAX_DRAFT;
}

/* Who takes part: the small model has read all but the last token of theirs. Returns the most that
 * all of them can use. */
static size_t gather(drafter *d, double budget_ms)
{
    size_t most = LOOKUP_MAX_DRAFT;
    d->n_drafted = 0;
    for (sequence *s = d->engine->running.first; s != NULL; s = s->next) {
        if (s->draft.setting.mode != LOOKUP_DRAFT || !sequence_is_decoding(s))
            continue;
        draft_begin(&s->draft);
        size_t left = tokens_left(s);
        if (left == 0 || !has_slot(d, s))
            continue;
        s->step = &d->engine->main; /* of the next step; nothing takes its KV in a pause */
        if (!catch_up(d, s, budget_ms))
            continue;
        most = left < most ? left : most;
        d->drafted[d->n_drafted++] = s;
    }
    return most;
}

/* The length that all of them get: what it brings beside what it costs here and there. */
static size_t choose_length(const drafter *d, size_t most)
{
    const step_cost *cost = &d->engine->cost;
    size_t rows = d->engine->running.length, best = 0;
    double guess_ms = step_cost_of(&d->cost, d->n_drafted);
    double tokens = (double)rows, best_speed = tokens / step_cost_of(cost, rows);
    for (size_t k = 1; k <= most; k++) {
        for (size_t i = 0; i < d->n_drafted; i++)
            tokens += draft_reach(&d->drafted[i]->draft, k);
        double ms = step_cost_of(cost, rows + k * d->n_drafted) + (double)k * guess_ms;
        if (tokens / ms > best_speed) {
            best_speed = tokens / ms;
            best = k;
        }
    }
    return best;
}

static bool is_due(drafter *d)
{
    bool due = false;
    for (size_t i = 0; i < d->n_drafted; i++)
        due = ++d->drafted[i]->steps_undrafted >= RETRY_STEPS || due;
    return due;
}

/* One guess at least, and as many more as there is time for. */
static size_t fitting_guesses(const drafter *d, double ms)
{
    double n = ms / step_cost_of(&d->cost, d->n_drafted);
    return n < 1 ? 1 : n < LOOKUP_MAX_DRAFT ? (size_t)n : LOOKUP_MAX_DRAFT;
}

static void make_guesses(drafter *d, size_t most)
{
    size_t length = choose_length(d, most);
    if (length == 0 && is_due(d))
        length = 1;
    for (size_t at = 0; at < length; at++)
        guess_next(d, at);
    for (size_t i = 0; i < d->n_drafted && length > 0; i++)
        d->drafted[i]->steps_undrafted = 0;
}

void drafter_run(drafter *d, compute_pass *compute)
{
    d->compute = compute;
    drafting_time *took = &d->engine->drafting;
    engine_load load = conductor_read_load(d->engine->conductor);
    double budget_ms = load.prefilling > 0 ? load.budget_ms / 2 : load.budget_ms;
    *took = (drafting_time){0};
    kv_work(d->kv, KV_WORK_MS);
    size_t most = gather(d, budget_ms);
    took->budget_ms = took->ms;
    if (d->n_drafted == 0)
        return;
    bool others = load.streaming > d->n_drafted;
    size_t fitting = others ? fitting_guesses(d, budget_ms - took->ms) : most;
    make_guesses(d, fitting < most ? fitting : most);
    took->budget_ms = others ? took->ms : took->budget_ms;
}
