/* lines.c: telling the end of a file from a line that could not be read. */
#include "base/lines.h"

#include <errno.h>
#include <string.h>

error_code lines_ended(FILE *file, const char *path, failure *fail)
{
    int why = errno;
    if (feof(file) != 0 && ferror(file) == 0)
        return OK;
    return failure_set(fail, error_code_of_errno(why), "%s: %s", path, strerror(why));
}
