/* remote_attempt.c: a request at one replica: how it is sent, what comes back, how it ended. */
#include <stdio.h>
#include <stdlib.h>

#include "backend/remote.h"
#include "base/clock.h"

#define AGENT "a-io"
#define ANSWER_LIMIT ((size_t)1 << 30)   /* bytes of one answer */
#define REFUSAL_LIMIT ((size_t)64 << 10) /* of one that is no stream; the rest is not read */

/* ---- what comes back ------------------------------------------------------------------------- */

static void on_event(void *context, const char *data, size_t length)
{
    remote_answer_take(context, data, length);
}

/* Something came. From the first byte on silence is another time, which may be much shorter. */
static void note_news(remote_attempt *a)
{
    a->last_ms = clock_ms();
    if (a->first_ms > 0)
        return;
    a->first_ms = a->last_ms;
    remote_lane_look_by(a->call->lane, remote_attempt_end_ms(a));
}

/* A body that is no stream: all of it in the time of one silence, or it would drip for ever. */
static bool take_refusal(remote_attempt *a, const char *data, size_t length)
{
    if (a->first_ms == 0)
        note_news(a);
    return buffer_add(&a->refusal, data, length) == OK;
}

static bool on_data(void *context, const char *data, size_t length)
{
    remote_attempt *a = context;
    remote_call *c = a->call;
    if (http_call_status(a->http) != 200)
        return take_refusal(a, data, length);
    note_news(a);
    if (c->winner == NULL)
        c->winner = a;
    if (c->winner != a)
        return false;
    pthread_mutex_lock(&c->lock);
    error_code code = event_stream_feed(&c->events, data, length, on_event, c);
    if (code != OK && c->fault.code == OK)
        failure_set(&c->fault, code == ERR_MEMORY ? code : ERR_IO,
                    "the server of model '%s' sent an event without an end", c->backend->base.name);
    bool is_sound = c->fault.code == OK;
    pthread_mutex_unlock(&c->lock);
    if (c->has_text)
        remote_call_wake(c);
    return is_sound;
}

static void on_done(void *context)
{
    remote_attempt *a = context;
    remote_lane_note_done(a->call->lane, a);
}

/* ---- life ------------------------------------------------------------------------------------ */

static char *url_of(const remote_attempt *a)
{
    char *url;
    const char *path = a->call->is_chat ? "chat/completions" : "completions";
    return asprintf(&url, "%s/%s", a->server, path) < 0 ? NULL : url;
}

error_code remote_attempt_send(remote_attempt *a, failure *fail)
{
    remote_call *c = a->call;
    remote_lane_add(c->lane, a);
    char *url = url_of(a);
    if (url == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a request");
    const http_call_options options = {.url = url,
                                       .json = c->body.data,
                                       .json_length = c->body.length,
                                       .keeps_json = true,
                                       .agent = AGENT,
                                       .bearer = c->backend->key,
                                       .ca_file = c->backend->config->remote.ca_file,
                                       .connect_ms = c->backend->config->remote.connect_ms,
                                       .limit = ANSWER_LIMIT,
                                       .data = on_data,
                                       .done = on_done,
                                       .context = a};
    error_code code = http_call_start(c->lane->client, &options, &a->http, fail);
    free(url);
    return code;
}

remote_attempt *remote_attempt_make(remote_call *c, remote_pool *p, size_t slot, double now_ms)
{
    remote_attempt *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    *a = (remote_attempt){.call = c,
                          .pool = p,
                          .slot = slot,
                          .began_with = pool_begin(p->replicas, slot),
                          .server = p->replicas->replicas[slot].history->name,
                          .began_ms = now_ms,
                          .last_ms = now_ms};
    buffer_init(&a->refusal, REFUSAL_LIMIT);
    c->attempts[c->attempts[0] != NULL] = a;
    return a;
}

static void tell_pool(const remote_attempt *a, pool_end_kind kind, double now_ms)
{
    remote_backend *b = a->call->backend;
    double delay_ms = a->first_ms > 0 ? a->first_ms - a->began_ms : 0;
    remote_house_lock(b->house);
    pool_end(a->pool->replicas, a->slot, kind, a->began_with, delay_ms, a->call->prefix.length,
             now_ms);
    b->has_room |= kind == POOL_ANSWERED || kind == POOL_CANCELLED;
    remote_house_unlock(b->house);
}

void remote_attempt_end(remote_attempt *a, pool_end_kind kind, double now_ms)
{
    remote_call *c = a->call;
    tell_pool(a, kind, now_ms);
    if (c->attempts[0] == a)
        c->attempts[0] = c->attempts[1];
    c->attempts[1] = NULL;
    if (c->winner == a)
        c->winner = NULL;
    remote_lane_drop(c->lane, a);
    http_call_release(a->http);
    buffer_free(&a->refusal);
    free(a);
}

/* ---- how it ended ---------------------------------------------------------------------------- */

/* What a status says to the client of this server. A key that is refused, say, is this server's
 * trouble and not the client's. */
static error_code code_of(int status)
{
    switch (status) {
    case 400:
    case 422:
        return ERR_INVALID;
    case 413:
        return ERR_TOO_LARGE;
    case 429:
    case 503:
        return ERR_BUSY;
    case 501:
        return ERR_UNSUPPORTED;
    case 504:
        return ERR_TIMEOUT;
    default:
        return ERR_IO;
    }
}

static pool_end_kind kind_of(int status)
{
    if (status == 429 || status == 503)
        return POOL_REFUSED;
    return status >= 500 && status != 501 ? POOL_FAILED : POOL_ANSWERED;
}

/* The server's own words, where it has any. */
static pool_end_kind note_refusal(const remote_attempt *a, failure *out)
{
    json_t *body =
        a->refusal.length > 0 ? json_loadb(a->refusal.data, a->refusal.length, 0, NULL) : NULL;
    json_t *error = json_object_get(body, "error");
    json_t *words = json_is_string(error) ? error : json_object_get(error, "message");
    int status = http_call_status(a->http);
    failure_set(out, code_of(status), "the server of model '%s' answered %d%s%.300s",
                a->call->backend->base.name, status, json_is_string(words) ? ": " : "",
                json_is_string(words) ? json_string_value(words) : "");
    failure_retry_after(out, http_call_retry_after_s(a->http));
    json_decref(body);
    return kind_of(status);
}

bool remote_attempt_has_lost(const remote_attempt *a, failure *out)
{
    const remote_call *c = a->call;
    if (c->winner == NULL || c->winner == a)
        return false;
    failure_set(out, ERR_CANCELLED, "the other one was sooner");
    return true;
}

pool_end_kind remote_attempt_judge(const remote_attempt *a, failure *out)
{
    const remote_call *c = a->call;
    const char *name = c->backend->base.name;
    failure why = {.code = OK};
    error_code code = http_call_result(a->http, &why);
    int status = http_call_status(a->http);
    bool has_won = c->winner == a;
    if (remote_attempt_has_lost(a, out))
        return POOL_CANCELLED;
    *out = has_won ? c->fault : (failure){.code = OK};
    if (out->code != OK)
        return POOL_FAILED;
    if (has_won && c->is_whole && status == 200)
        return POOL_ANSWERED;
    bool is_refused = status != 200 && (code == OK || code == ERR_CANCELLED); /* as far as read */
    if (is_refused)
        return note_refusal(a, out);
    if (code != OK) {
        failure_set(out, code == ERR_MEMORY || code == ERR_TIMEOUT ? code : ERR_IO,
                    "the server of model '%s': %s", name, why.text);
        return http_call_has_connected(a->http) ? POOL_FAILED : POOL_GONE;
    }
    failure_set(out, ERR_IO,
                c->status.stats.prefill_ms > 0
                    ? "the server of model '%s' ended its answer too early"
                    : "the server of model '%s' sent no answer that can be read",
                name);
    return POOL_FAILED;
}

static uint32_t patience_ms(const remote_attempt *a)
{
    const config_remote *r = &a->call->backend->config->remote;
    return a->first_ms > 0 ? r->idle_ms : r->first_byte_ms;
}

double remote_attempt_end_ms(const remote_attempt *a)
{
    return a->last_ms + patience_ms(a);
}

bool remote_attempt_is_late(const remote_attempt *a, double now_ms, failure *out)
{
    if (now_ms < remote_attempt_end_ms(a))
        return false;
    failure_set(out, ERR_TIMEOUT, "the server of model '%s' was silent for %u ms",
                a->call->backend->base.name, patience_ms(a));
    return true;
}
