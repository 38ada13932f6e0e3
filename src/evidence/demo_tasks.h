/*
 * demo_tasks.h: the built-in set: the tasks that the demo pair was trained for, drawn from their
 * test side, as tools/demo_models draws them (tasks_code.py, tasks_qa.py, tasks_math.py): same
 * seed, same tasks. Kinds: code, qa, math, and long, a code task behind a file longer than the
 * small model's context.
 */
#ifndef EVIDENCE_DEMO_TASKS_H
#define EVIDENCE_DEMO_TASKS_H

#include <stdint.h>

#include "evidence/task.h"

/* Tokens of a text, for the length of long prompts. */
typedef struct token_counter {
    error_code (*call)(void *context, const char *text, size_t *tokens, failure *fail);
    void *context;
} token_counter;

/* Appends n tasks of a kind; ids are kind-seed-number. ERR_NOT_FOUND names the kinds. Only long
 * counts tokens. */
error_code demo_tasks_draw(task_list *list, const char *kind, size_t n, uint64_t seed,
                           token_counter count, failure *fail);

#endif
