/*
 * demo_tasks.h: the built-in set: tasks of the kinds that the demo pair was trained for, from the
 * side that it was not trained on: models/demo/tasks.jsonl, which tools/demo_models/make_tasks.py
 * writes. Kinds: code, qa, math, and long, a code task behind a file longer than the small model's
 * context. No two prompts are equal.
 */
#ifndef EVIDENCE_DEMO_TASKS_H
#define EVIDENCE_DEMO_TASKS_H

#include "evidence/task.h"

/* Appends the tasks of such a file in its order; path NULL: the project's own, found as the
 * configuration is (path_find_own). ERR_NOT_FOUND where it is not there; messages name the line. */
error_code demo_tasks_read(task_list *list, const char *path, failure *fail);

#endif
