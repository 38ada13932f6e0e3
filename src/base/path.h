/* path.h: names of files, as people write them. */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include <limits.h>
#include <stdbool.h>

#include "base/failure.h"

/* A copy in which a leading "~" or "~/" is the home directory: HOME, else what the system
 * knows of the user. The caller frees it; NULL: no memory. */
char *path_expand_home(const char *path);

/* A file of the project's own, by its name from the root of the project: under the working
 * directory, under the program's place (its directory and the two above), or in ../share/a-io from
 * there, where it is installed. False: in none of them. */
bool path_find_own(const char *name, char out[PATH_MAX]);

bool path_is_file(const char *path); /* there, through links, and no directory */
bool path_is_folder(const char *path);

/* Makes the folder that holds `path`, and those above it, where they are not there. */
error_code path_make_parents(const char *path, failure *fail);

#endif
