/* partial_files.h: whether anything is left of a file that was to be whole (base/whole_file.h). */
#ifndef TESTS_PARTIAL_FILES_H
#define TESTS_PARTIAL_FILES_H

#include <glob.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>

/* How many partial files of `path` there are. */
static inline size_t partial_files(const char *path)
{
    char pattern[PATH_MAX];
    glob_t found = {0};
    snprintf(pattern, sizeof pattern, "%s.*.partial", path);
    glob(pattern, 0, NULL, &found);
    size_t n = found.gl_pathc;
    globfree(&found);
    return n;
}

#endif
