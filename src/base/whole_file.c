/* whole_file.c: a partial file beside the old one, whose place it takes by a rename. */
#include "base/whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct whole_file {
    const char *path; /* the caller's */
    char *partial;
    int fd;
};

static void forget(whole_file *f)
{
    free(f->partial);
    free(f);
}

static error_code refused(const char *path, failure *fail)
{
    return failure_set(fail, ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

error_code whole_file_begin(whole_file **out, const char *path, mode_t mode, failure *fail)
{
    struct stat there; /* as root a device would be replaced, too */
    if (stat(path, &there) == 0 && !S_ISREG(there.st_mode))
        return failure_set(fail, ERR_INVALID, "%s: is there and is not a regular file", path);
    whole_file *f = calloc(1, sizeof *f);
    uint32_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number || f == NULL ||
        asprintf(&f->partial, "%s.%08" PRIx32 ".partial", path, number) < 0) {
        free(f);
        return failure_set(fail, ERR_MEMORY, "no memory to write %s", path);
    }
    f->path = path;
    f->fd = open(f->partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (f->fd < 0) {
        error_code code = refused(path, fail);
        forget(f);
        return code;
    }
    *out = f;
    return OK;
}

error_code whole_file_reserve(whole_file *f, uint64_t bytes, failure *fail)
{
    if (fallocate(f->fd, 0, 0, (off_t)bytes) == 0 || (errno != ENOSPC && errno != EFBIG))
        return OK;
    return failure_set(fail, ERR_IO, "cannot write %s: its %" PRIu64 " bytes: %s", f->path, bytes,
                       strerror(errno));
}

error_code whole_file_add(whole_file *f, const void *data, size_t bytes, failure *fail)
{
    for (const char *at = data; bytes > 0;) {
        ssize_t n = write(f->fd, at, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return refused(f->path, fail);
        at += n;
        bytes -= (size_t)n;
    }
    return OK;
}

/* A file system that cannot do this for folders is no error: the data is on the disk. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? strdup(".") : strndup(path, (size_t)(slash - path) + 1);
    int fd = folder != NULL ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

/* Closed before it is renamed: a disk of another machine may only then say that it is full. */
error_code whole_file_commit(whole_file *f, whole_file_care care, failure *fail)
{
    bool whole = care != WHOLE_FILE_SYNCED || fsync(f->fd) == 0;
    whole = close(f->fd) == 0 && whole && rename(f->partial, f->path) == 0;
    error_code code = whole ? OK : refused(f->path, fail);
    if (!whole)
        unlink(f->partial);
    else if (care == WHOLE_FILE_SYNCED)
        sync_folder(f->path);
    forget(f);
    return code;
}

void whole_file_abandon(whole_file *f)
{
    if (f == NULL)
        return;
    close(f->fd);
    unlink(f->partial);
    forget(f);
}

error_code whole_file_write(const char *path, const void *data, size_t bytes, mode_t mode,
                            whole_file_care care, failure *fail)
{
    whole_file *f;
    error_code code = whole_file_begin(&f, path, mode, fail);
    if (code != OK)
        return code;
    code = whole_file_add(f, data, bytes, fail);
    if (code == OK)
        return whole_file_commit(f, care, fail);
    whole_file_abandon(f);
    return code;
}
