/* remove.c: taking models out of the cache. A blob goes with the last link to it. */
#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "hub/internal.h"

typedef struct removal {
    const hub_settings *settings;
    const hub_name *name;
    uint64_t freed;
    size_t files; /* of the name that were there */
} removal;

static error_code cannot_remove(const char *path, failure *fail)
{
    return failure_set(fail, ERR_IO, "cannot remove %s: %s", path, strerror(errno));
}

/* Bytes count when they are a file's own, and no other name keeps them. */
static error_code remove_file(removal *r, const char *path, failure *fail)
{
    struct stat info;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? OK : cannot_remove(path, fail);
    if (unlink(path) != 0)
        return cannot_remove(path, fail);
    if (S_ISREG(info.st_mode) && info.st_nlink == 1)
        r->freed += (uint64_t)info.st_size;
    return OK;
}

/* ---- whole folders -------------------------------------------------------------------------- */

static uint64_t tree_bytes; /* nftw(3) has no context; removals are one thread's work */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)where;
    if (remove(path) != 0)
        return -1;
    if (kind == FTW_F && info->st_nlink == 1)
        tree_bytes += (uint64_t)info->st_size;
    return 0;
}

static error_code remove_tree(removal *r, const char *path, failure *fail)
{
    tree_bytes = 0;
    int n = nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    r->freed += tree_bytes;
    return n == 0 || errno == ENOENT ? OK : cannot_remove(path, fail);
}

/* Nobody may be fetching into a folder that goes. */
static error_code check_idle(removal *r, failure *fail)
{
    char path[PATH_MAX];
    error_code code = cache_path(r->settings, r->name, path, fail, "/blobs");
    DIR *folder = code == OK ? opendir(path) : NULL;
    for (struct dirent *e; code == OK && folder != NULL && (e = readdir(folder)) != NULL;) {
        char *dot = strchr(e->d_name, '.');
        int fd;
        if (dot == NULL || dot == e->d_name || strcmp(strrchr(dot, '.'), ".incomplete") != 0)
            continue;
        *dot = '\0';
        code = cache_try_lock(r->settings, r->name, e->d_name, &fd, fail);
        if (code == OK)
            close(fd);
    }
    if (folder != NULL)
        closedir(folder);
    return code == ERR_BUSY ? failure_set(fail, ERR_BUSY, "%s is being fetched by another process",
                                          r->name->repository)
                            : code;
}

static error_code remove_repository(removal *r, failure *fail)
{
    char path[PATH_MAX], locks[PATH_MAX];
    error_code code = cache_repository(r->settings, r->name->repository, path, fail);
    if (code == OK && !path_is_folder(path))
        return OK;
    if (code == OK)
        code = check_idle(r, fail);
    if (code == OK)
        code = remove_tree(r, path, fail);
    r->files += code == OK;
    if (code == OK && snprintf(locks, sizeof locks, "%s/.locks%s", r->settings->cache,
                               strrchr(path, '/')) < PATH_MAX)
        code = remove_tree(r, locks, fail);
    return code;
}

/* ---- single files --------------------------------------------------------------------------- */

/* The checksum that a snapshot's link leads to; false: it is no link to a blob. */
static bool read_link(const char *pointer, char etag[65])
{
    char target[PATH_MAX];
    ssize_t n = readlink(pointer, target, sizeof target - 1);
    if (n <= 0)
        return false;
    target[n] = '\0';
    const char *base = strrchr(target, '/');
    size_t length = base != NULL ? strlen(base + 1) : 0;
    if (length == 0 || length > 64 || strspn(base + 1, "0123456789abcdef") != length)
        return false;
    strcpy(etag, base + 1);
    return true;
}

typedef struct search {
    const char *folder, *etag;
    bool found;
} search;

static error_code look_for_link(void *context, const char *name, failure *fail)
{
    (void)fail;
    search *s = context;
    char path[PATH_MAX], etag[65];
    if (snprintf(path, sizeof path, "%s/%s", s->folder, name) < PATH_MAX && read_link(path, etag))
        s->found = s->found || strcmp(etag, s->etag) == 0;
    return OK;
}

static error_code remove_blob(removal *r, const char *etag, failure *fail)
{
    char folder[PATH_MAX], blob[PATH_MAX];
    error_code code = cache_path(r->settings, r->name, folder, fail, "/snapshots");
    if (code == OK)
        code = cache_path(r->settings, r->name, blob, fail, "/blobs/%s", etag);
    search s = {.folder = folder, .etag = etag};
    if (code == OK)
        code = cache_walk(folder, look_for_link, &s, fail);
    return code == OK && !s.found ? remove_file(r, blob, fail) : code;
}

static error_code remove_pointer(removal *r, const char *pointer, failure *fail)
{
    char etag[65];
    int lock;
    r->files++;
    if (!read_link(pointer, etag))
        return remove_file(r, pointer, fail);
    error_code code = cache_try_lock(r->settings, r->name, etag, &lock, fail);
    if (code != OK)
        return code;
    code = remove_file(r, pointer, fail);
    if (code == OK)
        code = remove_blob(r, etag, fail);
    close(lock);
    return code;
}

/* ---- what becomes empty ---------------------------------------------------------------------- */

/* A reference to a commit of which nothing is left. */
static error_code remove_ref(void *context, const char *name, failure *fail)
{
    removal *r = context;
    hub_name other = *r->name;
    char commit[HUB_COMMIT_SIZE], path[PATH_MAX];
    if (!hub_revision_is_valid(name))
        return OK;
    strcpy(other.revision, name);
    if (!cache_read_ref(r->settings, &other, commit))
        return OK;
    error_code code = cache_path(r->settings, r->name, path, fail, "/snapshots/%s", commit);
    if (code != OK || path_is_folder(path))
        return code;
    code = cache_path(r->settings, r->name, path, fail, "/refs/%s", name);
    return code == OK ? remove_file(r, path, fail) : code;
}

/* Folders within a snapshot that are empty, from `path` upwards to that of all snapshots. */
static void remove_empty_folders(char *path, size_t root)
{
    for (char *slash; strlen(path) > root && rmdir(path) == 0; *slash = '\0')
        slash = strrchr(path, '/');
}

static error_code tidy(removal *r, const char *commit, failure *fail)
{
    static const struct {
        const char *folder, *end;
    } leftovers[] = {{".no_exist", ""}, {"trees", ".json"}};
    char path[PATH_MAX];
    error_code code = cache_path(r->settings, r->name, path, fail, "/snapshots/%s", commit);
    if (code != OK || path_is_folder(path))
        return code;
    for (size_t i = 0; code == OK && i < sizeof leftovers / sizeof leftovers[0]; i++) {
        code = cache_path(r->settings, r->name, path, fail, "/%s/%s%s", leftovers[i].folder, commit,
                          leftovers[i].end);
        if (code == OK)
            code = remove_tree(r, path, fail);
    }
    if (code == OK)
        code = cache_path(r->settings, r->name, path, fail, "/refs");
    return code == OK ? cache_walk(path, remove_ref, r, fail) : code;
}

/* Of a repository with nothing left: its empty folders. */
static void remove_shell(const removal *r)
{
    static const char *const folders[] = {"/snapshots", "/blobs", "/refs",
                                          "/.no_exist", "/trees", ""};
    char path[PATH_MAX];
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
        if (cache_path(r->settings, r->name, path, NULL, "%s", folders[i]) == OK)
            rmdir(path);
}

/* ---- names ----------------------------------------------------------------------------------- */

typedef struct snapshot_removal {
    removal *removal;
    char folder[PATH_MAX];
} snapshot_removal;

static error_code remove_named(void *context, const char *name, failure *fail)
{
    snapshot_removal *s = context;
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", s->folder, name) >= PATH_MAX)
        return OK;
    error_code code = remove_pointer(s->removal, path, fail);
    if (code == OK)
        remove_empty_folders(dirname(path), strlen(s->folder) - HUB_COMMIT_SIZE);
    return code;
}

static error_code remove_chosen(snapshot_removal *s, const char *commit, failure *fail)
{
    removal *r = s->removal;
    hub_listing l;
    size_t *chosen = NULL, n = 0;
    error_code code = cache_listing(r->settings, r->name, commit, &l, fail);
    if (code != OK)
        return code;
    code = hub_choose(&l, r->name, &chosen, &n, fail);
    bool is_absent = code == ERR_NOT_FOUND; /* another revision may have it */
    for (size_t i = 0; code == OK && i < n; i++)
        code = remove_named(s, l.files[chosen[i]].name, fail);
    free(chosen);
    hub_listing_free(&l);
    return is_absent ? OK : code;
}

static error_code remove_from_snapshot(removal *r, const char *commit, failure *fail)
{
    snapshot_removal s = {.removal = r};
    bool all = r->name->file[0] == '\0' && r->name->quant[0] == '\0';
    error_code code = cache_path(r->settings, r->name, s.folder, fail, "/snapshots/%s", commit);
    if (code == OK)
        code = all ? cache_walk(s.folder, remove_named, &s, fail) : remove_chosen(&s, commit, fail);
    return code == OK ? tidy(r, commit, fail) : code;
}

static error_code remove_from_all(removal *r, failure *fail)
{
    char path[PATH_MAX];
    error_code code = cache_path(r->settings, r->name, path, fail, "/snapshots");
    DIR *folder = code == OK ? opendir(path) : NULL;
    for (struct dirent *e; code == OK && folder != NULL && (e = readdir(folder)) != NULL;)
        if (hub_commit_is_valid(e->d_name))
            code = remove_from_snapshot(r, e->d_name, fail);
    if (folder != NULL)
        closedir(folder);
    return code;
}

error_code hub_remove(const hub_settings *s, const hub_name *name, uint64_t *freed, failure *fail)
{
    removal r = {.settings = s, .name = name};
    char commit[HUB_COMMIT_SIZE], text[HUB_NAME_SIZE];
    error_code code = OK;
    if (name->revision[0] != '\0') {
        if (cache_read_ref(s, name, commit))
            code = remove_from_snapshot(&r, commit, fail);
    } else if (name->file[0] == '\0' && name->quant[0] == '\0') {
        code = remove_repository(&r, fail);
    } else {
        code = remove_from_all(&r, fail);
    }
    if (r.files > 0)
        remove_shell(&r);
    *freed = r.freed;
    if (code != OK || r.files > 0)
        return code;
    hub_name_text(name, text);
    return failure_set(fail, ERR_NOT_FOUND, "the cache %s has no %s; a-io models lists what it has",
                       s->cache, text);
}
