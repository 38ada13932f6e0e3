/* exchange.c: what all that answer a request need of it: signals, work, headers, names. */
#include "server/exchange.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "server/loop.h"

/* A body up to here is read in some tens of milliseconds at most, tokenising included. */
#define SHORT_BODY ((size_t)64 << 10)
/* Without tokenising a body up to here is read in half a millisecond at most. */
#define LIGHT_BODY ((size_t)256 << 10)

void exchange_random_id(char *out, size_t digits)
{
    static const char names[] = "0123456789abcdef";
    static _Thread_local unsigned char bytes[256]; /* random ones, a call of the system for many */
    static _Thread_local size_t n_left;
    for (size_t i = 0; i < digits; i += 2) {
        if (n_left == 0 && getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
            memset(bytes, 0, sizeof bytes); /* an id is a name, not a secret */
        n_left = n_left == 0 ? sizeof bytes - 1 : n_left - 1;
        out[i] = names[bytes[n_left] >> 4];
        out[i + 1] = names[bytes[n_left] & 0xF];
    }
    out[digits] = '\0';
}

/* ---- signals -------------------------------------------------------------------------------- */

void exchange_signal(exchange *e, unsigned bits)
{
    pthread_mutex_lock(&e->lock);
    e->signals |= bits;
    loop_post(e->connection);
    pthread_mutex_unlock(&e->lock);
}

unsigned exchange_take_signals(exchange *e)
{
    pthread_mutex_lock(&e->lock);
    unsigned bits = e->signals;
    e->signals = bits & SIGNAL_STOPPING;
    pthread_mutex_unlock(&e->lock);
    if (bits & SIGNAL_WORKED)
        e->is_working = false;
    if (bits & SIGNAL_NEWS)
        e->has_news = true;
    return bits;
}

/* ---- work ----------------------------------------------------------------------------------- */

exchange *exchange_of(work *w)
{
    return (exchange *)((char *)w - offsetof(exchange, work));
}

bool exchange_is_light(const exchange *e)
{
    return e->body.length <= LIGHT_BODY && orchestra_is_light(e->server->orchestra);
}

bool exchange_give_work(exchange *e, void (*what)(work *w), api_error *error)
{
    e->work.run = what;
    e->work.is_begun = e->choices != NULL || e->embeddings != NULL;
    if (!e->work.is_begun)
        e->work.is_long = e->body.length > SHORT_BODY;
    e->is_working = true;
    if (workers_add(e->server->workers, &e->work) == OK)
        return true;
    e->is_working = false;
    return api_error_set(error, 503, NULL, "", "too many long prompts wait to be read just now");
}

bool exchange_withdraw_work(exchange *e)
{
    if (e->is_working)
        exchange_take_signals(e);
    if (e->is_working && workers_withdraw(e->server->workers, &e->work))
        e->is_working = false;
    return !e->is_working;
}

const char *exchange_header(void *e, const char *name)
{
    const exchange *x = e;
    return x->head != NULL ? http_head_value(x->head, name) : NULL;
}

static bool read_header(const http_header *h, request_text *out, api_error *error)
{
    if (strncasecmp(h->name, "x-a-io-", 7) != 0)
        return true;
    const char **to = strcasecmp(h->name + 7, "priority") == 0      ? &out->priority
                      : strcasecmp(h->name + 7, "deadline-ms") == 0 ? &out->deadline_ms
                                                                    : NULL;
    if (to == NULL)
        return api_error_set(
            error, 400, NULL, h->name,
            "unknown header '%s': x-a-io-priority and x-a-io-deadline-ms are known", h->name);
    if (*to != NULL)
        return api_error_set(error, 400, NULL, h->name, "the header '%s' was sent twice", h->name);
    *to = h->value;
    return true;
}

bool exchange_read_headers(const exchange *e, request_text *out, api_error *error)
{
    for (size_t i = 0; i < e->head->n_headers; i++)
        if (!read_header(&e->head->headers[i], out, error))
            return false;
    return true;
}

const char *exchange_model(const exchange *e, const char *name)
{
    const server_options *o = &e->server->options;
    if (name == NULL || strcmp(name, "auto") == 0)
        return name;
    if (orchestra_find_model(e->server->orchestra, name) != SIZE_MAX)
        return name;
    for (uint32_t i = 0; i < o->alias_names.n; i++)
        if (strcmp(o->alias_names.texts[i], name) == 0)
            return o->alias_models.texts[i];
    return o->unknown_model != NULL ? o->unknown_model : name;
}

void exchange_drop_body(exchange *e)
{
    atomic_fetch_sub(&e->server->body_bytes, e->body.length);
    buffer_free(&e->body);
}
