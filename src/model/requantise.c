/* requantise.c: rows decoded, encoded anew, and how far that put them off. */
#include "model/requantise.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/quantize.h"

enum { MAX_THREADS = 32 };

error_code requant_parse(const char *text, const tensor_type_info **head, failure *fail)
{
    static const char name[] = "head=";
    bool is_head = strncmp(text, name, strlen(name)) == 0;
    *head = is_head ? tensor_type_find_name(text + strlen(name)) : NULL;
    if (*head != NULL && tensor_can_encode((*head)->type) && (*head)->block_values > 1)
        return OK;
    *head = NULL;
    return failure_set(fail, ERR_INVALID,
                       "\"%.40s\" is none of head=q8_0, head=q6_k, head=q4_k, head=q4_0", text);
}

/* Rows [begin, end), by one thread. */
typedef struct share {
    const gguf *file;
    const gguf_tensor *from;
    const tensor_type_info *to;
    uint8_t *data;
    size_t begin, end;
    double error, squares; /* Σ(decoded − before)² and Σ before² */
    failure why;           /* code OK: it is done */
} share;

static size_t row_bytes(const tensor_type_info *type, size_t columns)
{
    return columns / type->block_values * type->block_bytes;
}

/* `read`: room for a row as the file has it. */
static error_code convert_row(share *s, size_t row, uint8_t *read, float *before, float *after)
{
    size_t columns = (size_t)s->from->dims[0], bytes = row_bytes(s->from->type, columns);
    uint8_t *to = s->data + row * row_bytes(s->to, columns);
    error_code code =
        gguf_fetch(s->file, (const uint8_t *)s->from->data + row * bytes, read, bytes, &s->why);
    if (code != OK)
        return code;
    s->from->type->decode(read, before, columns);
    if (!tensor_encode(s->to->type, before, to, columns))
        return failure_set(&s->why, ERR_UNSUPPORTED,
                           "a value that %s cannot express: not a number, infinite, or larger "
                           "than 65504",
                           s->to->name);
    s->to->decode(to, after, columns);
    for (size_t i = 0; i < columns; i++) {
        double x = (double)before[i], difference = (double)after[i] - x;
        s->error += difference * difference;
        s->squares += x * x;
    }
    return OK;
}

static void *convert_rows(void *context)
{
    share *s = context, local = *s; /* sums in no cache line that others write to */
    size_t columns = (size_t)s->from->dims[0];
    float *rows = reallocarray(NULL, 2 * columns, sizeof *rows);
    uint8_t *read = malloc(row_bytes(s->from->type, columns));
    error_code code = rows != NULL && read != NULL
                          ? OK
                          : failure_set(&local.why, ERR_MEMORY, "no memory for a row");
    for (size_t row = s->begin; row < s->end && code == OK; row++)
        code = convert_row(&local, row, read, rows, rows + columns);
    free(read);
    free(rows);
    *s = local;
    return NULL;
}

static error_code convert(requantised *out, const gguf *file, const gguf_tensor *t,
                          const tensor_type_info *to, failure *fail)
{
    pthread_t threads[MAX_THREADS];
    share shares[MAX_THREADS];
    bool started[MAX_THREADS] = {false};
    size_t n = (size_t)team_default_size(), rows = t->bytes / row_bytes(t->type, t->dims[0]);
    double error = 0, squares = 0;
    fail->code = OK;
    n = n < MAX_THREADS ? n : MAX_THREADS;
    for (size_t i = 0; i < n; i++) {
        shares[i] = (share){.file = file,
                            .from = t,
                            .to = to,
                            .data = out->data,
                            .begin = rows * i / n,
                            .end = rows * (i + 1) / n};
        if (i > 0) /* the first share is the caller's */
            started[i] = pthread_create(&threads[i], NULL, convert_rows, &shares[i]) == 0;
    }
    for (size_t i = 0; i < n; i++)
        if (!started[i])
            convert_rows(&shares[i]);
    for (size_t i = 0; i < n; i++) {
        if (started[i])
            pthread_join(threads[i], NULL);
        if (fail->code == OK)
            *fail = shares[i].why;
        error += shares[i].error;
        squares += shares[i].squares;
    }
    out->error = squares > 0 ? sqrt(error / squares) : 0;
    return fail->code;
}

static error_code check_fit(const gguf_tensor *t, const tensor_type_info *to, failure *fail)
{
    if (t->dims[0] % to->block_values != 0)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "its rows of %llu values are not whole blocks of %u%s",
                           (unsigned long long)t->dims[0], (unsigned)to->block_values,
                           t->dims[0] % 32 == 0 ? "; q8_0 and q4_0 can" : "");
    if (row_bytes(to, t->dims[0]) < row_bytes(t->type, t->dims[0]))
        return OK;
    return failure_set(fail, ERR_UNSUPPORTED, "as %s it takes no more bytes than as %s",
                       t->type->name, to->name);
}

error_code requantise(requantised *out, const gguf *file, const gguf_tensor *t,
                      const tensor_type_info *to, failure *fail)
{
    *out = (requantised){.memory = NULL};
    error_code code = check_fit(t, to, fail);
    if (code != OK)
        return code;
    size_t bytes = t->bytes / row_bytes(t->type, t->dims[0]) * row_bytes(to, t->dims[0]);
    code = weight_memory_create(&out->memory, bytes, fail);
    if (code != OK)
        return code;
    out->data = weight_memory_take(out->memory, bytes);
    code = convert(out, file, t, to, fail);
    if (code == OK)
        return OK;
    weight_memory_destroy(out->memory);
    out->memory = NULL;
    return code;
}
