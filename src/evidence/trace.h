/*
 * trace.h: labelled requests from a file of JSON lines.
 *
 * A line is one of
 *   {"id", "domain", "prompt" | "messages", "answer" | "check", …}: A-IO's own; also "task" (what
 *       scenarios mix; default: domain), "intent" (the true label; default: domain), "arrival_ms",
 *       "max_tokens"; "expected", "source" and what `a-io label` adds (label.h) are read over
 *   {"task_id", "prompt", "entry_point", "test", …}: HumanEval as published: code, run
 *   {"question", "answer": "… #### 72"}: GSM8K as published: math, number
 *   {"type": "decision", …}: a line of a decision log that keeps prompts (docs/decision-log.md):
 *       "kind" is what the probe said then, what is right is not known; "policy" lines are read
 *       over. Such a file holds nothing else
 * An "answer" without "check" means number for math, else exact. Other fields of the first form are
 * refused; published files may have more.
 */
#ifndef EVIDENCE_TRACE_H
#define EVIDENCE_TRACE_H

#include "evidence/task.h"

/* Appends the tasks of a file ("-": standard input). Messages name file and line. */
error_code trace_read(task_list *list, const char *path, failure *fail);

#endif
