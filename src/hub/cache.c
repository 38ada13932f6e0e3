/* cache.c: the folders that huggingface_hub keeps too:
 *
 *   models--OWNER--REPO/blobs/ETAG              contents by their checksum
 *                       refs/REVISION           the commit a branch or tag was at
 *                       snapshots/COMMIT/FILE   links to blobs
 *                       .no_exist/COMMIT/FILE   known not to be there
 *   .locks/models--OWNER--REPO/ETAG.lock        flock(2) of who fetches or removes the blob
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"
#include "base/whole_file.h"
#include "hub/internal.h"

#define MAX_DEPTH 16  /* of folders within a snapshot */
#define LOOK_MS 100.0 /* between two tries of a lock */

/* ---- paths -------------------------------------------------------------------------------- */

static error_code too_long(failure *fail)
{
    return failure_set(fail, ERR_TOO_LARGE, "a path in the hub's cache is too long");
}

/* "models--OWNER--REPO" */
static void folder_name(const char *repository, char name[HUB_REPOSITORY_SIZE + 16])
{
    int owner = (int)strcspn(repository, "/");
    snprintf(name, HUB_REPOSITORY_SIZE + 16, "models--%.*s--%s", owner, repository,
             repository + owner + 1);
}

error_code cache_repository(const hub_settings *s, const char *repository, char path[PATH_MAX],
                            failure *fail)
{
    char name[HUB_REPOSITORY_SIZE + 16];
    folder_name(repository, name);
    int n = snprintf(path, PATH_MAX, "%s/%s", s->cache, name);
    return n > 0 && n < PATH_MAX ? OK : too_long(fail);
}

error_code cache_path(const hub_settings *s, const hub_name *name, char path[PATH_MAX],
                      failure *fail, const char *tail, ...)
{
    error_code code = cache_repository(s, name->repository, path, fail);
    if (code != OK)
        return code;
    size_t used = strlen(path);
    va_list args;
    va_start(args, tail);
    int n = vsnprintf(path + used, PATH_MAX - used, tail, args);
    va_end(args);
    return n >= 0 && (size_t)n < PATH_MAX - used ? OK : too_long(fail);
}

void cache_tag(const hub_settings *s)
{
    static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n"
                               "# This folder is a cache: https://bford.info/cachedir/\n";
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/CACHEDIR.TAG", s->cache) >= PATH_MAX)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    ssize_t ignored = write(fd, text, sizeof text - 1); /* nothing depends on it */
    (void)ignored;
    close(fd);
}

/* ---- revisions ------------------------------------------------------------------------------ */

bool cache_read_ref(const hub_settings *s, const hub_name *name, char commit[HUB_COMMIT_SIZE])
{
    char path[PATH_MAX];
    if (hub_commit_is_valid(hub_revision(name))) {
        strcpy(commit, hub_revision(name));
        return true;
    }
    if (cache_path(s, name, path, NULL, "/refs/%s", hub_revision(name)) != OK)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, commit, HUB_COMMIT_SIZE - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n != HUB_COMMIT_SIZE - 1)
        return false;
    commit[n] = '\0';
    return hub_commit_is_valid(commit);
}

error_code cache_write_ref(const hub_settings *s, const hub_name *name, const char *commit,
                           failure *fail)
{
    char path[PATH_MAX], known[HUB_COMMIT_SIZE];
    if (cache_read_ref(s, name, known) && strcmp(known, commit) == 0)
        return OK;
    error_code code = cache_path(s, name, path, fail, "/refs/%s", hub_revision(name));
    if (code == OK)
        code = path_make_parents(path, fail);
    return code != OK
               ? code
               : whole_file_write(path, commit, strlen(commit), 0666, WHOLE_FILE_UNSYNCED, fail);
}

/* ---- what is there --------------------------------------------------------------------------- */

typedef struct walk {
    error_code (*each)(void *context, const char *name, failure *fail);
    void *context;
    char path[PATH_MAX]; /* of the folder being read, or of the file in it */
    size_t root;         /* where the relative name begins in it */
    int depth;
} walk;

static error_code walk_folder(walk *w, failure *fail);

/* w->path is that of an entry. */
static error_code walk_entry(walk *w, failure *fail)
{
    struct stat info;
    if (stat(w->path, &info) != 0)
        return OK; /* a broken link, or gone in the meantime */
    if (!S_ISDIR(info.st_mode))
        return w->each(w->context, w->path + w->root, fail);
    struct stat itself;
    if (w->depth == MAX_DEPTH || lstat(w->path, &itself) != 0 || S_ISLNK(itself.st_mode))
        return OK; /* links to folders are none of the cache's, and may lead in circles */
    w->depth++;
    error_code code = walk_folder(w, fail);
    w->depth--;
    return code;
}

static error_code walk_folder(walk *w, failure *fail)
{
    DIR *folder = opendir(w->path);
    size_t used = strlen(w->path);
    if (folder == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? OK
                   : failure_set(fail, ERR_IO, "cannot read %s: %s", w->path, strerror(errno));
    error_code code = OK;
    for (struct dirent *e; code == OK && (e = readdir(folder)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int n = snprintf(w->path + used, PATH_MAX - used, "/%s", e->d_name);
        if (n > 0 && (size_t)n < PATH_MAX - used)
            code = walk_entry(w, fail);
        w->path[used] = '\0';
    }
    closedir(folder);
    return code;
}

error_code cache_walk(const char *folder,
                      error_code (*each)(void *context, const char *name, failure *fail),
                      void *context, failure *fail)
{
    walk w = {.each = each, .context = context, .root = strlen(folder) + 1};
    if (w.root >= sizeof w.path)
        return too_long(fail);
    strcpy(w.path, folder);
    return walk_folder(&w, fail);
}

typedef struct snapshot {
    char folder[PATH_MAX];
    hub_listing *out;
} snapshot;

static error_code list_file(void *context, const char *name, failure *fail)
{
    snapshot *snap = context;
    char path[PATH_MAX];
    struct stat info;
    size_t length = strlen(name);
    if (length < 5 || strcasecmp(name + length - 5, ".gguf") != 0 || !hub_file_is_valid(name) ||
        snprintf(path, sizeof path, "%s/%s", snap->folder, name) >= PATH_MAX ||
        stat(path, &info) != 0)
        return OK;
    return hub_listing_add(snap->out, name, (uint64_t)info.st_size, fail);
}

error_code cache_listing(const hub_settings *s, const hub_name *name, const char *commit,
                         hub_listing *out, failure *fail)
{
    snapshot snap = {.out = out};
    *out = (hub_listing){.n = 0};
    error_code code = cache_path(s, name, snap.folder, fail, "/snapshots/%s", commit);
    if (code == OK)
        code = cache_walk(snap.folder, list_file, &snap, fail);
    if (code != OK) {
        hub_listing_free(out);
        return code;
    }
    strcpy(out->commit, commit);
    hub_listing_sort(out);
    return OK;
}

/* ---- links ----------------------------------------------------------------------------------- */

error_code cache_link(const char *blob, const char *etag, const char *pointer, const char *file,
                      failure *fail)
{
    char target[PATH_MAX] = "../../", temporary[PATH_MAX];
    size_t used = strlen(target);
    for (const char *at = file; (at = strchr(at, '/')) != NULL && used + 3 < sizeof target; at++)
        used += (size_t)sprintf(target + used, "../");
    int n = snprintf(target + used, sizeof target - used, "blobs/%s", etag);
    if (n < 0 || (size_t)n >= sizeof target - used ||
        snprintf(temporary, sizeof temporary, "%s.%d.tmp", pointer, (int)getpid()) >= PATH_MAX)
        return too_long(fail);
    error_code code = path_make_parents(pointer, fail);
    if (code != OK)
        return code;
    unlink(temporary);
    bool linked = symlink(target, temporary) == 0;
    if (linked ? rename(temporary, pointer) == 0
               : (errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) &&
                     rename(blob, pointer) == 0)
        return OK;
    code = failure_set(fail, ERR_IO, "cannot make the link %s: %s", pointer, strerror(errno));
    unlink(temporary);
    return code;
}

/* ---- locks ----------------------------------------------------------------------------------- */

static error_code open_lock(const hub_settings *s, const hub_name *name, const char *etag, int *fd,
                            failure *fail)
{
    char folder[HUB_REPOSITORY_SIZE + 16], path[PATH_MAX];
    folder_name(name->repository, folder);
    if (snprintf(path, sizeof path, "%s/.locks/%s/%s.lock", s->cache, folder, etag) >= PATH_MAX)
        return too_long(fail);
    error_code code = path_make_parents(path, fail);
    if (code != OK)
        return code;
    /* As huggingface_hub makes them: whoever shares the cache may lock. */
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0664);
    if (*fd < 0)
        return failure_set(fail, ERR_IO, "cannot open the lock %s: %s", path, strerror(errno));
    return OK;
}

error_code cache_try_lock(const hub_settings *s, const hub_name *name, const char *etag, int *fd,
                          failure *fail)
{
    for (;;) {
        struct stat info;
        error_code code = open_lock(s, name, etag, fd, fail);
        if (code != OK)
            return code;
        if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
            bool taken = errno == EWOULDBLOCK;
            code =
                failure_set(fail, taken ? ERR_BUSY : ERR_IO, "cannot lock %s of %s: %s", etag,
                            name->repository, taken ? "another process has it" : strerror(errno));
            close(*fd);
            return code;
        }
        if (fstat(*fd, &info) == 0 && info.st_nlink > 0)
            return OK;
        close(*fd); /* its file was removed before the lock was ours: it keeps nobody out */
    }
}

error_code cache_lock(hub_session *s, const char *etag, int *fd, failure *fail)
{
    for (;;) {
        error_code code = cache_try_lock(s->settings, s->name, etag, fd, fail);
        s->progress.is_waiting = code == ERR_BUSY;
        if (code != ERR_BUSY)
            return code;
        code = hub_watch(s, fail);
        if (code != OK)
            return code;
        nanosleep(&(struct timespec){.tv_nsec = (long)(LOOK_MS * 1e6)}, NULL);
    }
}
