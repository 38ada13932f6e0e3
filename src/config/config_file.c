/* config_file.c: a configuration from its file, and where that is looked for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/path.h"
#include "config/config.h"

#define MAX_FILE_BYTES (1u << 20)
#define DEFAULT_FILE "config/demo.yaml"

static error_code load_file(config **out, const char *path, failure *fail)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    buffer text;
    buffer_init(&text, MAX_FILE_BYTES);
    error_code code = buffer_read_fd(&text, fd, fail);
    close(fd);
    if (code == OK)
        code = config_parse(out, text.data != NULL ? text.data : "", text.length, path, fail);
    else
        failure_prefix(fail, "%s", path);
    buffer_free(&text);
    return code;
}

error_code config_load(config **out, const char *path, failure *fail)
{
    char found[PATH_MAX];
    *out = NULL;
    if (path != NULL)
        return load_file(out, path, fail);
    if (!path_find_own(DEFAULT_FILE, found))
        return failure_set(fail, ERR_NOT_FOUND,
                           "no configuration: " DEFAULT_FILE " is neither under the working "
                           "directory nor beside the program; give one with --config");
    return load_file(out, found, fail);
}
