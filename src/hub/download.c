/* download.c: one blob: what came before a cut is kept, and the whole is checked before it has its
 * name. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/path.h"
#include "hub/internal.h"

#define MAX_TRIES 6 /* in a row without one new byte */
#define PIECE ((size_t)1 << 20)
#define SLACK ((size_t)1 << 16) /* of a refusal's text, or of bytes too many, which are refused */

typedef struct download {
    hub_session *session;
    const hub_blob *blob;
    const char *url;
    char incomplete[PATH_MAX];
    int fd;
    uint64_t at; /* bytes that are there, and in the digest */
    digest *digest;
    bool begun;   /* the answer's first bytes were looked at */
    bool is_lost; /* what failed will fail again */
    failure why;
    uint64_t *fetched;
} download;

/* ---- writing ------------------------------------------------------------------------------ */

static bool is_sha256(const hub_blob *b)
{
    return strlen(b->etag) == 64;
}

static void start_over(download *d)
{
    d->at = 0;
    digest_start(d->digest);
    if (!is_sha256(d->blob)) {
        char head[32]; /* git hashes a blob's length with it, and the NUL */
        int n = snprintf(head, sizeof head, "blob %" PRIu64, d->blob->size);
        digest_add(d->digest, head, (size_t)n + 1);
    }
}

static bool lose(download *d, error_code code)
{
    d->is_lost = true;
    d->why.code = code;
    return false;
}

static bool write_piece(download *d, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = pwrite(d->fd, data, length, (off_t)d->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            bool is_full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
            failure_set(&d->why, ERR_IO, "cannot write %s: %s%s", d->incomplete, strerror(errno),
                        is_full ? "; what was fetched is kept: make room, and the same command "
                                  "goes on from there"
                                : "");
            return lose(d, ERR_IO);
        }
        digest_add(d->digest, data, (size_t)n);
        data += n;
        length -= (size_t)n;
        d->at += (uint64_t)n;
        *d->fetched += (uint64_t)n;
    }
    return true;
}

/* A server may send everything although it was asked for the rest. */
static bool look_at_head(download *d, const http_call *call)
{
    uint64_t from = 0, to, size;
    const char *range = http_call_header(call, "Content-Range");
    d->begun = true;
    if (http_call_status(call) == 200) {
        if (d->at > 0)
            start_over(d);
        return true;
    }
    if (range != NULL &&
        sscanf(range, "bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &from, &to, &size) == 3 &&
        from == d->at && size == d->blob->size)
        return true;
    failure_set(&d->why, ERR_IO, "%s: the server sends other bytes than it was asked for", d->url);
    return lose(d, ERR_IO);
}

static bool take_bytes(void *context, const http_call *call, const char *data, size_t length)
{
    download *d = context;
    if (!d->begun && !look_at_head(d, call))
        return false;
    if (length > d->blob->size - d->at) {
        failure_set(&d->why, ERR_IO, "%s: the server sends more than the %" PRIu64 " bytes it said",
                    d->url, d->blob->size);
        return lose(d, ERR_IO);
    }
    if (!write_piece(d, data, length))
        return false;
    d->session->progress.done = d->at;
    return true;
}

/* ---- fetching ------------------------------------------------------------------------------- */

static error_code check_room(const download *d, failure *fail)
{
    struct statvfs fs;
    uint64_t needed = d->blob->size - d->at;
    if (fstatvfs(d->fd, &fs) != 0 || fs.f_blocks == 0) /* some file systems do not say */
        return OK;
    uint64_t available = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (needed <= available)
        return OK;
    return failure_set(fail, ERR_IO, "no room for %s: %.1f MB are still to come, %.1f MB are free",
                       d->incomplete, (double)needed / 1e6, (double)available / 1e6);
}

/* One request for what is missing. */
static error_code fetch_rest(download *d, http_call **call, failure *fail)
{
    d->begun = false;
    const hub_query q = {.url = d->url,
                         .from = d->at,
                         .limit = (size_t)d->blob->size + SLACK,
                         .silence_ms = d->session->settings->stall_ms,
                         .data = take_bytes,
                         .context = d};
    error_code code = hub_ask(d->session, &q, call, fail);
    if (d->is_lost) {
        *fail = d->why;
        return d->why.code;
    }
    if (code == OK)
        code = hub_judge(d->session, *call, fail);
    if (code == OK && d->at < d->blob->size)
        code = failure_set(fail, ERR_IO, "%s: the connection ended early", d->url);
    return code;
}

/* Addresses that were signed for a while are asked for anew with every try. */
static error_code fetch_all(download *d, failure *fail)
{
    for (unsigned tries = 1; d->at < d->blob->size; tries++) {
        uint64_t before = d->at;
        http_call *call;
        error_code code = fetch_rest(d, &call, fail);
        if (code != OK && d->at > before)
            tries = 1;
        bool again = code != OK && !d->is_lost && tries < MAX_TRIES && hub_may_pass(call, code);
        if (again)
            code = hub_back_off(d->session, tries, call, fail);
        http_call_release(call);
        if (code != OK)
            return code;
    }
    return OK;
}

/* ---- before and after ------------------------------------------------------------------------ */

/* What an earlier try left, into the digest. */
static error_code take_up(download *d, failure *fail)
{
    struct stat info;
    char *piece = malloc(PIECE);
    start_over(d);
    error_code code = piece != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for a file");
    if (code == OK && fstat(d->fd, &info) != 0)
        code = failure_set(fail, ERR_IO, "cannot read %s: %s", d->incomplete, strerror(errno));
    if (code == OK && (uint64_t)info.st_size > d->blob->size) {
        info.st_size = 0; /* longer than the whole: it is of something else */
        if (ftruncate(d->fd, 0) != 0)
            code = failure_set(fail, ERR_IO, "cannot write %s: %s", d->incomplete, strerror(errno));
    }
    while (code == OK && d->at < (uint64_t)info.st_size) {
        ssize_t n = pread(d->fd, piece, PIECE, (off_t)d->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            code = failure_set(fail, ERR_IO, "cannot read %s: %s", d->incomplete,
                               n < 0 ? strerror(errno) : "it became shorter");
        else
            digest_add(d->digest, piece, (size_t)n);
        d->at += n > 0 ? (uint64_t)n : 0;
        if (code == OK)
            code = hub_watch(d->session, fail);
    }
    free(piece);
    d->session->progress.done = d->at;
    return code;
}

static error_code check(download *d, failure *fail)
{
    char sum[DIGEST_TEXT_SIZE];
    error_code code = digest_read_text(d->digest, sum, fail);
    if (code != OK)
        return code;
    if (strcmp(sum, d->blob->etag) == 0)
        return OK;
    unlink(d->incomplete);
    return failure_set(fail, ERR_FORMAT,
                       "%s: what came has the checksum %s, not %s as the hub says; it was removed",
                       d->url, sum, d->blob->etag);
}

/* On the disk before it has its name, so that a power cut leaves no half of a file with it. */
static error_code give_name(const download *d, const char *path, failure *fail)
{
    if (fsync(d->fd) == 0 && rename(d->incomplete, path) == 0)
        return OK;
    return failure_set(fail, ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

static error_code fetch_into(download *d, const char *path, failure *fail)
{
    error_code code = take_up(d, fail);
    if (code == OK)
        code = check_room(d, fail);
    if (code == OK)
        code = fetch_all(d, fail);
    if (code == OK)
        code = check(d, fail);
    return code == OK ? give_name(d, path, fail) : code;
}

error_code hub_download(hub_session *s, const hub_blob *b, const char *url, const char *path,
                        uint64_t *fetched, failure *fail)
{
    download d = {.session = s, .blob = b, .url = url, .fd = -1, .fetched = fetched};
    if (snprintf(d.incomplete, sizeof d.incomplete, "%s.incomplete", path) >= PATH_MAX)
        return failure_set(fail, ERR_TOO_LARGE, "a path in the hub's cache is too long");
    error_code code = path_make_parents(path, fail);
    if (code == OK)
        code = digest_create(&d.digest, is_sha256(b) ? DIGEST_SHA256 : DIGEST_SHA1, fail);
    if (code != OK)
        return code;
    d.fd = open(d.incomplete, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (d.fd < 0)
        code = failure_set(fail, ERR_IO, "cannot write %s: %s", d.incomplete, strerror(errno));
    else
        code = fetch_into(&d, path, fail);
    if (d.fd >= 0)
        close(d.fd);
    digest_destroy(d.digest);
    return code;
}
