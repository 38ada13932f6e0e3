/*
 * budget_file.h: what keys have spent, in a file, so that a restart does not begin anew. Inside the
 * server room only.
 *
 * One JSON object: {"spent": {NAME: {"since": SECONDS, "amount": AMOUNT}}}, by the keys' names,
 * with the begin of the window that it was spent in, as Unix time. The old file stays until the new
 * one is whole. It is written where something has changed since the last time: what a process that
 * is killed has not kept is what was spent since then. At its begin and end it waits for the disk,
 * in between it does not: if the power fails then, the file may be an older one, or empty. One
 * thread at a time.
 */
#ifndef SERVER_BUDGET_FILE_H
#define SERVER_BUDGET_FILE_H

#include "server/keys.h"

typedef struct budget_file budget_file;

/* Gives the holders of `k` (NULL too) what the file says that they have spent, and writes it, so
 * that one that cannot be written is known at once. A file that is not there says nothing, nor
 * does an empty one, which is a warning; ERR_CONFIG for one that says something else, ERR_IO. */
error_code budget_file_open(budget_file **out, const char *path, keys *k, failure *fail);
/* Writes what has changed; what cannot be written is a warning, once, and tried again. */
void budget_file_keep(budget_file *f, const keys *k);
/* Writes it a last time. `f` NULL too. */
void budget_file_close(budget_file *f, const keys *k);

#endif
