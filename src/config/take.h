/* take.h: from what a file says to what a configuration holds: texts, paths, words. Inside the room
 * only. */
#ifndef CONFIG_TAKE_H
#define CONFIG_TAKE_H

#include "config/config.h"
#include "config/schema.h"

/* A value the file names replaces the default that stands in `to`. */
#define TAKE(to, from)                                                                             \
    do {                                                                                           \
        if ((from) != NULL)                                                                        \
            (to) = *(from);                                                                        \
    } while (0)

error_code config_no_memory(failure *fail);
/* Sets *to to a copy of `from`, or of `otherwise` when the file has none; false: no memory. */
bool config_copy_text(char **to, const char *from, const char *otherwise);
/* Relative paths are relative to the directory of the file that names them, "~" to the home. NULL:
 * no memory. */
char *config_resolve_path(const char *path, const char *file);
/* Sets *to to the resolved path, or to NULL when the file names none; false: no memory. */
bool config_copy_path(char **to, const char *path, const char *file);
/* "true" or "false"; false: neither. */
bool config_flag_parse(const char *text, bool *out);

#endif
