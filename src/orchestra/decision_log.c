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
    json_t *head;
    pthread_mutex_t lock; /* guards the rest */
    int fd;
    size_t bytes; /* of the file */
    bool is_losing;
};

/* Appends one line; false: it is lost (errno says why). */
static bool append(decision_log *l, const buffer *line)
{
    ssize_t n = write(l->fd, line->data, line->length);
    if (n > 0)
        l->bytes += (size_t)n;
    if (n >= 0 && (size_t)n < line->length)
        errno = ENOSPC; /* a part of a line: what reads the log passes over it */
    return n == (ssize_t)line->length;
}

static error_code write_json(buffer *out, json_t *value)
{
    error_code code = json_write_exact(out, value);
    return code == OK ? buffer_add_text(out, "\n") : code;
}

static bool append_json(decision_log *l, json_t *value)
{
    buffer line;
    buffer_init(&line, MAX_LINE);
    errno = ENOMEM;
    bool written = write_json(&line, value) == OK && append(l, &line);
    buffer_free(&line);
    return written;
}

/* A file that has no line yet begins with the head. */
static error_code open_file(decision_log *l, failure *fail)
{
    l->fd = open(l->config->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    struct stat s;
    if (l->fd < 0 || fstat(l->fd, &s) != 0)
        return failure_set(fail, ERR_IO, "decisions.file: cannot open %s: %s", l->config->file,
                           strerror(errno));
    l->bytes = (size_t)s.st_size;
    if (!append_json(l, json_incref(l->head)))
        return failure_set(fail, ERR_IO, "decisions.file: cannot write to %s: %s", l->config->file,
                           strerror(errno));
    return OK;
}

error_code decision_log_open(decision_log **out, const config_decisions *c, json_t *head,
                             failure *fail)
{
    *out = NULL;
    decision_log *l = calloc(1, sizeof *l);
    if (l == NULL || head == NULL) {
        free(l);
        json_decref(head);
        return failure_set(fail, ERR_MEMORY, "no memory for the decision log");
    }
    *l = (decision_log){.config = c, .head = head, .fd = -1};
    pthread_mutex_init(&l->lock, NULL);
    error_code code = open_file(l, fail);
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
    json_decref(l->head);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* FILE.n; n 0 is the file itself. The caller frees it; NULL: no memory. */
static char *numbered(const decision_log *l, unsigned n)
{
    char *name = NULL;
    int length = n == 0 ? asprintf(&name, "%s", l->config->file)
                        : asprintf(&name, "%s.%u", l->config->file, n);
    return length < 0 ? NULL : name;
}

static void rotate(decision_log *l)
{
    close(l->fd);
    l->fd = -1;
    if (l->config->keep == 0)
        unlink(l->config->file);
    for (unsigned n = l->config->keep; n > 0; n--) {
        char *from = numbered(l, n - 1), *to = numbered(l, n);
        if (from != NULL && to != NULL)
            rename(from, to); /* where there are fewer yet, it fails */
        free(from);
        free(to);
    }
    failure fail;
    if (open_file(l, &fail) != OK)
        log_warn("%s", fail.text);
}

static void note_loss(decision_log *l, bool written)
{
    if (!written && !l->is_losing)
        log_warn("decision log: cannot write to %s: %s; lines are lost until it works again",
                 l->config->file, strerror(errno));
    l->is_losing = !written;
}

void decision_log_write(decision_log *l, json_t *value)
{
    buffer line;
    buffer_init(&line, MAX_LINE);
    error_code code = write_json(&line, value);
    pthread_mutex_lock(&l->lock);
    if (l->fd >= 0 && l->bytes > 0 && l->bytes + line.length > (size_t)l->config->max_mb * 1000000)
        rotate(l);
    failure fail;
    if (l->fd < 0)
        open_file(l, &fail); /* the file could not be opened before */
    errno = ENOMEM;
    note_loss(l, code == OK && l->fd >= 0 && append(l, &line));
    pthread_mutex_unlock(&l->lock);
    buffer_free(&line);
}

bool decision_log_keeps_text(const decision_log *l)
{
    return l->config->prompts == CONFIG_PROMPTS_TEXT;
}
