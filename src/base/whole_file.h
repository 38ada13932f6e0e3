/*
 * whole_file.h: files that are there whole or not at all.
 *
 *   whole_file_begin → whole_file_add in any number → whole_file_commit, or whole_file_abandon
 *
 * What is written goes to PATH.NUMBER.partial, which takes PATH's place when it is committed: until
 * then who reads PATH finds what was there before. NUMBER is drawn anew each time, so that two who
 * write to one PATH do not meet: the one who commits last is read. Whatever fails, that file is
 * removed; only a process that is killed leaves it. A link at PATH is replaced, not followed.
 *
 * Errors: ERR_INVALID when PATH is there and is not a regular file; ERR_MEMORY; ERR_IO for all that
 * the system refuses. A file is one thread's at a time; different files are any thread's.
 */
#ifndef BASE_WHOLE_FILE_H
#define BASE_WHOLE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/failure.h"

/* What a failure of the power may leave. */
typedef enum whole_file_care {
    WHOLE_FILE_UNSYNCED, /* the old file, the new one or an empty one: takes microseconds */
    WHOLE_FILE_SYNCED /* the old file or the new one, and the new one once commit has returned: it
                         waits for the disk */
} whole_file_care;

typedef struct whole_file whole_file;

/* `mode` as open takes it: the umask applies. `path` is not copied. */
error_code whole_file_begin(whole_file **out, const char *path, mode_t mode, failure *fail);
/* Takes the space of all `bytes` now, so that a full disk is found before hours of work; a file
 * system that cannot reserve is no error. */
error_code whole_file_reserve(whole_file *f, uint64_t bytes, failure *fail);
/* Appends. After a failure only whole_file_abandon is of use. */
error_code whole_file_add(whole_file *f, const void *data, size_t bytes, failure *fail);
/* Ends the file, also when it fails: `f` is gone then. */
error_code whole_file_commit(whole_file *f, whole_file_care care, failure *fail);
void whole_file_abandon(whole_file *f); /* NULL is allowed */

/* All of it in one. */
error_code whole_file_write(const char *path, const void *data, size_t bytes, mode_t mode,
                            whole_file_care care, failure *fail);

#endif
