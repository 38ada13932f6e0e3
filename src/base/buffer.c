/* buffer.c: growing by doubling, never beyond the limit, and reading whole files into a buffer. */
#include "base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void buffer_init(buffer *b, size_t limit)
{
    *b = (buffer){.limit = limit};
}

void buffer_free(buffer *b)
{
    free(b->data);
    b->data = NULL;
    b->length = b->capacity = 0;
}

void buffer_clear(buffer *b)
{
    b->length = 0;
    if (b->data != NULL)
        b->data[0] = '\0';
}

error_code buffer_reserve(buffer *b, size_t extra)
{
    if (extra > b->limit || b->length > b->limit - extra)
        return ERR_TOO_LARGE;
    size_t need = b->length + extra + 1;
    if (need <= b->capacity)
        return OK;
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity < need)
        capacity += capacity / 2;
    char *data = realloc(b->data, capacity);
    if (data == NULL)
        return ERR_MEMORY;
    data[b->length] = '\0';
    b->data = data;
    b->capacity = capacity;
    return OK;
}

error_code buffer_add(buffer *b, const void *data, size_t length)
{
    error_code code = buffer_reserve(b, length);
    if (code != OK)
        return code;
    if (length > 0)
        memcpy(b->data + b->length, data, length);
    b->length += length;
    b->data[b->length] = '\0';
    return OK;
}

error_code buffer_add_text(buffer *b, const char *text)
{
    return buffer_add(b, text, strlen(text));
}

error_code buffer_add_format(buffer *b, const char *format, ...)
{
    va_list args;
    size_t room = b->capacity - b->length;
    va_start(args, format);
    int n = vsnprintf(room > 0 ? b->data + b->length : NULL, room, format, args);
    va_end(args);
    if (n < 0)
        return ERR_INTERNAL;
    error_code code = buffer_reserve(b, (size_t)n);
    if (code == OK && (size_t)n >= room) { /* it did not fit */
        va_start(args, format);
        vsnprintf(b->data + b->length, (size_t)n + 1, format, args);
        va_end(args);
    }
    if (code == OK)
        b->length += (size_t)n;
    else if (room > 0)
        b->data[b->length] = '\0';
    return code;
}

error_code buffer_read_fd(buffer *b, int fd, failure *fail)
{
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return failure_set(fail, ERR_IO, "cannot read: %s", strerror(errno));
        if (n == 0)
            return OK;
        error_code code = buffer_add(b, chunk, (size_t)n);
        if (code != OK)
            return failure_set(fail, code,
                               code == ERR_MEMORY ? "no memory for more than %zu bytes of input"
                                                  : "input is larger than %zu bytes",
                               code == ERR_MEMORY ? b->length : b->limit);
    }
}

error_code buffer_read_file(buffer *b, const char *path, failure *fail)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    error_code code = buffer_read_fd(b, fd, fail);
    close(fd);
    return code == OK ? OK : failure_prefix(fail, "%s", path);
}

error_code token_list_reserve(token_list *list, size_t extra)
{
    if (extra <= list->capacity - list->length)
        return OK;
    size_t capacity = list->capacity < 64 ? 64 : list->capacity;
    while (capacity < list->length + extra)
        capacity += capacity / 2;
    if (capacity > SIZE_MAX / sizeof *list->ids)
        return ERR_TOO_LARGE;
    int32_t *ids = reallocarray(list->ids, capacity, sizeof *ids);
    if (ids == NULL)
        return ERR_MEMORY;
    list->ids = ids;
    list->capacity = capacity;
    return OK;
}

error_code token_list_add(token_list *list, int32_t id)
{
    return token_list_append(list, &id, 1);
}

error_code token_list_append(token_list *list, const int32_t *ids, size_t n)
{
    error_code code = token_list_reserve(list, n);
    if (code != OK)
        return code;
    if (n > 0)
        memcpy(list->ids + list->length, ids, n * sizeof *ids);
    list->length += n;
    return OK;
}

void token_list_drop(token_list *list, size_t n)
{
    list->length -= n;
    if (list->length > 0)
        memmove(list->ids, list->ids + n, list->length * sizeof *list->ids);
}

void token_list_free(token_list *list)
{
    free(list->ids);
    *list = (token_list){0};
}
