/* decision_log.c: whole lines appended, files moved up when they are full. */
#include "orchestra/decision_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"

#define MAX_LINE ((size_t)256 << 20)

struct decision_log {
    const config_decisions *config;
    pthread_mutex_t lock; /* guards the rest */
    buffer head;          /* the last one in the file, when has_head */
    int fd;               /* -1: could not be opened */
    size_t bytes;         /* of the file */
    bool has_head;        /* no decision stands in a file without one of this process */
    bool is_torn;         /* the file does not end with a newline */
    size_t lost;          /* lines since one was written; the first was warned of */
    const char *failed;   /* what could not be done, for that warning */
};

static error_code write_json(buffer *out, json_t *value)
{
    error_code code = json_write_exact(out, value);
    return code == OK ? buffer_add_text(out, "\n") : code;
}

/* ---- appending ------------------------------------------------------------------------------- */

/* Takes back a part of a line. A file that somebody else wrote to as well keeps it. */
static void take_back(decision_log *l, size_t written)
{
    int why = errno;
    struct stat s;
    bool ours = fstat(l->fd, &s) == 0 && (size_t)s.st_size == l->bytes + written;
    if (written > 0 && !(ours && ftruncate(l->fd, (off_t)l->bytes) == 0)) {
        l->bytes += written;
        l->is_torn = true;
    }
    errno = why;
}

/* All of it or nothing, where the file system lets us; false: errno says why. */
static bool append(decision_log *l, const char *data, size_t length)
{
    size_t written = 0;
    while (written < length) {
        ssize_t n = write(l->fd, data + written, length - written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            l->failed = "write to";
            take_back(l, written);
            return false;
        }
        written += (size_t)n;
    }
    l->bytes += length;
    l->is_torn = data[length - 1] != '\n';
    return true;
}

/* What a crash or another writer left unfinished ends here and costs no other line. */
static bool append_line(decision_log *l, const buffer *line)
{
    return (!l->is_torn || append(l, "\n", 1)) && append(l, line->data, line->length);
}

static size_t size_limit(const decision_log *l)
{
    return (size_t)l->config->max_mb * 1000000;
}

static bool has_room(const decision_log *l, size_t length)
{
    return l->bytes + (l->is_torn ? 1 : 0) + length <= size_limit(l);
}

/* ---- files ----------------------------------------------------------------------------------- */

/* FILE.n; n 0 is the file itself. The caller frees it; NULL: no memory. */
static char *numbered(const decision_log *l, unsigned n)
{
    char *name = NULL;
    int length = n == 0 ? asprintf(&name, "%s", l->config->file)
                        : asprintf(&name, "%s.%u", l->config->file, n);
    return length < 0 ? NULL : name;
}

static bool ends_within_line(int fd, size_t bytes)
{
    char last = '\n';
    return bytes > 0 && pread(fd, &last, 1, (off_t)bytes - 1) == 1 && last != '\n';
}

/* A file of other kinds is refused: a FIFO would hold up every request, and none can be kept to its
 * size. Opening does not wait for a FIFO's reader. */
static error_code open_file(decision_log *l, failure *fail)
{
    const char *name = l->config->file;
    struct stat s;
    l->failed = "open";
    int fd = open(name, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0 || fstat(fd, &s) != 0) {
        failure_set(fail, ERR_IO, "decisions.file: cannot open %s: %s", name, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_IO;
    }
    if (!S_ISREG(s.st_mode)) {
        close(fd);
        errno = EINVAL;
        return failure_set(fail, ERR_IO, "decisions.file: %s is not a regular file", name);
    }
    l->fd = fd;
    l->bytes = (size_t)s.st_size;
    l->has_head = false;
    l->is_torn = ends_within_line(fd, l->bytes);
    return OK;
}

/* Moves FILE.(n − 1) to FILE.n; where there are fewer yet, there is nothing to move. */
static bool move_up(const decision_log *l, unsigned n)
{
    char *from = numbered(l, n - 1), *to = numbered(l, n);
    bool moved = from != NULL && to != NULL && (rename(from, to) == 0 || errno == ENOENT);
    int why = errno;
    free(from);
    free(to);
    errno = why;
    return moved;
}

/* Begins a file anew. False: the full one stays as it is, and errno says why. */
static bool rotate(decision_log *l)
{
    bool moved = true;
    for (unsigned n = l->config->keep; moved && n > 0; n--)
        moved = move_up(l, n);
    if (moved && l->config->keep == 0)
        moved = unlink(l->config->file) == 0 || errno == ENOENT;
    if (!moved) {
        l->failed = "rename";
        return false;
    }
    close(l->fd);
    l->fd = -1;
    return open_file(l, NULL) == OK;
}

/* The file's last head is this one. */
static bool has_head(const decision_log *l, const buffer *head)
{
    return l->has_head && l->head.length == head->length &&
           memcmp(l->head.data, head->data, head->length) == 0;
}

static bool append_head(decision_log *l, const buffer *head)
{
    buffer_clear(&l->head);
    l->has_head = false;
    errno = ENOMEM;
    l->has_head = buffer_add(&l->head, head->data, head->length) == OK && append_line(l, head);
    return l->has_head;
}

/* Makes the log ready for a line of that length: open, within its size, with its head. */
static bool make_ready(decision_log *l, const buffer *head, size_t length)
{
    if (l->fd < 0 && open_file(l, NULL) != OK)
        return false;
    if (has_head(l, head) && !has_room(l, length) && !rotate(l))
        return false;
    if (has_head(l, head))
        return true;
    bool ready = l->bytes == 0 || has_room(l, head->length + length) || rotate(l);
    return ready && append_head(l, head);
}

/* ---- the log --------------------------------------------------------------------------------- */

error_code decision_log_open(decision_log **out, const config_decisions *c, const buffer *head,
                             failure *fail)
{
    *out = NULL;
    decision_log *l = calloc(1, sizeof *l);
    if (l == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the decision log");
    *l = (decision_log){.config = c, .fd = -1};
    buffer_init(&l->head, MAX_LINE);
    pthread_mutex_init(&l->lock, NULL);
    error_code code = open_file(l, fail);
    if (code == OK && !make_ready(l, head, 0))
        code = failure_set(fail, ERR_IO, "decisions.file: cannot %s %s: %s", l->failed, c->file,
                           strerror(errno));
    if (code != OK)
        decision_log_close(l);
    else
        *out = l;
    return code;
}

void decision_log_close(decision_log *l)
{
    if (l == NULL)
        return;
    if (l->fd >= 0)
        close(l->fd);
    buffer_free(&l->head);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static void note_result(decision_log *l, bool written)
{
    const char *file = l->config->file;
    if (!written && l->lost++ == 0)
        log_warn("decision log: cannot %s %s: %s; lines are lost until it works again", l->failed,
                 file, strerror(errno));
    if (written && l->lost > 0) {
        log_warn("decision log: %s is written again; %zu lines were lost", file, l->lost);
        l->lost = 0;
    }
}

/* A line that no file of this size has room for is lost, too. */
static bool write_line(decision_log *l, const buffer *head, const buffer *line)
{
    errno = EFBIG;
    return head->length + line->length <= size_limit(l) && make_ready(l, head, line->length) &&
           append_line(l, line);
}

void decision_log_write(decision_log *l, const buffer *head, json_t *value)
{
    buffer line;
    buffer_init(&line, MAX_LINE);
    error_code code = write_json(&line, value);
    pthread_mutex_lock(&l->lock);
    l->failed = "write to";
    errno = ENOMEM;
    note_result(l, code == OK && write_line(l, head, &line));
    pthread_mutex_unlock(&l->lock);
    buffer_free(&line);
}

bool decision_log_keeps_text(const decision_log *l)
{
    return l->config->prompts == CONFIG_PROMPTS_TEXT;
}
