/* measure_steps.c: what an engine knows of its steps' times before its first request: measured, or
 * told by whoever kept what was measured before. */
#include <string.h>

#include "base/clock.h"
#include "engine/conductor.h"

#define MEASURE_BUDGET_MS 400.0 /* per engine, at start-up */

typedef struct measured_size {
    size_t rows;
    int repeats;
    bool prompt; /* without logits */
} measured_size;

static void learn_size(engine *e, const measured_size *size, double ms)
{
    step_work w = {0};
    if (size->prompt)
        w = step_work_add_prompt(w, 0, size->rows);
    else
        step_cost_learn(&e->cost, size->rows, ms);
    w.rows = size->rows;
    if (size->prompt)
        e->measured.prefill_row_ms = ms / (double)size->rows;
    /* Those in between are limited neither by bytes nor by rows alone. */
    if (size->prompt || size->rows == 1)
        pace_learn(&e->pace, &w, ms);
}

/* False when the time is up. */
static bool measure_size(engine *e, team *threads, kv_slot *slot, const measured_size *size,
                         double end_ms, bool learn)
{
    int32_t token = 0;
    kv_commit(e->kv, slot, size->rows);
    for (size_t r = 0; r < size->rows; r++)
        e->main.rows[r] = (forward_row){token, (uint32_t)r, &slot->view,
                                        size->prompt ? WANT_NOTHING : WANT_LOGITS};
    for (int k = 0; k < size->repeats; k++) {
        double before = clock_ms();
        if (before > end_ms)
            return false;
        forward_step(e->main.forward, threads, e->main.rows, size->rows);
        if (learn)
            learn_size(e, size, clock_ms() - before);
    }
    return true;
}

static void measure_sizes(engine *e, team *threads, double budget_ms)
{
    static const measured_size sizes[] = {{1, 1, false}, /* warms up */
                                          {16, 1, true}, {1, 3, false},
                                          {2, 3, false}, {4, 3, false},
                                          {8, 3, false}, {LOOKUP_MAX_DRAFT + 1, 3, false}};
    double end_ms = clock_ms() + budget_ms;
    int32_t token = 0;
    kv_slot *slot = kv_acquire(e->kv, &token, 1);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (sizes[i].rows <= e->main.max_outputs && sizes[i].rows <= slot->tokens.capacity &&
            !measure_size(e, threads, slot, &sizes[i], end_ms, i > 0))
            break;
    }
    kv_release(e->kv, slot);
    memcpy(e->measured.step_ms, e->cost.ms, sizeof e->measured.step_ms);
    e->measured.prefill_rows = sizes[1].rows;
}

void engine_learn_step_cost(engine *e)
{
    const engine_options *o = &e->options;
    if (o->step_ms[1] == 0) {
        measure_sizes(e, e->conductor->threads, MEASURE_BUDGET_MS);
        return;
    }
    const measured_size prompt = {o->prefill_rows > 0 ? o->prefill_rows : ENGINE_KNOWN_PREFILL, 1,
                                  true};
    learn_size(e, &prompt, o->prefill_row_ms * (double)prompt.rows);
    for (size_t n = 1; n <= ENGINE_STEP_ROWS; n++)
        if (o->step_ms[n] > 0)
            learn_size(e, &(measured_size){n, 1, false}, o->step_ms[n]);
    e->cost.fixed = o->fixed_step_cost;
}
