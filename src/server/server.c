/* server.c: the server's life: its address, its parts, its end. */
#include "server/server.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "server/exchange.h"
#include "server/loop.h"

/* ---- the address ----------------------------------------------------------------------------- */

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

/* "[::1]", as it stands in a URL, is the address ::1. */
static char *copy_host(const char *host)
{
    size_t n = strlen(host);
    bool has_brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
    return has_brackets ? strndup(host + 1, n - 2) : strdup(host);
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
    const rlim_t need = (rlim_t)s->options.max_connections + LOOP_RESERVE + 64;
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
    json_object_seed(0); /* before there are threads: its own start is not safe for them */
    s->host = copy_host(options->host);
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
        code = latest_create(&s->latest, fail);
    if (code == OK)
        code = workers_create(&s->workers, fail);
    if (code != OK)
        return code;
    if (listen(s->listen_fd, SOMAXCONN) != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", s->url, strerror(errno));
    int listen_fd = s->listen_fd;
    s->listen_fd = -1; /* the loop's from here on */
    return loop_create(&s->loop, s, listen_fd, fail);
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
    loop_stop_listening(s->loop);
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
    atomic_store(&s->draining, true);
    if (s->loop != NULL)
        server_cancel(s);
    if (s->workers != NULL)
        workers_end(s->workers); /* before the exchanges that they work for */
    loop_destroy(s->loop);
    if (s->workers != NULL)
        workers_destroy(s->workers);
    latest_destroy(s->latest);
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
