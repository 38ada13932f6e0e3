/* http_client.c: libcurl's multi interface behind calls that the caller's thread moves on. */
#include "base/http_client.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/descriptors.h"
#include "base/http_url.h"

#define MOST_SPARE 64
#define EVENTS 64
#define SENT_AT_ONCE (256L << 10) /* bytes of a long body, between two waits */
#define NAME_S 5L                 /* that a name's address is believed: who fails over changes it */

/* One of libcurl's for a call at a time: making it costs as much as a request. */
typedef struct handle {
    CURL *easy;
    const CURLU *url; /* that it has of its last call; NULL: not a known one */
} handle;

struct http_client {
    CURLM *multi;
    descriptors waits;
    int wakeup; /* an eventfd */
    atomic_bool is_woken;
    double timer_ms; /* when libcurl wants to be called, by clock_ms; INFINITY: it does not */
    struct epoll_event events[EVENTS]; /* that came … */
    int n_events, next_event;          /* … and which of them is looked at next */
    handle spare[MOST_SPARE];
    size_t n_spare;
    char *ca_file, *ca_path; /* the system's certificates, as libcurl knows them */
    http_urls urls;
};

struct http_call {
    http_client *client;
    handle handle;
    struct curl_slist *headers;
    size_t limit, received;
    bool (*data)(void *context, const char *data, size_t length);
    void (*on_done)(void *context);
    void *context;
    bool done, is_too_large, is_stopped;
    CURLcode result;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start_library(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- what libcurl waits for ------------------------------------------------------------------ */

static int watch(CURL *easy, curl_socket_t fd, int what, void *context, void *known)
{
    http_client *c = context;
    (void)easy, (void)known;
    uint32_t events = what == CURL_POLL_REMOVE
                          ? 0
                          : ((what & CURL_POLL_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                                ((what & CURL_POLL_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    return descriptors_want(&c->waits, fd, events) ? 0 : -1;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *to)
{
    http_client *c = context;
    (void)purpose;
    int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    if (fd < 0 || descriptors_opened(&c->waits, fd))
        return fd;
    close(fd);
    return CURL_SOCKET_BAD;
}

static int close_socket(void *context, curl_socket_t fd)
{
    http_client *c = context;
    descriptors_closed(&c->waits, fd);
    return close(fd);
}

static int set_timer(CURLM *multi, long ms, void *context)
{
    http_client *c = context;
    (void)multi;
    c->timer_ms = ms < 0 ? INFINITY : clock_ms() + (double)ms;
    return 0;
}

static bool open_waits(http_client *c)
{
    bool is_open = descriptors_init(&c->waits) == OK;
    c->wakeup = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return is_open && c->wakeup >= 0 && descriptors_want(&c->waits, c->wakeup, EPOLLIN);
}

error_code http_client_create(http_client **out, failure *fail)
{
    pthread_once(&once, start_library);
    http_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an HTTP client");
    c->timer_ms = INFINITY;
    c->multi = curl_multi_init();
    if (!open_waits(c) || c->multi == NULL) {
        http_client_destroy(c);
        return failure_set(fail, ERR_MEMORY, "no memory for an HTTP client");
    }
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, watch);
    curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, set_timer);
    curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c);
    *out = c;
    return OK;
}

void http_client_destroy(http_client *c)
{
    if (c == NULL)
        return;
    while (c->n_spare > 0)
        curl_easy_cleanup(c->spare[--c->n_spare].easy);
    curl_multi_cleanup(c->multi);
    http_urls_free(&c->urls);
    descriptors_free(&c->waits);
    if (c->wakeup >= 0)
        close(c->wakeup);
    free(c);
}

/* ---- one call ----------------------------------------------------------------------------- */

static size_t take(char *data, size_t size, size_t n, void *context)
{
    http_call *c = context;
    size_t length = size * n;
    c->received += length;
    c->is_too_large = c->received > c->limit;
    if (c->is_too_large)
        return CURL_WRITEFUNC_ERROR;
    c->is_stopped = c->data != NULL && !c->data(c->context, data, length);
    return c->is_stopped ? CURL_WRITEFUNC_ERROR : length;
}

static bool add_header(http_call *c, const char *text)
{
    struct curl_slist *longer = curl_slist_append(c->headers, text);
    if (longer != NULL)
        c->headers = longer;
    return longer != NULL;
}

/* `begin`: its name and what stands before the value. */
static bool add_value(http_call *c, const char *begin, const char *value)
{
    char text[4096];
    int length = snprintf(text, sizeof text, "%s%s", begin, value);
    return length > 0 && (size_t)length < sizeof text && add_header(c, text);
}

/* Not CURLOPT_RESUME_FROM: that fails where a server sends the whole body instead. */
static bool ask_from(CURL *e, uint64_t from)
{
    char range[32];
    snprintf(range, sizeof range, "%" PRIu64 "-", from);
    return curl_easy_setopt(e, CURLOPT_RANGE, range) == CURLE_OK;
}

/* A known one that the handle has is not said again: libcurl would write it anew. */
static bool set_url(http_call *c, const char *url)
{
    CURLU *parts = http_urls_find(&c->client->urls, url);
    if (parts != NULL && parts == c->handle.url)
        return true;
    CURL *e = c->handle.easy;
    bool is_set = curl_easy_setopt(e, CURLOPT_CURLU, parts) == CURLE_OK &&
                  curl_easy_setopt(e, CURLOPT_URL, parts != NULL ? NULL : url) == CURLE_OK;
    c->handle.url = is_set ? parts : NULL;
    return is_set;
}

/* Whatever an earlier call of the handle's set is set again. */
static bool prepare(http_call *c, const http_call_options *o)
{
    CURL *e = c->handle.easy;
    bool has_bearer = o->bearer != NULL && o->bearer[0] != '\0';
    bool sound = set_url(c, o->url) &&
                 (o->agent == NULL || add_value(c, "User-Agent: ", o->agent)) &&
                 (!has_bearer || add_value(c, "Authorization: Bearer ", o->bearer));
    curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(e, CURLOPT_NOBODY, o->is_head ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_RANGE, NULL);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
    curl_easy_setopt(e, CURLOPT_PRIVATE, c);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_ms);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, o->silence_ms > 0 ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)((o->silence_ms + 999) / 1e3));
    curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file != NULL ? o->ca_file : c->client->ca_file);
    curl_easy_setopt(e, CURLOPT_CAPATH, o->ca_file != NULL ? NULL : c->client->ca_path);
    if (o->from > 0)
        sound = sound && ask_from(e, o->from);
    if (sound && o->json != NULL) {
        curl_off_t length = o->json_length > 0 ? (curl_off_t)o->json_length : -1;
        sound = add_header(c, "Content-Type: application/json") && add_header(c, "Expect:") &&
                curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, length) == CURLE_OK &&
                curl_easy_setopt(e, o->keeps_json ? CURLOPT_POSTFIELDS : CURLOPT_COPYPOSTFIELDS,
                                 o->json) == CURLE_OK;
    }
    return sound && curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK;
}

static CURL *make_handle(http_client *c)
{
    CURL *e = curl_easy_init();
    if (e == NULL)
        return NULL;
    bool sound = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(e, CURLOPT_DNS_CACHE_TIMEOUT, NAME_S);
    curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, SENT_AT_ONCE);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, c);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, c);
    curl_easy_getinfo(e, CURLINFO_CAINFO, &c->ca_file);
    curl_easy_getinfo(e, CURLINFO_CAPATH, &c->ca_path);
    if (sound)
        return e;
    curl_easy_cleanup(e);
    return NULL;
}

static handle take_handle(http_client *c)
{
    return c->n_spare > 0 ? c->spare[--c->n_spare] : (handle){.easy = make_handle(c)};
}

static void give_back(http_client *c, handle used)
{
    if (c->n_spare == MOST_SPARE)
        curl_easy_cleanup(used.easy);
    else
        c->spare[c->n_spare++] = used; /* connections are the multi handle's, and stay */
}

error_code http_call_start(http_client *client, const http_call_options *o, http_call **out,
                           failure *fail)
{
    http_call *c = calloc(1, sizeof *c);
    *out = NULL;
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an HTTP request");
    *c = (http_call){.client = client,
                     .handle = take_handle(client),
                     .limit = o->limit,
                     .data = o->data,
                     .on_done = o->done,
                     .context = o->context};
    if (c->handle.easy == NULL || !prepare(c, o) ||
        curl_multi_add_handle(client->multi, c->handle.easy) != CURLM_OK) {
        http_call_release(c);
        return failure_set(fail, ERR_MEMORY, "cannot make an HTTP request");
    }
    *out = c;
    return OK;
}

void http_call_release(http_call *c)
{
    if (c == NULL)
        return;
    if (c->handle.easy != NULL) {
        curl_multi_remove_handle(c->client->multi, c->handle.easy);
        give_back(c->client, c->handle);
    }
    curl_slist_free_all(c->headers);
    free(c);
}

/* ---- all calls ---------------------------------------------------------------------------- */

static void note_done(CURLM *multi)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(multi, &left)) != NULL;) {
        http_call *c = NULL;
        if (m->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&c);
        c->result = m->data.result;
        c->done = true;
        if (c->on_done != NULL)
            c->on_done(c->context);
    }
}

/* Hands libcurl the next of what came, or takes the wake-up. */
static CURLMcode take_event(http_client *c)
{
    int running;
    uint64_t wakeups;
    const struct epoll_event *e = &c->events[c->next_event++];
    int fd = descriptors_take(&c->waits, e);
    int mask = ((e->events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
               ((e->events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
               ((e->events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
    if (fd >= 0 && fd != c->wakeup)
        return curl_multi_socket_action(c->multi, fd, mask, &running);
    if (fd == c->wakeup && read(fd, &wakeups, sizeof wakeups) >= 0)
        atomic_store(&c->is_woken, false);
    return CURLM_OK;
}

static error_code fail_of(CURLMcode code, failure *fail)
{
    return code == CURLM_OK ? OK : failure_set(fail, ERR_IO, "HTTP: %s", curl_multi_strerror(code));
}

error_code http_client_move(http_client *c, int epoll, failure *fail)
{
    error_code code = descriptors_move(&c->waits, epoll);
    return code == OK ? OK : failure_set(fail, code, "cannot wait for connections elsewhere");
}

void http_client_note(http_client *c, const struct epoll_event *event)
{
    if (c->next_event == c->n_events)
        c->n_events = c->next_event = 0;
    if (c->n_events < EVENTS) /* else it comes again */
        c->events[c->n_events++] = *event;
}

double http_client_wait_ms(const http_client *c)
{
    return c->timer_ms == INFINITY ? INFINITY : fmax(c->timer_ms - clock_ms(), 0);
}

static CURLMcode run_due(http_client *c)
{
    CURLMcode code = CURLM_OK;
    int running;
    if (http_client_wait_ms(c) <= 0) {
        c->timer_ms = INFINITY; /* libcurl says when again */
        code = curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    note_done(c->multi);
    return code;
}

error_code http_client_run(http_client *c, double wait_ms, failure *fail)
{
    CURLMcode code = CURLM_OK;
    double most_ms = fmax(fmin(wait_ms, http_client_wait_ms(c)), 0);
    int n = epoll_wait(c->waits.epoll, c->events, EVENTS, (int)ceil(most_ms));
    c->n_events = n > 0 ? n : 0;
    c->next_event = 0;
    while (code == CURLM_OK && c->next_event < c->n_events)
        code = take_event(c);
    CURLMcode due = run_due(c);
    return fail_of(code != CURLM_OK ? code : due, fail);
}

bool http_client_step(http_client *c, failure *fail)
{
    CURLMcode code = c->next_event < c->n_events ? take_event(c) : CURLM_OK;
    CURLMcode due = run_due(c);
    fail_of(code != CURLM_OK ? code : due, fail);
    return c->next_event < c->n_events;
}

void http_client_wake(http_client *c)
{
    const uint64_t one = 1;
    if (!atomic_exchange(&c->is_woken, true) && write(c->wakeup, &one, sizeof one) < 0)
        atomic_store(&c->is_woken, false);
}

bool http_call_is_done(const http_call *c)
{
    return c->done;
}

bool http_call_has_connected(const http_call *c)
{
    long sent = 0;
    curl_easy_getinfo(c->handle.easy, CURLINFO_REQUEST_SIZE, &sent);
    return sent > 0;
}

int http_call_status(const http_call *c)
{
    long status = 0;
    curl_easy_getinfo(c->handle.easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

const char *http_call_header(const http_call *c, const char *name)
{
    struct curl_header *first, *last;
    if (curl_easy_header(c->handle.easy, name, 0, CURLH_HEADER, -1, &first) != CURLHE_OK ||
        curl_easy_header(c->handle.easy, name, first->amount - 1, CURLH_HEADER, -1, &last) !=
            CURLHE_OK)
        return NULL;
    return last->value;
}

const char *http_call_redirect(const http_call *c)
{
    const char *url = NULL;
    curl_easy_getinfo(c->handle.easy, CURLINFO_REDIRECT_URL, &url);
    return url;
}

double http_call_retry_after_s(const http_call *c)
{
    curl_off_t seconds = 0;
    curl_easy_getinfo(c->handle.easy, CURLINFO_RETRY_AFTER, &seconds);
    return (double)seconds;
}

error_code http_call_result(const http_call *c, failure *fail)
{
    if (c->is_too_large)
        return failure_set(fail, ERR_TOO_LARGE, "the response is longer than %zu bytes", c->limit);
    if (c->is_stopped)
        return failure_set(fail, ERR_CANCELLED, "stopped by its receiver");
    if (c->result == CURLE_OPERATION_TIMEDOUT)
        return failure_set(fail, ERR_TIMEOUT, "%s", curl_easy_strerror(c->result));
    if (c->result != CURLE_OK)
        return failure_set(fail, c->result == CURLE_OUT_OF_MEMORY ? ERR_MEMORY : ERR_IO, "%s",
                           curl_easy_strerror(c->result));
    return OK;
}
