#include "base/lines.h"

#include <errno.h>
#include <string.h>

error_code lines_ended(FILE *file, const char *path, failure *fail)
{
    int why = errno;
    if (feof(file) != 0 && ferror(file) == 0)
        return OK;
    return failure_set(fail, ferror(file) == 0 && why == ENOMEM ? ERR_MEMORY : ERR_IO, "%s: %s",
                       path, strerror(why));
}
