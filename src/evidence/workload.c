/* workload.c: arrival times, what is due, and results in the tasks' order. */
#include "evidence/workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "evidence/item.h"

/* ---- when they arrive ---------------------------------------------------------------------- */

static error_code plan_arrivals(workload *w, failure *fail)
{
    const block_options *o = w->options;
    double at = 0;
    for (size_t i = 0; i < w->n_tasks; i++) {
        const task *t = &w->tasks[i];
        if (o->load == LOAD_POISSON)
            at += -1e3 * log(1 - random_uniform(o->seed, 1, i)) / o->per_second;
        else if (t->arrival_ms < 0)
            return failure_set(fail, ERR_INVALID, "task %s has no arrival_ms", t->id);
        else if (t->arrival_ms < at)
            return failure_set(fail, ERR_INVALID,
                               "task %s arrives before the one above it: the trace must be in "
                               "the order of arrival_ms",
                               t->id);
        else
            at = t->arrival_ms;
        /* A block begins with its first request, whichever of the trace that is. */
        w->due[i] = o->load == LOAD_POISSON ? at : at - w->tasks[0].arrival_ms;
    }
    return OK;
}

error_code workload_prepare(workload *w, const task *tasks, size_t n_tasks,
                            const block_options *options, failure *fail)
{
    *w = (workload){.tasks = tasks, .n_tasks = n_tasks, .options = options};
    w->capacity = options->load == LOAD_CLOSED ? options->in_flight : n_tasks;
    w->due = calloc(n_tasks, sizeof w->due[0]);
    w->items = calloc(n_tasks, sizeof(json_t *));
    w->answers = calloc(n_tasks, sizeof w->answers[0]);
    if (w->due == NULL || w->items == NULL || w->answers == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the replay");
    return options->load != LOAD_CLOSED ? plan_arrivals(w, fail) : OK;
}

void workload_free(workload *w)
{
    for (size_t i = 0; i < w->n_tasks; i++) {
        if (w->items != NULL)
            json_decref(w->items[i]);
        if (w->answers != NULL)
            free(w->answers[i]);
    }
    free(w->due);
    free(w->items);
    free(w->answers);
}

void workload_begin(workload *w)
{
    w->begin_ms = w->end_ms = clock_ms();
}

double workload_next_due(const workload *w)
{
    if (w->next == w->n_tasks)
        return -1;
    if (w->options->load == LOAD_CLOSED)
        return w->in_flight < w->capacity ? 0 : -1;
    double left = w->begin_ms + w->due[w->next] - clock_ms();
    return left > 0 ? left : 0;
}

bool workload_take_due(workload *w, size_t *index, double *due_ms)
{
    if (workload_next_due(w) != 0)
        return false;
    *due_ms = w->options->load == LOAD_CLOSED ? clock_ms() : w->begin_ms + w->due[w->next];
    *index = w->next++;
    return true;
}

/* ---- how they end --------------------------------------------------------------------------- */

error_code workload_check_stopped(const workload *w, failure *fail)
{
    const block_options *o = w->options;
    return o->stopped != NULL && o->stopped(o->context)
               ? failure_set(fail, ERR_CANCELLED, "stopped")
               : OK;
}

void workload_count_done(workload *w)
{
    w->done++;
    w->end_ms = clock_ms();
    if (w->options->progress != NULL)
        w->options->progress(w->options->context, w->done);
}

void workload_keep_answer(workload *w, size_t index, const char *text)
{
    const block_options *o = w->options;
    w->answers[index] = strdup(text != NULL ? text : "");
    if (o->answered != NULL && w->answers[index] != NULL)
        o->answered(o->context, index, w->answers[index], w->items[index]);
}

/* After the clock has stopped. A request without an answer is wrong. */
static error_code judge_answers(workload *w, checker *judge, failure *fail)
{
    for (size_t i = 0; i < w->n_tasks; i++) {
        const json_t *check = w->tasks[i].check;
        const char *answer = w->answers[i];
        bool right = false;
        if (check == NULL)
            continue;
        if (answer != NULL && checker_check(judge, check, answer, &right, fail) != OK)
            return failure_prefix(fail, "task %s", w->tasks[i].id);
        json_object_set_new(w->items[i], "right", json_boolean(right));
    }
    return OK;
}

error_code workload_results(workload *w, checker *judge, json_t **items, double *seconds,
                            failure *fail)
{
    *seconds = (w->end_ms - w->begin_ms) / 1e3;
    error_code code = judge_answers(w, judge, fail);
    *items = code == OK ? json_array() : NULL;
    for (size_t i = 0; code == OK && i < w->n_tasks; i++)
        if (json_array_append(*items, w->items[i]) != 0)
            code = failure_set(fail, ERR_MEMORY, "no memory for the results");
    return code;
}
