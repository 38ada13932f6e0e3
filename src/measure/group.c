/* group.c: the tests of a group in turns, between two measurements of the read peak. */
#include "measure/measure.h"

#include <math.h>
#include <stdlib.h>

#define STEADY_FRACTION 0.1

void speed_result_free(speed_result *r)
{
    free(r->run_ms);
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

double speed_share_of_peak(const speed_result *r)
{
    return speed_gb_s(r) / fmax(r->peak_before, r->peak_after);
}

static error_code prepare_results(const subject *s, const speed_test *tests, size_t n,
                                  const group_options *o, speed_result *results, failure *fail)
{
    for (size_t i = 0; i < n; i++) {
        results[i] = (speed_result){.test = tests[i],
                                    .run_ms = calloc(o->runs, sizeof *results[i].run_ms),
                                    .bytes = subject_bytes(s, &tests[i]),
                                    .kv_bytes = subject_kv_bytes(s, &tests[i])};
        if (results[i].run_ms == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for %zu runs", o->runs);
    }
    return OK;
}

static error_code take_turns(subject *s, size_t n, const group_options *o, size_t attempt,
                             speed_result *results, failure *fail)
{
    for (size_t run = 0; run < o->runs; run++) {
        for (size_t i = 0; i < n; i++) {
            const speed_test *test = &results[i].test;
            if (o->progress != NULL)
                o->progress(o->progress_context, test, run, attempt);
            if (run == 0)
                subject_warm(s, test);
            results[i].run_ms[run] = subject_run(s, test);
            if (run == 0 && subject_answer(s, test, &results[i].tokens) != OK)
                return failure_set(fail, ERR_MEMORY, "no memory for the tokens of a test");
        }
    }
    return OK;
}

/* The read peak; its own memory is kept out of what is noted as the process's peak. */
static error_code measure_peak(team *threads, const group_options *o, size_t attempt, double *gb_s,
                               failure *fail)
{
    if (o->progress != NULL)
        o->progress(o->progress_context, NULL, 0, attempt);
    if (o->memory_peak == NULL)
        return measure_read_peak(threads, o->peak_bytes, gb_s, fail);
    size_t peak = memory_peak_bytes();
    if (peak > *o->memory_peak)
        *o->memory_peak = peak;
    error_code code = measure_read_peak(threads, o->peak_bytes, gb_s, fail);
    memory_peak_reset();
    return code;
}

static error_code measure_once(subject *s, team *threads, size_t n, const group_options *o,
                               size_t attempt, speed_result *results, failure *fail)
{
    double before = *o->last_peak, after;
    error_code code = OK;
    if (before <= 0)
        code = measure_peak(threads, o, attempt, &before, fail);
    if (code == OK)
        code = take_turns(s, n, o, attempt, results, fail);
    if (code == OK)
        code = measure_peak(threads, o, attempt, &after, fail);
    if (code != OK)
        return code;
    *o->last_peak = after;
    for (size_t i = 0; i < n; i++) {
        speed_result *r = &results[i];
        r->ms = spread_of(r->run_ms, o->runs);
        r->peak_before = before;
        r->peak_after = after;
        r->steady = fabs(before - after) <= STEADY_FRACTION * fmax(before, after);
        r->attempts = attempt + 1;
    }
    return OK;
}

error_code measure_group(subject *s, team *threads, const speed_test *tests, size_t n,
                         const group_options *options, speed_result *results, failure *fail)
{
    error_code code = prepare_results(s, tests, n, options, results, fail);
    for (size_t attempt = 0; code == OK && attempt < options->attempts; attempt++) {
        code = measure_once(s, threads, n, options, attempt, results, fail);
        if (code == OK && results[0].steady)
            break;
    }
    return code;
}
