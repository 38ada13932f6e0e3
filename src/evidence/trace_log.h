/*
 * trace_log.h: inside the evidence room only: the requests of a decision log (docs/decision-log.md)
 * as tasks.
 */
#ifndef EVIDENCE_TRACE_LOG_H
#define EVIDENCE_TRACE_LOG_H

#include <stdbool.h>

#include "evidence/task.h"

bool trace_is_logged(const json_t *line); /* a line of a decision log */

/* Adds the request of a decision; a policy line has none. What is right is not known. arrival_ms is
 * Unix time until trace_log_settle. */
error_code trace_log_add(task_list *list, const json_t *line, failure *fail);

/* Puts the tasks from `first` on into the order in which they arrived, the first at 0: a log is in
 * the order in which they ended. */
void trace_log_settle(task_list *list, size_t first);

#endif
