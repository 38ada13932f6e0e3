/* scenario.c: the table of mixes, and drawing tasks in their shares. */
#include "evidence/scenario.h"

#include <stdlib.h>
#include <string.h>

#include "base/random.h"

static const scenario scenarios[] = {
    {"A", {{"code", 70}, {"qa", 20}, {"math", 10}}},
    {"B", {{"code", 30}, {"qa", 40}, {"math", 30}}},
    {"C", {{"long", 50}, {"qa", 50}}},
};
#define N_SCENARIOS (sizeof scenarios / sizeof scenarios[0])
/* What is drawn with a seed (random.h): which tasks, and in which order. */
enum { DRAWING, ORDER };
#define MAX_PARTS (sizeof scenarios[0].parts / sizeof scenarios[0].parts[0])

error_code scenario_find(const scenario **out, const char *name, failure *fail)
{
    for (size_t i = 0; i < N_SCENARIOS; i++) {
        if (strcmp(scenarios[i].name, name) == 0) {
            *out = &scenarios[i];
            return OK;
        }
    }
    return failure_set(fail, ERR_NOT_FOUND, "no scenario \"%.40s\"; there are: A, B, C", name);
}

/* Whole numbers of tasks that add up to n. */
static void share_out(const scenario *s, size_t n, size_t counts[])
{
    size_t left = n;
    unsigned rests[MAX_PARTS] = {0};
    for (size_t i = 0; i < MAX_PARTS && s->parts[i].kind != NULL; i++) {
        counts[i] = n * s->parts[i].percent / 100;
        rests[i] = (unsigned)(n * s->parts[i].percent % 100);
        left -= counts[i];
    }
    for (; left > 0; left--) {
        size_t best = 0;
        for (size_t i = 1; i < MAX_PARTS; i++)
            if (rests[i] > rests[best])
                best = i;
        counts[best]++;
        rests[best] = 0;
    }
}

/* By a hash of the text (FNV-1a), so that it stays the same whatever else is drawn. */
static bool is_wanted(const task *t, scenario_half half)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *at = t->messages[0].content; *at != '\0'; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
    return half == BOTH_HALVES || (hash >> 32 & 1) == (half == SECOND_HALF);
}

static error_code copy_task(task_list *out, const task *t, failure *fail)
{
    task *added = NULL;
    error_code code = task_list_add(out, t->id, t->kind, t->intent, json_incref(t->source),
                                    json_incref(t->check), &added, fail);
    if (code != OK)
        return code;
    added->arrival_ms = t->arrival_ms;
    added->max_tokens = t->max_tokens;
    return OK;
}

/* n of a kind, in an order that the seed gives. */
static error_code take(const scenario_part *part, size_t n, const scenario_draw_options *o,
                       task_list *out, failure *fail)
{
    size_t found = 0;
    size_t *order = reallocarray(NULL, o->pool->length + 1, sizeof *order);
    if (order == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tasks");
    for (size_t i = 0; i < o->pool->length; i++)
        if (strcmp(o->pool->items[i].kind, part->kind) == 0 &&
            is_wanted(&o->pool->items[i], o->half))
            order[found++] = i;
    error_code code = OK;
    if (found < n)
        code = failure_set(fail, ERR_INVALID,
                           "the scenario needs %zu tasks of the kind %s; there are %zu", n,
                           part->kind, found);
    random_shuffle(o->seed, DRAWING, order, found);
    for (size_t i = 0; code == OK && i < n; i++)
        code = copy_task(out, &o->pool->items[order[i]], fail);
    free(order);
    return code;
}

static error_code shuffle(task_list *list, size_t from, uint64_t seed, failure *fail)
{
    size_t n = list->length - from;
    size_t *order = reallocarray(NULL, n + 1, sizeof *order);
    task *items = reallocarray(NULL, n + 1, sizeof *items);
    if (order != NULL && items != NULL) {
        for (size_t i = 0; i < n; i++)
            order[i] = i;
        random_shuffle(seed, ORDER, order, n);
        for (size_t i = 0; i < n; i++)
            items[i] = list->items[from + order[i]];
        memcpy(list->items + from, items, n * sizeof *items);
    }
    bool done = order != NULL && items != NULL;
    free(order);
    free(items);
    return done ? OK : failure_set(fail, ERR_MEMORY, "no memory for the tasks");
}

error_code scenario_draw(const scenario *s, const scenario_draw_options *o, task_list *out,
                         failure *fail)
{
    size_t counts[MAX_PARTS] = {0}, from = out->length;
    error_code code = OK;
    share_out(s, o->n, counts);
    for (size_t i = 0; code == OK && i < MAX_PARTS && s->parts[i].kind != NULL; i++)
        code = take(&s->parts[i], counts[i], o, out, fail);
    return code == OK ? shuffle(out, from, o->seed, fail) : code;
}
