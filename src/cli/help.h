/*
 * help.h: what the commands say of themselves: the texts of src/cli/help, by name. --help prints
 * them, and tools/manual.py makes the manual page's list of commands of them (`make docs`).
 *
 * A line "@name" in a text stands for the lines of another one. Lines end with a newline, the last
 * one too.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

void help_print(const char *name, FILE *out);

#endif
