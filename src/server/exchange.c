#include "server/exchange.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

#define REPLY_LIMIT ((size_t)64 << 20) /* bytes; far above what a context can hold */

/* ---- life ----------------------------------------------------------------------------------- */

static void random_hex(char *out, size_t digits)
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        memset(bytes, 0, sizeof bytes); /* an id is a name, not a secret */
    for (size_t i = 0; i < digits / 2 && i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

/* Echoes a client's own id when it can stand in a header and a log line. */
static void choose_id(exchange *e)
{
    const char *id = MHD_lookup_connection_value(e->connection, MHD_HEADER_KIND, "x-request-id");
    size_t n = id == NULL ? 0 : strlen(id);
    bool sane = n > 0 && n < sizeof e->id;
    for (size_t i = 0; sane && i < n; i++)
        sane = isalnum((unsigned char)id[i]) || strchr("-_.:", id[i]) != NULL;
    if (sane) {
        memcpy(e->id, id, n + 1);
        return;
    }
    memcpy(e->id, "req-", 5);
    random_hex(e->id + 4, 24);
}

static void exchange_init(exchange *e, server *s, struct MHD_Connection *connection,
                          const char *path)
{
    e->server = s;
    e->connection = connection;
    e->start_ms = clock_ms();
    e->created = (int64_t)time(NULL);
    e->fd = -1;
    e->receiving = true;
    snprintf(e->path, sizeof e->path, "%s", path);
    for (char *c = e->path; *c != '\0'; c++)
        if (*c < '!' || *c > '~')
            *c = '?';
    buffer_init(&e->body, s->options.max_body_bytes);
    buffer_init(&e->text, REPLY_LIMIT);
    buffer_init(&e->out, REPLY_LIMIT);
    pthread_mutex_init(&e->lock, NULL);
    choose_id(e);
    memcpy(e->completion_id, "chatcmpl-", 10);
    random_hex(e->completion_id + 9, 24);
}

static void enter_list(exchange *e)
{
    server *s = e->server;
    pthread_mutex_lock(&s->lock);
    e->next = s->exchanges;
    if (e->next != NULL)
        e->next->previous = e;
    s->exchanges = e;
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

void exchange_destroy(exchange *e)
{
    exchange_release_run(e);
    if (e->fd >= 0)
        watch_remove(e->server->watch, e->fd);
    exchange_drop_body(e);
    leave_list(e); /* from here on no thread knows it */
    buffer_free(&e->text);
    buffer_free(&e->out);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

void exchange_log(const exchange *e, bool completed)
{
    int status = completed ? e->status : 499;
    metrics_count_answer(e->server->metrics, status);
    char decision[3 * HEADER_VALUE_SIZE + 160] = "", tokens[64] = "";
    if (e->plan.known)
        snprintf(decision, sizeof decision, " model=%s intent=%s lookup=%s reason=%s priority=%s",
                 e->plan.model, e->plan.has_intent ? e->plan.intent : "-", e->plan.lookup,
                 e->plan.reason, e->priority == SEQUENCE_BATCH ? "batch" : "interactive");
    if (e->plan.known && !e->decide_only)
        snprintf(tokens, sizeof tokens, " prompt=%zu reply=%zu", e->stats.prompt_tokens,
                 e->stats.reply_tokens);
    log_info("%s %s %s %d %.1f ms%s%s%s%s%s", e->id, e->method == NULL ? "?" : e->method, e->path,
             status, clock_ms() - e->start_ms, decision, tokens, e->user[0] != '\0' ? " user=" : "",
             e->user, completed ? "" : " (client went away)");
}

/* ---- signals -------------------------------------------------------------------------------- */

void exchange_signal(exchange *e, unsigned bits)
{
    pthread_mutex_lock(&e->lock);
    e->signals |= bits;
    if (e->suspended) {
        e->suspended = false;
        MHD_resume_connection(e->connection);
    }
    pthread_mutex_unlock(&e->lock);
}

unsigned exchange_take_signals(exchange *e)
{
    pthread_mutex_lock(&e->lock);
    unsigned bits = e->signals;
    e->signals = bits & (SIGNAL_GONE | SIGNAL_STOPPING);
    pthread_mutex_unlock(&e->lock);
    return bits;
}

bool exchange_suspend(exchange *e)
{
    pthread_mutex_lock(&e->lock);
    if (e->signals == 0) {
        e->suspended = true;
        MHD_suspend_connection(e->connection);
    }
    bool suspended = e->suspended;
    pthread_mutex_unlock(&e->lock);
    return suspended;
}

/* A request that is cut off in its body is libmicrohttpd's to notice, but once in some hundred
 * times it does not (0.9.75, epoll) before its idle timeout: closing our side wakes it up. */
static void on_watch(void *context, watch_event event)
{
    exchange *e = context;
    if (event == WATCH_TICK) {
        exchange_signal(e, SIGNAL_TICK);
        return;
    }
    exchange_signal(e, SIGNAL_GONE);
    pthread_mutex_lock(&e->lock);
    bool receiving = e->receiving;
    pthread_mutex_unlock(&e->lock);
    if (receiving)
        shutdown(e->fd, SHUT_RDWR);
}

void exchange_received(exchange *e)
{
    pthread_mutex_lock(&e->lock);
    e->receiving = false;
    pthread_mutex_unlock(&e->lock);
}

void exchange_wake(void *context)
{
    exchange_signal(context, SIGNAL_NEWS);
}

static error_code watch_client(exchange *e)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(e->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL)
        return ERR_INTERNAL;
    e->fd = info->connect_fd;
    error_code code = watch_add(e->server->watch, e->fd, on_watch, e, NULL);
    if (code != OK)
        e->fd = -1;
    return code;
}

exchange *exchange_create(server *s, struct MHD_Connection *connection, const char *path)
{
    exchange *e = calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    exchange_init(e, s, connection, path);
    enter_list(e);
    if (watch_client(e) == OK)
        return e;
    exchange_destroy(e);
    return NULL;
}

const char *exchange_header(void *e, const char *name)
{
    const exchange *x = e;
    return MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name);
}

void exchange_attach(exchange *e, run *r)
{
    e->run = r;
    atomic_fetch_add(&e->server->running, 1);
}

void exchange_release_run(exchange *e)
{
    if (e->run == NULL)
        return;
    if (e->plan.known) {
        e->stats = run_receipt(e->run)->reply;
        metrics_count_run(e->server->metrics, e->run);
    }
    run_release(e->run);
    e->run = NULL;
    atomic_fetch_sub(&e->server->running, 1);
}

/* ---- bodies --------------------------------------------------------------------------------- */

/* Bodies that are still arriving: with every connection sending its largest one, memory would have
 * no bound worth the name. */
#define ALL_BODIES_MIN ((size_t)64 << 20)

static size_t all_bodies_limit(const server *s)
{
    size_t four = 4 * (size_t)s->options.max_body_bytes;
    return four > ALL_BODIES_MIN ? four : ALL_BODIES_MIN;
}

error_code exchange_add_body(exchange *e, const char *data, size_t length)
{
    server *s = e->server;
    if (atomic_fetch_add(&s->body_bytes, length) + length > all_bodies_limit(s)) {
        atomic_fetch_sub(&s->body_bytes, length);
        return ERR_BUSY;
    }
    error_code code = buffer_add(&e->body, data, length);
    if (code != OK)
        atomic_fetch_sub(&s->body_bytes, length);
    return code;
}

void exchange_drop_body(exchange *e)
{
    atomic_fetch_sub(&e->server->body_bytes, e->body.length);
    buffer_free(&e->body);
}

/* ---- answers -------------------------------------------------------------------------------- */

/* A header's value has no room for control characters, and none that all agree on for others than
 * ASCII: those become %XX. */
static void header_text(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0' && n + 4 < size; c++) {
        if (*c >= ' ' && *c <= '~')
            out[n++] = (char)*c;
        else
            n += (size_t)snprintf(out + n, size - n, "%%%02X", *c);
    }
    out[n] = '\0';
}

void exchange_note_plan(exchange *e)
{
    const plan *p = run_plan(e->run);
    const intent *i = run_intent(e->run);
    plan_headers *h = &e->plan;
    h->known = true;
    header_text(h->model, sizeof h->model, p->model);
    header_text(h->reason, sizeof h->reason, p->rule);
    h->fallback = fallback_name(p->fallback);
    if (p->lookup.mode == LOOKUP_FIXED)
        snprintf(h->lookup, sizeof h->lookup, "%u", (unsigned)p->lookup.length);
    else
        snprintf(h->lookup, sizeof h->lookup, "%s", lookup_name(p->lookup.mode));
    snprintf(h->overhead_ms, sizeof h->overhead_ms, "%.2f", run_receipt(e->run)->overhead.total_ms);
    h->has_intent = i != NULL && i->known;
    if (h->has_intent) {
        header_text(h->intent, sizeof h->intent, i->labels[i->best]);
        snprintf(h->entropy, sizeof h->entropy, "%.4f", i->entropy);
    }
}

static void add_plan_headers(const plan_headers *h, struct MHD_Response *response)
{
    MHD_add_response_header(response, "x-a-io-model", h->model);
    MHD_add_response_header(response, "x-model-router-selected-model", h->model);
    MHD_add_response_header(response, "x-a-io-lookup", h->lookup);
    MHD_add_response_header(response, "x-a-io-reason", h->reason);
    MHD_add_response_header(response, "x-a-io-overhead-ms", h->overhead_ms);
    if (h->fallback != NULL)
        MHD_add_response_header(response, "x-a-io-fallback", h->fallback);
    if (h->has_intent) {
        MHD_add_response_header(response, "x-a-io-intent", h->intent);
        MHD_add_response_header(response, "x-a-io-entropy", h->entropy);
    }
}

/* The engines' shortest estimate of when there is a place for one more. */
static double shortest_wait_s(orchestra *o)
{
    double shortest_s = 0;
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        engine_status status;
        backend_read_status(orchestra_backend(o, i), &status);
        if (i == 0 || status.retry_after_s < shortest_s)
            shortest_s = status.retry_after_s;
    }
    return shortest_s;
}

/* Whole seconds, rounded up: that is all the header can say. */
static void add_retry_after(const exchange *e, struct MHD_Response *response)
{
    char text[32];
    double wait_s = e->retry_after_s > 0 ? e->retry_after_s : shortest_wait_s(e->server->orchestra);
    snprintf(text, sizeof text, "%.0f", wait_s > 1 ? ceil(wait_s) : 1.0);
    MHD_add_response_header(response, "Retry-After", text);
}

enum MHD_Result exchange_queue(exchange *e, int status, struct MHD_Response *response)
{
    MHD_add_response_header(response, "x-request-id", e->id);
    if (e->plan.known)
        add_plan_headers(&e->plan, response);
    if (status == 429 || status == 503)
        add_retry_after(e, response);
    if (status == 504) /* OpenAI's libraries would try again, for somebody who waits no more */
        MHD_add_response_header(response, "x-should-retry", "false");
    if (status == 401)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    if (status == 405)
        MHD_add_response_header(response, "Allow", e->route->method);
    if (atomic_load(&e->server->draining))
        MHD_add_response_header(response, "Connection", "close");
    e->status = status;
    enum MHD_Result result = MHD_queue_response(e->connection, (unsigned)status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result exchange_answer_text(exchange *e, int status, const char *type, buffer *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text->length, text->data, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        buffer_free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    return exchange_queue(e, status, response);
}

enum MHD_Result exchange_answer(exchange *e, int status, json_t *body)
{
    buffer text;
    buffer_init(&text, REPLY_LIMIT);
    if (json_write(&text, body) != OK || buffer_add_text(&text, "\n") != OK) {
        buffer_free(&text);
        return MHD_NO; /* no memory even to say so: the connection is closed */
    }
    return exchange_answer_text(e, status, "application/json", &text);
}

enum MHD_Result exchange_answer_error(exchange *e, const api_error *error)
{
    e->retry_after_s = error->retry_after_s;
    return exchange_answer(e, error->status, api_error_json(error));
}
