/* speculate.c: the cost curve, the acceptance estimates, and the lengths that they choose. */
#include "engine/speculate.h"

#include <string.h>

/* ---- what steps cost ------------------------------------------------------------------------ */

#define LEARNING_RATE 0.1 /* of the running mean of a step's cost */
#define LARGEST_SHARE                                                                              \
    2.0 /* a step that something else held up counts as so many times the mean                     \
         */

/* A machine that becomes slower does so for steps of like size, too. */
static void share(step_cost *c, size_t rows, double change)
{
    for (size_t n = 1; n <= STEP_COST_ROWS; n++) {
        double likeness = n < rows ? (double)n / (double)rows : (double)rows / (double)n;
        c->ms[n] *= 1 + LEARNING_RATE * likeness * change;
    }
}

void step_cost_learn(step_cost *c, size_t rows, double ms)
{
    if (rows == 0 || rows > STEP_COST_ROWS || c->fixed)
        return;
    if (c->ms[rows] == 0) {
        c->ms[rows] = ms;
        return;
    }
    double ratio = ms / c->ms[rows];
    share(c, rows, (ratio < LARGEST_SHARE ? ratio : LARGEST_SHARE) - 1);
}

static size_t measured_below(const step_cost *c, size_t rows)
{
    while (rows > 0 && c->ms[rows] == 0)
        rows--;
    return rows;
}

/* From point `from` on along the slope between the measured points a and b. */
static double on_line(const step_cost *c, size_t a, size_t b, size_t from, size_t rows)
{
    double slope = (c->ms[b] - c->ms[a]) / ((double)b - (double)a);
    return c->ms[from] + (slope > 0 ? slope : 0) * ((double)rows - (double)from);
}

double step_cost_of(const step_cost *c, size_t rows)
{
    size_t below = measured_below(c, rows < STEP_COST_ROWS ? rows : STEP_COST_ROWS);
    size_t above = rows;
    while (above <= STEP_COST_ROWS && c->ms[above] == 0)
        above++;
    if (below == rows)
        return c->ms[rows];
    if (above <= STEP_COST_ROWS)
        return below > 0 ? on_line(c, below, above, below, rows) : c->ms[above];
    /* Nothing larger was measured: as it went on from half as many rows, for noise would tilt the
     * line through two neighbours; and with only one as if rows cost nothing, so that it is tried.
     */
    size_t before = measured_below(c, below / 2);
    if (before == 0 && below > 0)
        before = measured_below(c, below - 1);
    if (before > 0)
        return on_line(c, before, below, below, rows);
    return below > 0 ? c->ms[below] : 1.0;
}

/* ---- acceptance ----------------------------------------------------------------------------- */

#define POOL_WEIGHT 6.0 /* the pooled estimate counts as so many drafted tokens */
#define FIRST_WEIGHT 4.0
#define DRAFT_MODEL_RATE 0.6 /* of a draft model's guesses, before anything is known */
#define OWN_MEMORY 32.0      /* drafted tokens of a class; an estimate forgets beyond them */
#define POOL_MEMORY 256.0

/* The shortest match of each class, and what is taken for its acceptance before anything is known.
 */
static const struct {
    size_t match;
    double rate;
} classes[ACCEPTANCE_CLASSES] = {{1, 0.15}, {2, 0.3},   {3, 0.45},  {4, 0.55}, {6, 0.65},
                                 {8, 0.75}, {12, 0.85}, {20, 0.92}, {40, 0.96}};

static size_t class_of(size_t match)
{
    size_t i = ACCEPTANCE_CLASSES - 1;
    while (i > 0 && classes[i].match > match)
        i--;
    return i;
}

static void count(acceptance *a, size_t class, bool accepted, double memory)
{
    a->tried[class] += 1;
    a->accepted[class] += accepted ? 1 : 0;
    if (a->tried[class] > memory) {
        a->accepted[class] *= 0.5;
        a->tried[class] *= 0.5;
    }
}

static void learn(acceptance *a, size_t match, size_t judged, size_t accepted, double memory)
{
    for (size_t i = 0; i < judged && i <= accepted; i++)
        count(a, class_of(match + i), i < accepted, memory);
}

/* Of the token after the first n of the draft. */
static double rate_of(const draft *d, size_t n)
{
    if (n < d->n_certain)
        return 1;
    size_t i = class_of(d->match + n);
    double rate = d->setting.mode == LOOKUP_DRAFT ? DRAFT_MODEL_RATE : classes[i].rate;
    if (d->pool != NULL)
        rate = (d->pool->accepted[i] + FIRST_WEIGHT * rate) / (d->pool->tried[i] + FIRST_WEIGHT);
    return (d->own.accepted[i] + POOL_WEIGHT * rate) / (d->own.tried[i] + POOL_WEIGHT);
}

/* ---- a sequence's draft --------------------------------------------------------------------- */

error_code draft_init(draft *d, const lookup_setting *setting, acceptance *pool, size_t max_tokens,
                      failure *fail)
{
    *d = (draft){.setting = *setting, .pool = pool};
    bool reads_history = setting->mode == LOOKUP_AUTO || setting->mode == LOOKUP_FIXED;
    return reads_history ? lookup_create(&d->lookup, max_tokens, fail) : OK;
}

void draft_free(draft *d)
{
    lookup_destroy(d->lookup);
}

void draft_find(draft *d, const int32_t *tokens, size_t n_tokens, size_t most)
{
    size_t wanted = d->setting.mode == LOOKUP_FIXED ? d->setting.length : LOOKUP_MAX_DRAFT;
    draft_begin(d);
    if (d->lookup == NULL)
        return;
    lookup_update(d->lookup, tokens, n_tokens);
    d->n_found = lookup_draft(d->lookup, tokens, n_tokens, wanted < most ? wanted : most, d->tokens,
                              &d->match);
}

void draft_begin(draft *d)
{
    d->n_found = d->n_sent = d->n_certain = 0;
    d->match = 1;
}

void draft_force(draft *d, const int32_t *tokens, size_t n)
{
    draft_begin(d);
    memcpy(d->tokens, tokens, n * sizeof *tokens);
    d->n_found = d->n_certain = n;
}

double draft_reach(const draft *d, size_t n)
{
    double reach = 1;
    for (size_t i = 0; i < n; i++)
        reach *= rate_of(d, i);
    return reach;
}

void draft_cut(draft *d, size_t n)
{
    d->n_found = d->n_found < n ? d->n_found : n;
}

/* Drafts that promise less than this beside none are not worth the error of the estimates. */
#define LEAST_GAIN 1.02

/* ---- lengths -------------------------------------------------------------------------------- */

static void try_length(draft *d, size_t n, double reached)
{
    d->tried = n;
    d->reached = reached;
    d->gain = n < d->n_found ? reached * rate_of(d, n) : 0;
}

/* What one more row brings never grows with a draft's length, so the best drafts of k rows together
 * are those of k - 1 with the row that brings most. */
static draft *best_gain(draft *const *drafts, size_t n)
{
    draft *best = NULL;
    for (size_t i = 0; i < n; i++) {
        if (drafts[i]->gain > (best != NULL ? best->gain : 0))
            best = drafts[i];
    }
    return best;
}

/* Fixed lengths are sent as far as there is room; returns their rows. */
static size_t begin_choice(draft *const *drafts, size_t n, size_t max_rows)
{
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        draft *d = drafts[i];
        d->gain = 0;
        d->n_sent = 0;
        if (d->setting.mode == LOOKUP_FIXED) {
            d->n_sent = d->n_found < max_rows - rows ? d->n_found : max_rows - rows;
            rows += d->n_sent;
        } else
            try_length(d, 0, 1);
    }
    return rows;
}

static void keep_tried(draft *const *drafts, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (drafts[i]->setting.mode != LOOKUP_FIXED)
            drafts[i]->n_sent = drafts[i]->tried;
}

void drafts_choose(draft *const *drafts, size_t n, const step_cost *c, size_t rows, size_t max_rows)
{
    size_t fixed_rows = begin_choice(drafts, n, max_rows);
    double expected = (double)n;
    double best_speed = LEAST_GAIN * expected / step_cost_of(c, rows + fixed_rows);
    for (size_t k = fixed_rows + 1; k <= max_rows; k++) {
        draft *d = best_gain(drafts, n);
        if (d == NULL)
            return;
        expected += d->gain;
        try_length(d, d->tried + 1, d->gain);
        double speed = expected / step_cost_of(c, rows + k);
        if (speed > best_speed) {
            best_speed = speed;
            keep_tried(drafts, n);
        }
    }
}

/* ---- what came ------------------------------------------------------------------------------ */

bool draft_foresaw(const draft *d, size_t at, int32_t token)
{
    return at < d->n_found && d->tokens[at] == token;
}

void draft_learn(draft *d, size_t judged, size_t followed)
{
    if (d->n_certain > 0)
        return;
    learn(&d->own, d->match, judged, followed, OWN_MEMORY);
    if (d->pool != NULL)
        learn(d->pool, d->match, judged, followed, POOL_MEMORY);
}
