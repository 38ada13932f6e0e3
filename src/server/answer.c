/* answer.c: what goes back to the client, head and body. */
#include "server/exchange.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"

#define REPLY_LIMIT ((size_t)64 << 20) /* bytes; far above what a context can hold */
#define HEAD_LIMIT ((size_t)16 << 10)
#define USUAL_HEAD 1023 /* bytes */
#define USUAL_BODY 2047

/* ---- the decision ---------------------------------------------------------------------------- */

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
    const run *first = e->choices[0].run;
    const plan *p = run_plan(first);
    const intent *i = run_intent(first);
    plan_headers *h = &e->plan;
    h->known = true;
    header_text(h->model, sizeof h->model, p->model);
    header_text(h->reason, sizeof h->reason, p->rule);
    h->fallback = fallback_name(p->fallback);
    if (p->lookup.mode == WISH_FIXED)
        snprintf(h->lookup, sizeof h->lookup, "%u", (unsigned)p->lookup.length);
    else
        snprintf(h->lookup, sizeof h->lookup, "%s", lookup_name(p->lookup.mode));
    snprintf(h->overhead_ms, sizeof h->overhead_ms, "%.2f", run_receipt(first)->overhead.total_ms);
    if (!isnan(p->success))
        snprintf(h->success, sizeof h->success, "%.4f", p->success);
    h->has_intent = i != NULL && i->known;
    if (h->has_intent) {
        header_text(h->intent, sizeof h->intent, i->labels[i->best]);
        snprintf(h->entropy, sizeof h->entropy, "%.4f", i->entropy);
    }
}

void exchange_note_cost(exchange *e)
{
    double cost = 0;
    for (size_t i = 0; i < e->n_choices; i++)
        cost += e->choices[i].run != NULL ? run_cost(e->choices[i].run) : 0;
    if (!isnan(cost))
        snprintf(e->plan.cost, sizeof e->plan.cost, "%.9g", cost);
}

/* ---- the head -------------------------------------------------------------------------------- */

static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return status < 500 ? "Refused" : "Failed";
}

/* Nothing is added once there was no memory: the buffer's length then stays 0. */
static void add_header(buffer *head, const char *name, const char *value)
{
    size_t n_name = strlen(name), n_value = strlen(value);
    if (head->length == 0)
        return;
    if (buffer_reserve(head, n_name + n_value + 4) != OK) {
        head->length = 0;
        return;
    }
    char *at = mempcpy(head->data + head->length, name, n_name);
    at = mempcpy(at, ": ", 2);
    at = mempcpy(at, value, n_value);
    at = mempcpy(at, "\r\n", 3); /* and the NUL */
    head->length = (size_t)(at - 1 - head->data);
}

/* The same for a second. */
static const char *date_now(void)
{
    static _Thread_local char date[64];
    static _Thread_local time_t written;
    time_t now = time(NULL);
    struct tm utc;
    if (now != written)
        strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    written = now;
    return date;
}

static void add_status(buffer *head, int status)
{
    if (buffer_reserve(head, USUAL_HEAD) != OK ||
        buffer_add_format(head, "HTTP/1.1 %d %s\r\n", status, reason_phrase(status)) != OK)
        head->length = 0;
    add_header(head, "Date", date_now());
}

static void add_plan_headers(const plan_headers *h, buffer *head)
{
    add_header(head, "x-a-io-model", h->model);
    add_header(head, "x-model-router-selected-model", h->model);
    add_header(head, "x-a-io-lookup", h->lookup);
    add_header(head, "x-a-io-reason", h->reason);
    add_header(head, "x-a-io-overhead-ms", h->overhead_ms);
    if (h->fallback != NULL)
        add_header(head, "x-a-io-fallback", h->fallback);
    if (h->has_intent) {
        add_header(head, "x-a-io-intent", h->intent);
        add_header(head, "x-a-io-entropy", h->entropy);
    }
    if (h->success[0] != '\0')
        add_header(head, "x-a-io-success", h->success);
    if (h->cost[0] != '\0')
        add_header(head, "x-a-io-cost", h->cost);
}

/* The engines' shortest estimate of when there is a place for one more. */
static double shortest_wait_s(orchestra *o)
{
    double shortest_s = 0;
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        backend_load status;
        backend_read_load(orchestra_backend(o, i), &status);
        if (i == 0 || status.retry_after_s < shortest_s)
            shortest_s = status.retry_after_s;
    }
    return shortest_s;
}

/* Whole seconds, rounded up: that is all the header can say. */
static void add_retry_after(const exchange *e, buffer *head)
{
    char text[32];
    double wait_s = e->retry_after_s > 0 ? e->retry_after_s : shortest_wait_s(e->server->orchestra);
    snprintf(text, sizeof text, "%.0f", wait_s > 1 ? ceil(wait_s) : 1.0);
    add_header(head, "Retry-After", text);
}

/* A client that was told so sends its next request on another connection. */
static void add_manners(const exchange *e, buffer *head)
{
    connection *c = e->connection;
    bool ends = atomic_load(&e->server->draining) || c->excess != EXCESS_NONE;
    c->closes = c->closes || ends || (e->status == 200 && e->manner.stream && !c->is_chunked);
    if (c->closes)
        add_header(head, "Connection", "close");
    else if (c->head.is_old)
        add_header(head, "Connection", "keep-alive");
}

static void begin_head(exchange *e, int status, buffer *head)
{
    buffer_init(head, HEAD_LIMIT + REPLY_LIMIT);
    e->status = status;
    add_status(head, status);
    add_header(head, "x-request-id", e->id);
    if (e->plan.known)
        add_plan_headers(&e->plan, head);
    if (e->cors_origin != NULL) {
        add_header(head, "Access-Control-Allow-Origin", e->cors_origin);
        add_header(head, "Access-Control-Expose-Headers", "*");
        add_header(head, "Vary", "Origin");
    }
    if (status == 429 || status == 503)
        add_retry_after(e, head);
    if (status == 504 ||
        e->is_final) /* OpenAI's libraries would try again, for somebody who waits no more */
        add_header(head, "x-should-retry", "false");
    if (status == 401)
        add_header(head, "WWW-Authenticate", "Bearer");
    if (status == 405)
        add_header(head, "Allow", e->methods);
    add_manners(e, head);
}

static bool send_answer(exchange *e, buffer *answer, bool streams)
{
    if (answer->length == 0) {
        buffer_free(answer);
        return false;
    }
    connection_send(e->connection, answer, streams);
    return true;
}

/* ---- answers --------------------------------------------------------------------------------- */

bool exchange_answer_text(exchange *e, int status, const char *type, buffer *text)
{
    return exchange_answer_with(e, status, type, "", text);
}

bool exchange_answer_with(exchange *e, int status, const char *type, const char *header_lines,
                          buffer *text)
{
    buffer answer;
    char length[32];
    bool is_asked = e->head == NULL || strcmp(e->head->method, "HEAD") != 0;
    begin_head(e, status, &answer);
    buffer_reserve(&answer, text->length + USUAL_HEAD); /* else it grows */
    add_header(&answer, "Content-Type", type);
    snprintf(length, sizeof length, "%zu", text->length);
    add_header(&answer, "Content-Length", length);
    if (answer.length > 0 && (buffer_add_format(&answer, "%s\r\n", header_lines) != OK ||
                              (is_asked && buffer_add(&answer, text->data, text->length) != OK)))
        answer.length = 0;
    buffer_free(text);
    return send_answer(e, &answer, false);
}

/* False: no memory even to say so; the connection is closed. */
static bool answer_written(exchange *e, int status, const json_out *o)
{
    if (o->code == OK && buffer_add_text(o->to, "\n") == OK)
        return exchange_answer_text(e, status, "application/json", o->to);
    buffer_free(o->to);
    return false;
}

static json_out begin_body(buffer *text)
{
    buffer_init(text, REPLY_LIMIT);
    buffer_reserve(text, USUAL_BODY); /* else it grows */
    return (json_out){.to = text};
}

bool exchange_answer(exchange *e, int status, json_t *body)
{
    buffer text;
    json_out o = begin_body(&text);
    json_out_value(&o, NULL, body);
    return answer_written(e, status, &o);
}

bool exchange_answer_whole(exchange *e)
{
    buffer text;
    if (e->api->write_whole == NULL)
        return exchange_answer(e, 200, e->api->whole(e));
    json_out o = begin_body(&text);
    e->api->write_whole(e, &o);
    return answer_written(e, 200, &o);
}

bool exchange_answer_error(exchange *e, const api_error *error)
{
    e->retry_after_s = error->retry_after_s;
    e->is_final = error->is_final;
    const api *a = e->api;
    return exchange_answer(e, error->status,
                           a->error != NULL ? a->error(error) : api_error_json(error));
}

bool exchange_answer_stream(exchange *e)
{
    buffer answer;
    begin_head(e, 200, &answer);
    add_header(&answer, "Content-Type", e->api->stream_type);
    add_header(&answer, "Cache-Control", "no-cache");
    add_header(&answer, "X-Accel-Buffering", "no");
    if (e->connection->is_chunked)
        add_header(&answer, "Transfer-Encoding", "chunked");
    if (answer.length > 0 && buffer_add_text(&answer, "\r\n") != OK)
        answer.length = 0;
    return send_answer(e, &answer, true);
}
