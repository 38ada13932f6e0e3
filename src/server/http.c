#include "server/exchange.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* Two, so that tokenising one long prompt does not hold up another client's tokens. */
#define MHD_THREADS 2
/* Connections beyond the announced limit that are taken only to be told so. */
#define SPARE_CONNECTIONS 32
/* A connection on which nothing moves for so long is closed; one that waits for its reply is not.
 */
#define IDLE_TIMEOUT_S 60
/* A body that is too large is read to its end up to here, because a client that is still writing
 * may never see an answer that comes with a closed connection. */
#define DISCARD_LIMIT ((size_t)32 << 20)
#define METRICS_LIMIT ((size_t)16 << 20) /* bytes */

/* ---- simple answers ------------------------------------------------------------------------- */

static enum MHD_Result health_begin(exchange *e)
{
    server *s = e->server;
    return exchange_answer(e, 200,
                           json_pack("{s:s, s:I}", "status",
                                     atomic_load(&s->draining) ? "draining" : "ok", "running",
                                     (json_int_t)atomic_load(&s->running)));
}

static enum MHD_Result ready_begin(exchange *e)
{
    if (!atomic_load(&e->server->draining))
        return exchange_answer(e, 200, json_pack("{s:s}", "status", "ok"));
    api_error error;
    api_error_set_stopping(&error);
    return exchange_answer_error(e, &error);
}

static enum MHD_Result metrics_begin(exchange *e)
{
    server *s = e->server;
    const server_load load = {atomic_load(&s->connections), atomic_load(&s->running)};
    buffer text;
    buffer_init(&text, METRICS_LIMIT);
    if (metrics_write(s->metrics, &load, &text) == OK)
        return exchange_answer_text(e, 200, "text/plain; version=0.0.4; charset=utf-8", &text);
    buffer_free(&text);
    api_error error;
    api_error_set(&error, 503, NULL, "", "no memory for the metrics");
    return exchange_answer_error(e, &error);
}

static enum MHD_Result models_begin(exchange *e)
{
    server *s = e->server;
    json_t *list = json_array();
    json_array_append_new(list, model_json("auto", 0, s->created));
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++)
        json_array_append_new(list, model_json(orchestra_model_name(s->orchestra, i),
                                               backend_context(orchestra_backend(s->orchestra, i)),
                                               s->created));
    return exchange_answer(e, 200, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static enum MHD_Result model_begin(exchange *e)
{
    server *s = e->server;
    if (strcmp(e->argument, "auto") == 0)
        return exchange_answer(e, 200, model_json("auto", 0, s->created));
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++) {
        const char *name = orchestra_model_name(s->orchestra, i);
        if (strcmp(e->argument, name) == 0) {
            size_t context = backend_context(orchestra_backend(s->orchestra, i));
            return exchange_answer(e, 200, model_json(name, context, s->created));
        }
    }
    api_error error;
    api_error_set(&error, 404, "model_not_found", "model",
                  "there is no model '%s'; GET /v1/models lists them", e->argument);
    return exchange_answer_error(e, &error);
}

/* What is decided by, and what was decided so far. */
static enum MHD_Result policy_begin(exchange *e)
{
    orchestra *o = e->server->orchestra;
    json_t *policy = policy_json(o);
    if (json_is_object(policy))
        json_object_set_new(policy, "counts", counts_json(o));
    return exchange_answer(e, 200, policy);
}

/* ---- routes --------------------------------------------------------------------------------- */

static const route routes[] = {
    {"POST", "/v1/chat/completions", true, completion_begin, completion_resume},
    {"POST", "/v1/route", true, route_begin, completion_resume},
    {"POST", "/v1/feedback", true, feedback_begin, NULL},
    {"GET", "/v1/policy", true, policy_begin, NULL},
    {"GET", "/v1/models", true, models_begin, NULL},
    {"GET", "/v1/models/", true, model_begin, NULL},
    {"GET", "/health", false, health_begin, NULL},
    {"GET", "/ready", false, ready_begin, NULL},
    {"GET", "/metrics", false, metrics_begin, NULL},
};

/* "/v1/route, /v1/policy, ..." */
static void list_routes(char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && n < size; i++)
        n += (size_t)snprintf(out + n, size - n, "%s%s", i == 0 ? "" : ", ", routes[i].path);
}

static const route *find_route(const char *path, const char **argument)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        size_t n = strlen(routes[i].path);
        bool is_prefix = routes[i].path[n - 1] == '/';
        if (strncmp(path, routes[i].path, n) == 0 &&
            (is_prefix ? path[n] != '\0' : path[n] == '\0')) {
            *argument = path + n;
            return &routes[i];
        }
    }
    return NULL;
}

static bool method_fits(const route *r, const char *method)
{
    return strcmp(r->method, method) == 0 ||
           (strcmp(r->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

/* Takes as long whatever the first wrong character is. */
static bool key_fits(const char *key, const char *header)
{
    static const char scheme[] = "Bearer ";
    if (header == NULL || strncasecmp(header, scheme, sizeof scheme - 1) != 0)
        return false;
    header += sizeof scheme - 1;
    size_t n_key = strlen(key), n_header = strlen(header);
    unsigned char difference = n_key != n_header;
    for (size_t i = 0; i < n_header; i++)
        difference |= (unsigned char)(header[i] ^ key[n_key > 0 ? i % n_key : 0]);
    return difference == 0;
}

static const char *header_of(const exchange *e, const char *name)
{
    return MHD_lookup_connection_value(e->connection, MHD_HEADER_KIND, name);
}

/* What the headers alone decide; false: the error is set. */
static bool check_headers(exchange *e, const char *path, api_error *error)
{
    server *s = e->server;
    e->route = find_route(path, &e->argument);
    if (e->route == NULL) {
        char list[256];
        list_routes(list, sizeof list);
        return api_error_set(error, 404, NULL, "", "there is nothing at %.64s; there are %s",
                             e->path, list);
    }
    if (!method_fits(e->route, e->method))
        return api_error_set(error, 405, NULL, "", "%s takes %s, not %s", e->route->path,
                             e->route->method, e->method);
    if (!e->route->needs_key)
        return true;
    if (s->api_key != NULL && !key_fits(s->api_key, header_of(e, "Authorization")))
        return api_error_set(error, 401, "invalid_api_key", "",
                             "send the server's key as 'Authorization: Bearer KEY'");
    if (atomic_load(&s->draining))
        return api_error_set_stopping(error);
    if (atomic_load(&s->connections) > s->options.max_connections)
        return api_error_set(error, 503, NULL, "", "all %u connections are in use",
                             (unsigned)s->options.max_connections);
    return true;
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

/* ---- the way of a request through libmicrohttpd --------------------------------------------- */

static enum MHD_Result on_headers(exchange *e, const char *path)
{
    e->has_early_error = !check_headers(e, path, &e->early_error);
    const char *length = header_of(e, "Content-Length");
    unsigned long long declared = length == NULL ? 0 : strtoull(length, NULL, 10);
    if (declared > e->server->options.max_body_bytes)
        refuse_body(e, ERR_TOO_LARGE);
    bool waits_for_us = header_of(e, "Expect") != NULL;
    if (e->has_early_error && (waits_for_us || declared > DISCARD_LIMIT))
        return exchange_answer_error(e, &e->early_error);
    return MHD_YES;
}

static enum MHD_Result on_body(exchange *e, const char *data, size_t length)
{
    error_code code = OK;
    if (!e->has_early_error)
        code = exchange_add_body(e, data, length);
    if (!e->has_early_error && code == OK)
        return MHD_YES;
    refuse_body(e, code);
    e->discarded += length;
    return e->discarded <= DISCARD_LIMIT ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **exchange_slot)
{
    (void)version;
    exchange *e = *exchange_slot;
    if (e == NULL) {
        e = exchange_create(context, connection, url);
        if (e == NULL)
            return MHD_NO;
        *exchange_slot = e;
        e->method = method;
        return on_headers(e, url);
    }
    if (*data_size > 0) {
        enum MHD_Result result = on_body(e, data, *data_size);
        *data_size = 0;
        return result;
    }
    exchange_received(e);
    if (e->status != 0)
        return MHD_YES; /* answered before the body came */
    if (e->has_early_error)
        return exchange_answer_error(e, &e->early_error);
    return e->run != NULL ? e->route->resume(e) : e->route->begin(e);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **exchange_slot,
                         enum MHD_RequestTerminationCode how)
{
    (void)context;
    (void)connection;
    exchange *e = *exchange_slot;
    if (e == NULL)
        return;
    *exchange_slot = NULL;
    exchange_release_run(e);
    exchange_log(e, how == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    exchange_destroy(e);
}

/* A peer that vanished without a word is found out in about a minute, also while it only waits. */
static void set_keepalive(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL)
        return;
    const int on = 1, idle_s = 30, interval_s = 10, probes = 3;
    setsockopt(info->connect_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(info->connect_fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(info->connect_fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(info->connect_fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode what)
{
    (void)slot;
    server *s = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        atomic_fetch_add(&s->connections, 1);
        set_keepalive(connection);
    } else {
        atomic_fetch_sub(&s->connections, 1);
    }
}

static void on_mhd_log(void *context, const char *format, va_list args)
{
    (void)context;
    char line[512];
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

/* ---- the server's life ---------------------------------------------------------------------- */

static void note_url(server *s)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[64] = "", port[16] = "";
    if (getsockname(s->listen_fd, (struct sockaddr *)&address, &length) == 0)
        getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV);
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(s->url, sizeof s->url, "http://%s%s%s:%s", is_v6 ? "[" : "", host, is_v6 ? "]" : "",
             port);
}

static error_code bind_address(server *s, failure *fail)
{
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)s->options.port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int error = getaddrinfo(s->host, port, &hints, &addresses);
    if (error != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", s->host, gai_strerror(error));
    int reason = 0;
    for (struct addrinfo *a = addresses; a != NULL && s->listen_fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const int on = 1;
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0) {
            s->listen_fd = fd;
        } else {
            reason = errno;
            if (fd >= 0)
                close(fd);
        }
    }
    freeaddrinfo(addresses);
    if (s->listen_fd < 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s port %s: %s%s", s->host, port,
                           strerror(reason),
                           reason == EADDRINUSE ? "; choose another one with --port" : "");
    note_url(s);
    return OK;
}

/* Connections are descriptors: what was announced must be possible. */
static error_code reserve_descriptors(const server *s, failure *fail)
{
    const rlim_t need = (rlim_t)s->options.max_connections + SPARE_CONNECTIONS + 64;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return OK;
    limit.rlim_cur = need < limit.rlim_max ? need : limit.rlim_max;
    if (limit.rlim_cur < need || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        return failure_set(fail, ERR_CONFIG,
                           "server.max_connections: %u connections need %llu file descriptors, "
                           "but this process may have %llu (ulimit -n)",
                           (unsigned)s->options.max_connections, (unsigned long long)need,
                           (unsigned long long)limit.rlim_max);
    return OK;
}

error_code server_create(server **out, const server_options *options, failure *fail)
{
    server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the server");
    s->listen_fd = -1;
    s->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->created = (int64_t)time(NULL);
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    json_object_seed(
        0); /* before there are threads: its own start is not safe for them everywhere */
    s->host = strdup(options->host);
    s->api_key = options->api_key == NULL ? NULL : strdup(options->api_key);
    error_code code = OK;
    if (s->host == NULL || s->idle_fd < 0 || (options->api_key != NULL && s->api_key == NULL))
        code = failure_set(fail, ERR_MEMORY, "no memory for the server");
    if (code == OK)
        code = reserve_descriptors(s, fail);
    if (code == OK)
        code = bind_address(s, fail);
    if (code != OK) {
        server_destroy(s);
        return code;
    }
    *out = s;
    return OK;
}

error_code server_start(server *s, orchestra *o, failure *fail)
{
    s->orchestra = o;
    error_code code = metrics_create(&s->metrics, o, fail);
    if (code == OK)
        code = watch_create(&s->watch, fail);
    if (code != OK)
        return code;
    if (listen(s->listen_fd, SOMAXCONN) != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", s->url, strerror(errno));
    MHD_socket listen_fd = s->listen_fd;
    s->listen_fd = -1; /* libmicrohttpd's from here on */
    s->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, s, MHD_OPTION_EXTERNAL_LOGGER, on_mhd_log, NULL, MHD_OPTION_LISTEN_SOCKET,
        listen_fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)MHD_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(s->options.max_connections + SPARE_CONNECTIONS), MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_TIMEOUT_S, MHD_OPTION_NOTIFY_COMPLETED, on_completed, s,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, s, MHD_OPTION_END);
    if (s->daemon == NULL)
        return failure_set(fail, ERR_IO, "cannot start the HTTP server on %s: %s", s->url,
                           strerror(errno));
    return OK;
}

const char *server_url(const server *s)
{
    return s->url;
}

void server_drain(server *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->draining, true);
    bool is_idle = s->exchanges == NULL;
    pthread_mutex_unlock(&s->lock);
    MHD_socket fd = MHD_quiesce_daemon(s->daemon);
    if (fd != MHD_INVALID_SOCKET)
        close(fd);
    uint64_t one = 1;
    if (is_idle && write(s->idle_fd, &one, sizeof one) < 0)
        log_warn("cannot tell that the server is idle");
}

int server_idle_fd(const server *s)
{
    return s->idle_fd;
}

void server_cancel(server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (exchange *e = s->exchanges; e != NULL; e = e->next)
        exchange_signal(e, SIGNAL_STOPPING);
    pthread_mutex_unlock(&s->lock);
}

void server_destroy(server *s)
{
    if (s == NULL)
        return;
    if (s->daemon != NULL) {
        atomic_store(&s->draining, true);
        server_cancel(s); /* MHD must not be stopped with suspended connections */
        MHD_stop_daemon(s->daemon);
    }
    watch_destroy(s->watch);
    metrics_destroy(s->metrics);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    if (s->idle_fd >= 0)
        close(s->idle_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->host);
    free(s->api_key);
    free(s);
}
