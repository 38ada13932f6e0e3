/*
 * sandbox.h: Python code that nobody has read, run in a process of its own.
 *
 * What it may not do (enforced by the kernel, whatever the Python code is): open a socket of any
 * kind, send signals, leave its process group, trace others or (where the kernel has Landlock) read
 * their memory and environment, set limits for them, start processes (unless the caller is
 * root and cannot become nobody), use more memory, file size or CPU time than the limits say, or
 * run longer than the time limit. What it still can: read every file that the user may read (as
 * nobody when the caller is root), write where that user may write, and look into its own
 * interpreter, where it might find out how to be called right. It is made for models' mistakes, not
 * for attackers.
 *
 * One python3 process is kept; each job is a fork of it with a working directory of its own, which
 * is removed afterwards. One thread at a time.
 */
#ifndef EVIDENCE_SANDBOX_H
#define EVIDENCE_SANDBOX_H

#include <jansson.h>
#include <stdbool.h>

#include "base/failure.h"

typedef struct sandbox sandbox;

typedef struct sandbox_limits {
    unsigned cpu_seconds; /* of a job: what decides, so that a busy machine makes nobody wrong */
    double wall_seconds;  /* for one that waits instead of computing */
    size_t memory_bytes, file_bytes;
} sandbox_limits;

sandbox_limits sandbox_defaults(void); /* 5 s, 30 s, 1 GiB, 16 MiB */

/* ERR_UNSUPPORTED where the kernel cannot confine a process; ERR_NOT_FOUND without python3. */
error_code sandbox_create(sandbox **out, const sandbox_limits *limits, failure *fail);
void sandbox_destroy(sandbox *s); /* NULL too */

/* Runs one job; its forms are those of the check type python (checker.h) with "answer", the code.
 * *passed: it ran to its end and every value was right. */
error_code sandbox_run(sandbox *s, const json_t *job, bool *passed, failure *fail);

#endif
