/* exchange_life.c: a request from its first header to its end: what its head decides, its body as
 * it comes, the line in the log. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/exchange.h"

#define REPLY_LIMIT ((size_t)64 << 20) /* bytes; far above what a context can hold */
#define FRAME_LIMIT ((size_t)64 << 10)
/* A body that is too large is read to its end up to here, because a client that is still writing
 * may never see an answer that comes with a closed connection. */
#define DISCARD_LIMIT ((size_t)32 << 20)

/* Echoes a client's own id when it can stand in a header and a log line. */
static void choose_id(exchange *e)
{
    const char *id = exchange_header(e, "x-request-id");
    size_t n = id == NULL ? 0 : strlen(id);
    bool sane = n > 0 && n < sizeof e->id;
    for (size_t i = 0; sane && i < n; i++)
        sane = isalnum((unsigned char)id[i]) || strchr("-_.:", id[i]) != NULL;
    if (sane) {
        memcpy(e->id, id, n + 1);
        return;
    }
    memcpy(e->id, "req-", 5);
    exchange_random_id(e->id + 4, 24);
}

static void note_path(exchange *e, const char *path)
{
    size_t n = 0;
    for (; path[n] != '\0' && n + 1 < sizeof e->path; n++)
        e->path[n] = path[n] < '!' || path[n] > '~' ? '?' : path[n];
    e->path[n] = '\0';
}

static void exchange_init(exchange *e, server *s, connection *c, const http_head *h)
{
    e->server = s;
    e->connection = c;
    e->api = &openai_chat_api;
    e->head = h;
    e->start_ms = clock_ms();
    e->created = (int64_t)time(NULL);
    note_path(e, h != NULL ? h->path : "?");
    buffer_init(&e->body, s->options.max_body_bytes);
    buffer_init(&e->out, REPLY_LIMIT);
    buffer_init(&e->frame, FRAME_LIMIT);
    pthread_mutex_init(&e->lock, NULL);
    choose_id(e);
}

static void enter_list(exchange *e)
{
    server *s = e->server;
    pthread_mutex_lock(&s->lock);
    e->next = s->exchanges;
    if (e->next != NULL)
        e->next->previous = e;
    s->exchanges = e;
    e->keys = keys_take(s->keys);
    if (s->stopping)
        e->signals = SIGNAL_STOPPING;
    pthread_mutex_unlock(&s->lock);
}

static void leave_list(exchange *e)
{
    server *s = e->server;
    pthread_mutex_lock(&s->lock);
    if (e->next != NULL)
        e->next->previous = e->previous;
    if (e->previous != NULL)
        e->previous->next = e->next;
    else
        s->exchanges = e->next;
    bool is_idle = s->exchanges == NULL && atomic_load(&s->draining);
    pthread_mutex_unlock(&s->lock);
    uint64_t one = 1;
    if (is_idle && write(s->idle_fd, &one, sizeof one) < 0)
        log_warn("cannot tell that the last request is done");
}

exchange *exchange_create(server *s, connection *c, const http_head *head)
{
    exchange *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    exchange_init(e, s, c, head);
    enter_list(e);
    return e;
}

void exchange_destroy(exchange *e)
{
    replies_destroy(e);
    embeddings_destroy(e->embeddings);
    exchange_drop_body(e);
    json_decref(e->computed);
    json_decref(e->conversation);
    json_decref(e->told);
    json_decref(e->texts);
    json_decref(e->items);
    leave_list(e); /* from here on no thread knows it */
    if (e->holder != NULL)
        key_holder_leave(e->holder);
    keys_release(e->keys);
    buffer_free(&e->out);
    buffer_free(&e->frame);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* The line's for programs; what is not known is left out. NULL: no memory. */
static json_t *log_parts(const exchange *e, int status)
{
    const plan_headers *p = &e->plan;
    bool has_reply = p->known && !e->decide_only;
    json_t *parts =
        json_pack("{s:s, s:s, s:s, s:i, s:f, s:s*, s:s*}", "id", e->id, "method",
                  e->head == NULL ? "?" : e->head->method, "path", e->path, "status", status, "ms",
                  clock_ms() - e->start_ms, "key", e->key_name[0] != '\0' ? e->key_name : NULL,
                  "user", e->manner.user[0] != '\0' ? e->manner.user : NULL);
    json_t *decision = p->known
                           ? json_pack("{s:s, s:s*, s:s, s:s, s:s}", "model", p->model, "intent",
                                       p->has_intent ? p->intent : NULL, "lookup", p->lookup,
                                       "reason", p->reason, "priority", priority_name(e->priority))
                           : NULL;
    json_t *tokens =
        has_reply ? json_pack("{s:I, s:I}", "prompt_tokens", (json_int_t)e->stats.prompt_tokens,
                              "reply_tokens", (json_int_t)e->stats.reply_tokens)
                  : NULL;
    if (parts != NULL && decision != NULL)
        json_object_update(parts, decision);
    if (parts != NULL && tokens != NULL)
        json_object_update(parts, tokens);
    json_decref(decision);
    json_decref(tokens);
    return parts;
}

void exchange_log(const exchange *e, bool completed)
{
    int status = completed ? e->status : 499;
    metrics_count_answer(e->server->metrics, status);
    latest_add(e->server->latest, e, status);
    /* Monitors and the page ask every second. */
    log_level level = e->route != NULL && e->route->is_open && status == 200 ? LOG_DEBUG : LOG_INFO;
    if (!log_tells(level))
        return;
    char decision[3 * HEADER_VALUE_SIZE + 160] = "", tokens[64] = "";
    if (e->plan.known)
        snprintf(decision, sizeof decision, " model=%s intent=%s lookup=%s reason=%s priority=%s",
                 e->plan.model, e->plan.has_intent ? e->plan.intent : "-", e->plan.lookup,
                 e->plan.reason, priority_name(e->priority));
    if (e->plan.known && !e->decide_only)
        snprintf(tokens, sizeof tokens, " prompt=%zu reply=%zu", e->stats.prompt_tokens,
                 e->stats.reply_tokens);
    json_t *parts = log_is_json() ? log_parts(e, status) : NULL;
    log_write_with(level, parts, "%s %s %s %d %.1f ms%s%s%s%s%s%s%s", e->id,
                   e->head == NULL ? "?" : e->head->method, e->path, status,
                   clock_ms() - e->start_ms, decision, tokens,
                   e->key_name[0] != '\0' ? " key=" : "", e->key_name,
                   e->manner.user[0] != '\0' ? " user=" : "", e->manner.user,
                   completed ? "" : " (client went away)");
}

/* ---- bodies ---------------------------------------------------------------------------------- */

/* Bodies that are still arriving: with every connection sending its largest one, memory would have
 * no bound worth the name. */
#define ALL_BODIES_MIN ((size_t)64 << 20)

static size_t all_bodies_limit(const server *s)
{
    size_t four = 4 * (size_t)s->options.max_body_bytes;
    return four > ALL_BODIES_MIN ? four : ALL_BODIES_MIN;
}

/* What a head says of a body's length, as far as it is believed before any of that came. */
#define BELIEVED_BODY ((size_t)1 << 20)

/* Before its first bytes; without memory it grows as it comes. */
static void believe_length(exchange *e)
{
    size_t said = e->head->length < BELIEVED_BODY ? e->head->length : BELIEVED_BODY;
    if (e->body.capacity == 0 && said <= e->server->options.max_body_bytes)
        buffer_reserve(&e->body, said);
}

static bool has_room(const exchange *e, size_t length)
{
    return atomic_load(&e->server->body_bytes) + length <= all_bodies_limit(e->server);
}

static error_code add_body(exchange *e, const char *data, size_t length)
{
    believe_length(e);
    if (!has_room(e, length))
        return ERR_BUSY;
    error_code code = buffer_add(&e->body, data, length);
    if (code == OK)
        atomic_fetch_add(&e->server->body_bytes, length);
    return code;
}

char *exchange_body_room(exchange *e, size_t most)
{
    if (e->has_early_error || !has_room(e, most))
        return NULL;
    believe_length(e);
    return buffer_reserve(&e->body, most) == OK ? e->body.data + e->body.length : NULL;
}

void exchange_body_came(exchange *e, size_t length)
{
    e->body.length += length;
    e->body.data[e->body.length] = '\0';
    atomic_fetch_add(&e->server->body_bytes, length);
}

/* The answer is given once the client has sent everything; what comes is dropped until then. */
static void refuse_body(exchange *e, error_code code)
{
    exchange_drop_body(e);
    if (e->has_early_error)
        return;
    e->has_early_error = true;
    if (code == ERR_TOO_LARGE)
        api_error_set(&e->early_error, 413, NULL, "", "the body is larger than %u bytes",
                      (unsigned)e->server->options.max_body_bytes);
    else
        api_error_set(&e->early_error, 503, NULL, "", "no memory for another body just now");
}

bool exchange_headers(exchange *e)
{
    e->has_early_error = !admit(e, &e->early_error);
    if (e->head->length > e->server->options.max_body_bytes)
        refuse_body(e, ERR_TOO_LARGE);
    return !e->has_early_error || (!e->head->expects_continue && e->head->length <= DISCARD_LIMIT);
}

bool exchange_body(exchange *e, const char *data, size_t length)
{
    error_code code = e->has_early_error ? OK : add_body(e, data, length);
    if (!e->has_early_error && code == OK)
        return true;
    refuse_body(e, code);
    e->discarded += length;
    return e->discarded <= DISCARD_LIMIT;
}

bool exchange_ready(exchange *e)
{
    return e->has_early_error ? exchange_answer_error(e, &e->early_error) : e->route->begin(e);
}

bool exchange_resume(exchange *e)
{
    return e->route->resume == NULL || e->route->resume(e);
}
