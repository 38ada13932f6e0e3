/* output.c: holding back what is no whole character yet or may become a stop string. */
#include "engine/output.h"

#include <stdlib.h>
#include <string.h>

#define HELD_LIMIT                                                                                 \
    ((size_t)64 * 1024) /* far above the longest stop string plus the longest token */
#define HELD_START 1024

error_code output_init(output *o, const tokenizer *t, const char *const *stops, size_t n_stops,
                       failure *fail)
{
    *o = (output){0};
    buffer_init(&o->held, HELD_LIMIT);
    text_decoder_init(&o->decoder, t, false);
    if (n_stops > OUTPUT_MAX_STOPS)
        return failure_set(fail, ERR_INVALID, "%zu stop strings, at most %d are allowed", n_stops,
                           OUTPUT_MAX_STOPS);
    for (size_t i = 0; i < n_stops; i++) {
        size_t length = strlen(stops[i]);
        if (length == 0 || length > OUTPUT_MAX_STOP_BYTES)
            return failure_set(fail, ERR_INVALID, "a stop string has %zu bytes, must be 1 to %d",
                               length, OUTPUT_MAX_STOP_BYTES);
        o->stops[i] = strdup(stops[i]);
        if (o->stops[i] == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for a stop string");
        o->n_stops++;
    }
    if (buffer_reserve(&o->held, HELD_START) != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for a reply's text");
    return OK;
}

void output_free(output *o)
{
    for (size_t i = 0; i < o->n_stops; i++)
        free(o->stops[i]);
    buffer_free(&o->held);
}

static const char *first_stop(output *o)
{
    const char *first = NULL;
    for (size_t i = 0; i < o->n_stops; i++) {
        const char *at = memmem(o->held.data, o->held.length, o->stops[i], strlen(o->stops[i]));
        if (at == NULL || (first != NULL && at >= first))
            continue;
        first = at;
        o->found = o->stops[i];
    }
    return first;
}

/* Bytes at the end of the held text that may still become a stop string. */
static size_t undecided(const output *o)
{
    size_t most = 0;
    for (size_t i = 0; i < o->n_stops; i++) {
        size_t n = strlen(o->stops[i]) - 1;
        if (n > o->held.length)
            n = o->held.length;
        while (n > most && memcmp(o->held.data + o->held.length - n, o->stops[i], n) != 0)
            n--;
        if (n > most)
            most = n;
    }
    return most;
}

static error_code show(output *o, size_t n, buffer *shown)
{
    error_code code = buffer_add(shown, o->held.data, n);
    if (code == OK && n > 0) {
        memmove(o->held.data, o->held.data + n, o->held.length - n);
        o->held.length -= n;
    }
    return code;
}

error_code output_push(output *o, int32_t token, buffer *shown, bool *stopped)
{
    *stopped = false;
    error_code code = text_decoder_push(&o->decoder, token, &o->held);
    if (code != OK || o->held.length == 0)
        return code;
    const char *stop = first_stop(o);
    if (stop != NULL) {
        *stopped = true;
        return show(o, (size_t)(stop - o->held.data), shown);
    }
    return show(o, o->held.length - undecided(o), shown);
}

error_code output_finish(output *o, buffer *shown)
{
    return show(o, o->held.length, shown);
}
