/* remote_house.c: one thread that sends all requests and takes all answers. */
#include <stdlib.h>

#include "backend/remote.h"
#include "base/clock.h"

#define AGENT "a-io"
#define ANSWER_LIMIT ((size_t)1 << 30) /* bytes of one answer */
#define LONGEST_WAIT_MS 1000.0

struct remote_house {
    backend_house base;
    http_client *client;
    pthread_t thread;
    bool is_started;
    remote_call *calls; /* the thread's: under way */
    remote_backend *backends;

    pthread_mutex_t lock;
    remote_call *arrivals;
    bool is_ending;
};

/* ---- what comes back ------------------------------------------------------------------------- */

static void wake(remote_call *c)
{
    pthread_mutex_lock(&c->wake_lock);
    if (c->wake.call != NULL)
        c->wake.call(c->wake.context);
    pthread_mutex_unlock(&c->wake_lock);
}

static void on_event(void *context, const char *data, size_t length)
{
    remote_answer_take(context, data, length);
}

static bool on_data(void *context, const char *data, size_t length)
{
    remote_call *c = context;
    c->last_ms = clock_ms();
    c->has_begun = true;
    if (http_call_status(c->http) != 200) {
        buffer_add(&c->refusal, data, length); /* what does not fit is not shown */
        return true;
    }
    pthread_mutex_lock(&c->lock);
    error_code code = event_stream_feed(&c->events, data, length, on_event, c);
    if (code != OK && c->fault.code == OK)
        failure_set(&c->fault, code == ERR_MEMORY ? code : ERR_IO,
                    "the server of model '%s' sent an event without an end", c->backend->base.name);
    bool is_sound = c->fault.code == OK;
    pthread_mutex_unlock(&c->lock);
    wake(c);
    return is_sound;
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

/* The server's own words, where it has any. */
static void note_refusal(const remote_call *c, failure *out)
{
    json_t *body =
        c->refusal.length > 0 ? json_loadb(c->refusal.data, c->refusal.length, 0, NULL) : NULL;
    json_t *error = json_object_get(body, "error");
    json_t *words = json_is_string(error) ? error : json_object_get(error, "message");
    int status = http_call_status(c->http);
    failure_set(out, code_of(status), "the server of model '%s' answered %d%s%.300s",
                c->backend->base.name, status, json_is_string(words) ? ": " : "",
                json_is_string(words) ? json_string_value(words) : "");
    failure_retry_after(out, http_call_retry_after_s(c->http));
    json_decref(body);
}

/* OK in `out`: the whole answer is there. */
static void judge(const remote_call *c, failure *out)
{
    failure why = {.code = OK};
    const char *name = c->backend->base.name;
    error_code code = http_call_result(c->http, &why);
    *out = c->fault;
    if (out->code != OK || (c->is_whole && http_call_status(c->http) == 200))
        return;
    if (code != OK)
        failure_set(out, code == ERR_MEMORY || code == ERR_TIMEOUT ? code : ERR_IO,
                    "the server of model '%s': %s", name, why.text);
    else if (http_call_status(c->http) != 200)
        note_refusal(c, out);
    else
        failure_set(out, ERR_IO,
                    c->status.stats.prefill_ms > 0
                        ? "the server of model '%s' ended its answer too early"
                        : "the server of model '%s' sent no answer that can be read",
                    name);
}

/* A time that is up. */
static bool is_late(const remote_call *c, double now, failure *out)
{
    const config_remote *r = &c->backend->config->remote;
    uint32_t silence_ms = c->has_begun ? r->idle_ms : r->first_byte_ms;
    if (c->end_ms > 0 && now >= c->end_ms)
        failure_set(out, ERR_TIMEOUT, "the request's deadline has passed");
    else if (now >= c->last_ms + silence_ms)
        failure_set(out, ERR_TIMEOUT, "the server of model '%s' was silent for %u ms",
                    c->backend->base.name, silence_ms);
    else
        return false;
    return true;
}

static void count(const remote_call *c)
{
    remote_backend *b = c->backend;
    double took_ms = c->status.stats.prefill_ms + c->status.stats.decode_ms;
    double mean_ms = atomic_load(&b->reply_ms);
    atomic_fetch_add(&b->reply_tokens, c->status.stats.reply_tokens);
    atomic_store(&b->reply_ms, mean_ms == 0 ? took_ms : mean_ms + (took_ms - mean_ms) / 8);
}

/* It has ended: `why` says how. The thread lets go of it. */
static void finish(remote_call *c, const failure *why)
{
    http_call_release(c->http);
    c->http = NULL;
    pthread_mutex_lock(&c->lock);
    c->status.state = why->code == OK ? WORK_FINISHED : WORK_FAILED;
    c->status.failure = *why;
    if (why->code == OK)
        count(c);
    pthread_mutex_unlock(&c->lock);
    atomic_fetch_sub(&c->backend->in_flight, 1);
    wake(c);
    remote_call_unreference(c);
}

/* ---- the thread ------------------------------------------------------------------------------ */

static error_code begin(remote_house *h, remote_call *c, failure *fail)
{
    const http_call_options options = {.url = c->url,
                                       .json = c->body,
                                       .agent = AGENT,
                                       .bearer = c->backend->key,
                                       .connect_ms = c->backend->config->remote.connect_ms,
                                       .limit = ANSWER_LIMIT,
                                       .data = on_data,
                                       .context = c};
    c->last_ms = clock_ms();
    return http_call_start(h->client, &options, &c->http, fail);
}

static bool take_arrivals(remote_house *h)
{
    pthread_mutex_lock(&h->lock);
    remote_call *next = h->arrivals;
    h->arrivals = NULL;
    bool goes_on = !h->is_ending;
    pthread_mutex_unlock(&h->lock);
    while (next != NULL) {
        remote_call *c = next;
        failure why;
        next = c->next;
        if (begin(h, c, &why) == OK) {
            c->next = h->calls;
            h->calls = c;
        } else
            finish(c, &why);
    }
    return goes_on;
}

/* True: the call is over, in one way or another. */
static bool is_over(const remote_call *c, double now, failure *out)
{
    if (atomic_load(&c->cancelled))
        failure_set(out, ERR_CANCELLED, "cancelled");
    else if (http_call_is_done(c->http))
        judge(c, out);
    else
        return is_late(c, now, out);
    return true;
}

static double wait_of(const remote_call *c, double now)
{
    const config_remote *r = &c->backend->config->remote;
    double left_ms = c->last_ms + (c->has_begun ? r->idle_ms : r->first_byte_ms) - now;
    return c->end_ms > 0 && c->end_ms - now < left_ms ? c->end_ms - now : left_ms;
}

/* Lets go of what is over; returns how long the others can wait. */
static double settle(remote_house *h)
{
    double now = clock_ms(), wait_ms = LONGEST_WAIT_MS;
    for (remote_call **at = &h->calls; *at != NULL;) {
        remote_call *c = *at;
        failure why = {.code = OK};
        double left_ms = wait_of(c, now);
        if (is_over(c, now, &why)) {
            *at = c->next;
            finish(c, &why);
            continue;
        }
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
        at = &c->next;
    }
    return wait_ms > 1 ? wait_ms : 1;
}

static void *work(void *context)
{
    remote_house *h = context;
    failure why;
    while (take_arrivals(h)) {
        double wait_ms = settle(h);
        http_client_run(h->client, wait_ms, &why); /* what fails is looked for again */
    }
    failure_set(&why, ERR_CANCELLED, "the server is ending");
    while (h->calls != NULL) {
        remote_call *c = h->calls;
        h->calls = c->next;
        finish(c, &why);
    }
    return NULL;
}

void remote_house_wake(remote_house *h)
{
    http_client_wake(h->client);
}

void remote_house_send(remote_house *h, remote_call *c)
{
    atomic_fetch_add(&c->references, 1);
    atomic_fetch_add(&c->backend->in_flight, 1);
    pthread_mutex_lock(&h->lock);
    c->next = h->arrivals;
    h->arrivals = c;
    pthread_mutex_unlock(&h->lock);
    remote_house_wake(h);
}

void remote_call_unreference(remote_call *c)
{
    if (atomic_fetch_sub(&c->references, 1) > 1)
        return;
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->wake_lock);
    event_stream_free(&c->events);
    buffer_free(&c->refusal);
    buffer_free(&c->text);
    remote_probe_free(c->probe);
    free(c->url);
    free(c->body);
    free(c);
}

/* ---- the house ------------------------------------------------------------------------------- */

static bool takes(const config_model *m)
{
    return m->remote.url != NULL;
}

static void close_house(backend_house *base)
{
    remote_house *h = (remote_house *)base;
    pthread_mutex_lock(&h->lock);
    h->is_ending = true;
    pthread_mutex_unlock(&h->lock);
    if (h->is_started) {
        remote_house_wake(h);
        pthread_join(h->thread, NULL);
    }
    for (remote_backend *next = h->backends; next != NULL;) {
        remote_backend *b = next;
        next = b->next;
        remote_free(b);
    }
    http_client_destroy(h->client);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

static error_code open_house(backend_house **out, const house_setting *setting, failure *fail)
{
    (void)setting;
    remote_house *h = calloc(1, sizeof *h);
    if (h == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for connections");
    h->base.kind = &remote_models;
    error_code code = http_client_create(&h->client, fail);
    if (code != OK) {
        free(h);
        return code;
    }
    pthread_mutex_init(&h->lock, NULL);
    *out = &h->base;
    return OK;
}

static error_code add(backend_house *base, const config_model *m, const house_progress *progress,
                      backend **out, failure *fail)
{
    (void)progress; /* nothing is loaded */
    remote_house *h = (remote_house *)base;
    remote_backend *b;
    error_code code = remote_create(&b, h, m, fail);
    if (code != OK)
        return code;
    b->next = h->backends;
    h->backends = b;
    *out = &b->base;
    return OK;
}

static error_code start(backend_house *base, failure *fail)
{
    remote_house *h = (remote_house *)base;
    if (pthread_create(&h->thread, NULL, work, h) != 0)
        return failure_set(fail, ERR_MEMORY, "cannot start the thread of connections");
    h->is_started = true;
    return OK;
}

const house_kind remote_models = {
    .takes = takes, .open = open_house, .add = add, .start = start, .close = close_house};
