/* result_file.c: a file that is replaced by a rename when it is complete. */
#include "cli/result_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool write_all(const char *path, const buffer *text)
{
    FILE *file = fopen(path, "w");
    bool written = file != NULL && fwrite(text->data, 1, text->length, file) == text->length;
    if (file != NULL && fclose(file) != 0)
        written = false;
    return written;
}

error_code result_file_write(const char *path, const buffer *text, failure *fail)
{
    char *partial = NULL;
    if (asprintf(&partial, "%s.new", path) < 0)
        return failure_set(fail, ERR_MEMORY, "no memory for %s", path);
    error_code code = OK;
    if (!write_all(partial, text) || rename(partial, path) != 0) {
        code = failure_set(fail, ERR_IO, "cannot write %s: %s", path, strerror(errno));
        unlink(partial);
    }
    free(partial);
    return code;
}
