/* group.c: the tests of a group in turns, the read peak measured between any two runs. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>

#define STEADY_FRACTION 0.1

/* ---- what a run says ------------------------------------------------------------------------ */

double speed_run_peak(const speed_run *run)
{
    return fmax(run->peak_before, run->peak_after);
}

double speed_run_share(const speed_result *r, const speed_run *run)
{
    return r->bytes / run->ms / 1e6 / speed_run_peak(run);
}

/* How far the two peaks are apart, as a fraction of the larger. */
static double unrest(const speed_run *run)
{
    return fabs(run->peak_before - run->peak_after) / speed_run_peak(run);
}

bool speed_run_steady(const speed_run *run)
{
    return unrest(run) <= STEADY_FRACTION;
}

/* ---- what a result says --------------------------------------------------------------------- */

void speed_result_free(speed_result *r)
{
    free(r->runs);
    token_list_free(&r->tokens);
    *r = (speed_result){0};
}

double speed_tokens_per_s(const speed_result *r)
{
    /* A decode run's ms is of one token, every other one's of n. */
    double tokens = r->test.kind == SPEED_DECODE ? 1 : (double)r->test.n;
    return tokens / r->ms.median * 1e3;
}

double speed_gb_s(const speed_result *r)
{
    return r->bytes / r->ms.median / 1e6;
}

static void summarise(speed_result *r)
{
    double ms[MEASURE_MAX_RUNS], share[MEASURE_MAX_RUNS], peak[MEASURE_MAX_RUNS];
    double before[MEASURE_MAX_RUNS], after[MEASURE_MAX_RUNS];
    for (size_t i = 0; i < r->n_runs; i++) {
        const speed_run *run = &r->runs[i];
        ms[i] = run->ms;
        share[i] = speed_run_share(r, run);
        peak[i] = speed_run_peak(run);
        before[i] = run->peak_before;
        after[i] = run->peak_after;
        r->n_unsteady += speed_run_steady(run) ? 0 : 1;
    }
    r->ms = spread_of(ms, r->n_runs);
    r->share = spread_of(share, r->n_runs);
    r->peak = spread_of(peak, r->n_runs).median;
    r->peak_before = spread_of(before, r->n_runs).median;
    r->peak_after = spread_of(after, r->n_runs).median;
}

/* ---- what members say beside one another ---------------------------------------------------- */

/* ms of a over ms of b, turn by turn. */
static spread ratio(const speed_result *a, const speed_result *b)
{
    double ratios[MEASURE_MAX_RUNS];
    size_t n = a->n_runs < b->n_runs ? a->n_runs : b->n_runs;
    for (size_t i = 0; i < n; i++)
        ratios[i] = a->runs[i].ms / b->runs[i].ms;
    return spread_of(ratios, n);
}

static spread over_bound(const speed_result *r, const subject *s)
{
    double ratios[MEASURE_MAX_RUNS];
    double rows_ms = (double)r->test.n * subject_multiply_adds(s) / subject_multiply_rate(s) * 1e3;
    for (size_t i = 0; i < r->n_runs; i++) {
        double bytes_ms = r->bytes / speed_run_peak(&r->runs[i]) / 1e6;
        ratios[i] = r->runs[i].ms / fmax(bytes_ms, rows_ms);
    }
    return spread_of(ratios, r->n_runs);
}

static void compare(const speed_member *members, size_t n, size_t i, speed_result *results)
{
    const subject *s = members[i].subject;
    const speed_test *test = &members[i].test;
    bool step = test->kind == SPEED_STEP;
    size_t first = i;
    for (size_t j = 0; j < n; j++) {
        if (step && members[j].subject == s && members[j].test.n == 1)
            results[i].to_one = ratio(&results[i], &results[j]);
        if (j < first && members[j].test.n == test->n)
            first = j;
    }
    if (first != i)
        results[i].speedup = ratio(&results[first], &results[i]);
    if (step && subject_multiply_rate(s) > 0)
        results[i].over_bound = over_bound(&results[i], s);
}

/* ---- measuring ------------------------------------------------------------------------------ */

static error_code prepare_results(const speed_member *members, size_t n, const group_options *o,
                                  speed_result *results, failure *fail)
{
    for (size_t i = 0; i < n; i++)
        results[i] = (speed_result){.test = members[i].test};
    for (size_t i = 0; i < n; i++) {
        const subject *s = members[i].subject;
        speed_result *r = &results[i];
        r->kv = subject_kv_type(s);
        r->bytes = subject_bytes(s, &r->test);
        r->kv_bytes = subject_kv_bytes(s, &r->test);
        r->n_runs = members[i].runs > 0 && members[i].runs < o->runs ? members[i].runs : o->runs;
        r->runs = calloc(r->n_runs, sizeof *r->runs);
        if (r->runs == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for %zu runs", r->n_runs);
    }
    return OK;
}

/* *peak: the read peak just measured, before and after. */
static void run_until_steady(const speed_member *members, size_t i, size_t turn,
                             const group_options *o, double *peak, speed_run *kept)
{
    size_t attempts = 0;
    while (attempts < o->attempts && (attempts == 0 || !speed_run_steady(kept))) {
        if (o->progress != NULL)
            o->progress(o->progress_context, i, turn, attempts);
        speed_run run = {.peak_before = *peak,
                         .ms = subject_run(members[i].subject, &members[i].test)};
        run.peak_after = *peak = read_peak_repeat(o->peak);
        if (attempts++ == 0 || unrest(&run) < unrest(kept))
            *kept = run;
    }
    kept->attempts = attempts;
}

static error_code take_turn(const speed_member *members, size_t n, size_t turn,
                            const group_options *o, double *peak, speed_result *results,
                            failure *fail)
{
    for (size_t i = 0; i < n; i++) {
        if (turn >= results[i].n_runs)
            continue;
        run_until_steady(members, i, turn, o, peak, &results[i].runs[turn]);
        if (turn > 0)
            continue;
        if (subject_answer(members[i].subject, &members[i].test, &results[i].tokens) != OK)
            return failure_set(fail, ERR_MEMORY, "no memory for the tokens of a test");
        *peak = read_peak_repeat(o->peak); /* the answer may have taken a while */
    }
    return OK;
}

/* The peaks of every run are those around the turn. */
static void time_turn(const speed_member *members, size_t n, size_t turn, const group_options *o,
                      double *peak, speed_result *results)
{
    double before = *peak;
    for (size_t i = 0; i < n; i++) {
        if (turn >= results[i].n_runs)
            continue;
        if (o->progress != NULL)
            o->progress(o->progress_context, i, turn, 0);
        results[i].runs[turn] = (speed_run){.peak_before = before,
                                            .ms = subject_run(members[i].subject, &members[i].test),
                                            .attempts = 1};
    }
    *peak = read_peak_repeat(o->peak);
    for (size_t i = 0; i < n; i++)
        if (turn < results[i].n_runs)
            results[i].runs[turn].peak_after = *peak;
}

static error_code take_turns(const speed_member *members, size_t n, const group_options *o,
                             speed_result *results, failure *fail)
{
    for (size_t i = 0; i < n; i++)
        subject_warm(members[i].subject, &members[i].test);
    double peak = read_peak_repeat(o->peak);
    error_code code = OK;
    for (size_t turn = 0; code == OK && turn < o->runs; turn++)
        if (o->only_times)
            time_turn(members, n, turn, o, &peak, results);
        else
            code = take_turn(members, n, turn, o, &peak, results, fail);
    return code;
}

error_code measure_group(const speed_member *members, size_t n, const group_options *options,
                         speed_result *results, failure *fail)
{
    error_code code = prepare_results(members, n, options, results, fail);
    if (code == OK)
        code = take_turns(members, n, options, results, fail);
    if (code != OK)
        return code;
    for (size_t i = 0; i < n; i++)
        summarise(&results[i]);
    for (size_t i = 0; i < n; i++)
        compare(members, n, i, results);
    return OK;
}
