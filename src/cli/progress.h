/* progress.h: one line on standard error, when it is a terminal, for work that takes a while. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>

typedef struct progress {
    const char *what; /* "quantizing" */
    bool on_terminal;
    double start; /* the first fraction, which says nothing of what is to go; below 0: none yet */
    double start_ms; /* when that was */
    int percent;     /* shown last; -1: nothing is */
} progress;

void progress_start(progress *p, const char *what);
void progress_show(progress *p, double fraction);
void progress_end(progress *p); /* clears the line */

/* A text instead of a bar, cut to the terminal's width: a line that wraps cannot be written over.
 * "" clears it. */
void progress_line(const char *text);

#endif
