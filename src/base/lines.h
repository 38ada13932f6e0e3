/*
 * lines.h: what getline leaves open: why it gave no line.
 */
#ifndef BASE_LINES_H
#define BASE_LINES_H

#include <stdio.h>

#include "base/failure.h"

/* Directly after getline returned -1: OK at the file's end; ERR_MEMORY for a line that there is no
 * memory for, which looks like the end otherwise; ERR_IO. `path` is for the message. */
error_code lines_ended(FILE *file, const char *path, failure *fail);

#endif
