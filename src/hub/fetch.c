/* fetch.c: from a name to files in the cache. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/internal.h"

#define TRIES 4

void hub_files_free(hub_files *f)
{
    for (size_t i = 0; i < f->n_paths; i++)
        free(f->paths[i]);
    free(f->paths);
    *f = (hub_files){.n_paths = 0};
}

/* Room for n paths; those that are not there yet are NULL. */
static error_code start_files(hub_files *f, const char *commit, size_t n, failure *fail)
{
    *f = (hub_files){.n_paths = 0};
    snprintf(f->commit, sizeof f->commit, "%s", commit);
    f->paths = calloc(n, sizeof *f->paths);
    return f->paths != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for paths");
}

static error_code add_path(hub_files *f, const char *path, uint64_t bytes, failure *fail)
{
    f->paths[f->n_paths] = strdup(path);
    if (f->paths[f->n_paths] == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a path");
    f->n_paths++;
    f->bytes += bytes;
    return OK;
}

/* ---- the cache alone ------------------------------------------------------------------------ */

static error_code find_chosen(const hub_settings *s, const hub_name *name, const hub_listing *l,
                              hub_files *out, failure *fail)
{
    size_t *chosen, n;
    error_code code = hub_choose(l, name, &chosen, &n, fail);
    if (code == OK)
        code = start_files(out, l->commit, n, fail);
    for (size_t i = 0; code == OK && i < n; i++) {
        const hub_file *f = &l->files[chosen[i]];
        char path[PATH_MAX];
        code = cache_path(s, name, path, fail, "/snapshots/%s/%s", l->commit, f->name);
        if (code == OK)
            code = add_path(out, path, f->size, fail);
    }
    free(chosen);
    return code;
}

error_code hub_find(const hub_settings *s, const hub_name *name, hub_files *out, failure *fail)
{
    char commit[HUB_COMMIT_SIZE];
    hub_listing l;
    *out = (hub_files){.n_paths = 0};
    if (!cache_read_ref(s, name, commit))
        return failure_set(fail, ERR_NOT_FOUND, "the cache %s has nothing of %s at revision %s",
                           s->cache, name->repository, hub_revision(name));
    error_code code = cache_listing(s, name, commit, &l, fail);
    if (code != OK)
        return code;
    code = find_chosen(s, name, &l, out, fail);
    hub_listing_free(&l);
    if (code != OK)
        hub_files_free(out);
    return code == ERR_NOT_FOUND ? failure_prefix(fail, "the cache %s", s->cache) : code;
}

/* ---- one file -------------------------------------------------------------------------------- */

/* "W/" and quotes are the header's, not the tag's. */
static bool read_etag(const char *text, char etag[65])
{
    if (text == NULL)
        return false;
    text += strncmp(text, "W/", 2) == 0 ? 2 : 0;
    text += *text == '"';
    size_t length = strspn(text, "0123456789abcdef");
    if ((length != 64 && length != 40) || (text[length] != '"' && text[length] != '\0'))
        return false;
    memcpy(etag, text, length);
    etag[length] = '\0';
    return true;
}

/* Of a redirect only the hub's own header is the file's; its Content-Length is another's. */
static bool read_size(const http_call *call, uint64_t *size)
{
    const char *text = http_call_header(call, "X-Linked-Size");
    if (text == NULL && http_call_redirect(call) == NULL)
        text = http_call_header(call, "Content-Length");
    int used = 0;
    return text != NULL && strspn(text, "0123456789") == strlen(text) && strlen(text) < 19 &&
           sscanf(text, "%" SCNu64 "%n", size, &used) == 1 && text[used] == '\0';
}

/* What the hub knows of a file: its checksum, size, and the commit that it belongs to. The size in
 * `out` is the one of the repository's list, 0 where that has none. */
static error_code read_metadata(const http_call *call, const char *url, const char *commit,
                                hub_blob *out, failure *fail)
{
    const char *etag = http_call_header(call, "X-Linked-Etag");
    const char *of = http_call_header(call, "X-Repo-Commit");
    if (of == NULL || strcmp(of, commit) != 0)
        return failure_set(fail, ERR_FORMAT,
                           "%s is no hub's answer: it names no commit, or another", url);
    if (!read_etag(etag != NULL ? etag : http_call_header(call, "ETag"), out->etag))
        return failure_set(fail, ERR_FORMAT, "%s: the answer has no checksum", url);
    uint64_t size;
    bool is_said = read_size(call, &size);
    if ((!is_said && out->size == 0) || (is_said && out->size > 0 && size != out->size))
        return failure_set(fail, ERR_FORMAT, "%s: the answer has no size, or another than the list",
                           url);
    out->size = is_said ? size : out->size;
    return OK;
}

static error_code ask_metadata(hub_session *s, const char *url, const char *commit, hub_blob *out,
                               failure *fail)
{
    http_call *call;
    const hub_query q = {
        .url = url, .is_head = true, .limit = 1 << 16, .silence_ms = s->settings->answer_ms};
    error_code code = hub_ask_again(s, &q, TRIES, &call, fail);
    if (code == OK)
        code = read_metadata(call, url, commit, out, fail);
    http_call_release(call);
    return code;
}

static bool has_size(const char *path, uint64_t size)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode) && (uint64_t)info.st_size == size;
}

/* The blob, unless it is there or another process fetches it first, and the link to it. */
static error_code fetch_blob(hub_session *s, const hub_blob *b, const char *url,
                             const char *pointer, hub_files *out, failure *fail)
{
    char blob[PATH_MAX];
    int lock;
    error_code code = cache_path(s->settings, s->name, blob, fail, "/blobs/%s", b->etag);
    if (code == OK)
        code = cache_lock(s, b->etag, &lock, fail);
    if (code != OK)
        return code;
    if (!has_size(blob, b->size) && !has_size(pointer, b->size))
        code = hub_download(s, b, url, blob, &out->fetched, fail);
    if (code == OK && !has_size(pointer, b->size))
        code = cache_link(blob, b->etag, pointer, s->progress.file, fail);
    close(lock);
    return code;
}

/* Where the hub serves a file at a commit; the caller frees it. */
static char *file_url(const hub_session *s, const char *commit, const char *file)
{
    char *escaped = http_escape(file, true), *url = NULL;
    if (escaped != NULL && asprintf(&url, "%s/%s/resolve/%s/%s", s->settings->endpoint,
                                    s->name->repository, commit, escaped) < 0)
        url = NULL;
    free(escaped);
    return url;
}

static error_code fetch_missing(hub_session *s, const char *commit, uint64_t size,
                                const char *pointer, hub_files *out, failure *fail)
{
    hub_blob b = {.size = size};
    char *url = file_url(s, commit, s->progress.file);
    if (url == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an address");
    error_code code = ask_metadata(s, url, commit, &b, fail);
    s->progress.total = b.size;
    if (code == OK)
        code = fetch_blob(s, &b, url, pointer, out, fail);
    if (code == OK)
        code = add_path(out, pointer, b.size, fail);
    free(url);
    return code;
}

/* A commit never changes: a file that is there with the listed size needs no question. */
static error_code fetch_file(hub_session *s, const char *commit, const hub_file *f, hub_files *out,
                             failure *fail)
{
    char pointer[PATH_MAX];
    s->progress.file = f->name;
    s->progress.done = s->progress.total = 0;
    error_code code =
        cache_path(s->settings, s->name, pointer, fail, "/snapshots/%s/%s", commit, f->name);
    if (code == OK && f->size > 0 && has_size(pointer, f->size))
        return add_path(out, pointer, f->size, fail);
    return code == OK ? fetch_missing(s, commit, f->size, pointer, out, fail) : code;
}

/* ---- all of it ------------------------------------------------------------------------------- */

static error_code fetch_chosen(hub_session *s, const hub_listing *l, hub_files *out, failure *fail)
{
    size_t *chosen, n;
    error_code code = hub_choose(l, s->name, &chosen, &n, fail);
    if (code == OK)
        code = start_files(out, l->commit, n, fail);
    s->progress.n_parts = n;
    for (size_t i = 0; code == OK && i < n; i++) {
        s->progress.part = i + 1;
        code = fetch_file(s, l->commit, &l->files[chosen[i]], out, fail);
    }
    free(chosen);
    /* Only now: until all is there, the revision is what the cache had of it before. */
    return code == OK ? cache_write_ref(s->settings, s->name, l->commit, fail) : code;
}

error_code hub_fetch(const hub_settings *settings, const hub_name *name, hub_watcher watcher,
                     hub_files *out, failure *fail)
{
    hub_session s = {.settings = settings, .name = name, .watcher = watcher};
    hub_listing l = {.n = 0};
    hub_files cached;
    failure unheard;
    fail = fail != NULL ? fail : &unheard; /* what is tried again is told from here */
    *out = (hub_files){.n_paths = 0};
    /* Who has the files anyway does not wait for a hub that is away. */
    bool is_cached = hub_find(settings, name, &cached, NULL) == OK;
    hub_files_free(&cached);
    error_code code = http_client_create(&s.client, fail);
    if (code == OK)
        code = hub_ask_listing(&s, is_cached ? 1 : TRIES, &l, fail);
    if (code == OK)
        code = fetch_chosen(&s, &l, out, fail);
    if (code == OK)
        cache_tag(settings);
    hub_listing_free(&l);
    http_client_destroy(s.client);
    if (code != OK)
        hub_files_free(out);
    return code;
}
