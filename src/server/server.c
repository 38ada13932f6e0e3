/* server.c: the server's life: its address, its parts, its end. */
#include "server/server.h"

#include <errno.h>
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

#define MOST_LOOPS 4 /* that are made unasked */

/* "[::1]", as it stands in a URL, is the address ::1. */
static char *copy_host(const char *host)
{
    size_t n = strlen(host);
    bool has_brackets = n > 2 && host[0] == '[' && host[n - 1] == ']';
    return has_brackets ? strndup(host + 1, n - 2) : strdup(host);
}

/* Connections are descriptors: what was announced must be possible. */
static error_code reserve_descriptors(const server *s, failure *fail)
{
    const rlim_t need = (rlim_t)s->options.max_connections + LOOP_RESERVE +
                        LOOP_DESCRIPTORS * HOUSE_MOST_LANES + 64;
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

/* ---- life ------------------------------------------------------------------------------------ */

error_code server_read_keys(server *s, failure *fail)
{
    keys *fresh, *old;
    error_code code = keys_create(&fresh, s->options.api_key, s->options.keys_file, s->keys, fail);
    if (code != OK)
        return code;
    if (keys_have_budgets(fresh) && !s->options.has_prices) {
        keys_release(fresh);
        return failure_set(fail, ERR_CONFIG,
                           "%s: a budget is of what models cost, and no model has a price "
                           "(models: price)",
                           s->options.keys_file);
    }
    pthread_mutex_lock(&s->lock);
    old = s->keys;
    s->keys = fresh;
    pthread_mutex_unlock(&s->lock);
    keys_release(old);
    return OK;
}

error_code server_renew_certificate(server *s, bool *renewed, failure *fail)
{
    *renewed = false;
    return s->tls != NULL ? tls_renew(s->tls, renewed, fail) : OK;
}

/* What nobody wants who does not say so: strangers, or every page that a browser shows, at the
 * models. */
static error_code check_exposure(const server *s, failure *fail)
{
    static const char set_keys[] = "set A_IO_API_KEY or server.keys_file";
    if (s->keys != NULL)
        return OK;
    for (uint32_t i = 0; i < s->options.allowed_origins.n; i++)
        if (strcmp(s->options.allowed_origins.texts[i], "*") == 0)
            return failure_set(fail, ERR_CONFIG,
                               "server.allowed_origins: '*' lets every page that a browser shows "
                               "use this server: %s",
                               set_keys);
    if (!s->listener.is_public || s->options.allow_without_key)
        return OK;
    return failure_set(fail, ERR_CONFIG,
                       "%s can be reached by others, and no key is asked for: %s, or say "
                       "server.allow_without_key: true (--allow-without-key)",
                       s->listener.url, set_keys);
}

error_code server_create(server **out, const server_options *options, failure *fail)
{
    server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the server");
    s->listener.fd = -1;
    s->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->created = (int64_t)time(NULL);
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    gate_init(&s->gate);
    json_object_seed(0); /* before there are threads: its own start is not safe for them */
    s->host = copy_host(options->host);
    error_code code = OK;
    if (s->host == NULL || s->idle_fd < 0)
        code = failure_set(fail, ERR_MEMORY, "no memory for the server");
    if (code == OK)
        code = server_read_keys(s, fail);
    if (code == OK && options->budget_file != NULL)
        code = budget_file_open(&s->budgets, options->budget_file, s->keys, fail);
    if (code == OK && options->tls_certificate != NULL)
        code = tls_create(&s->tls, options->tls_certificate, options->tls_key, fail);
    if (code == OK)
        code = reserve_descriptors(s, fail);
    if (code == OK)
        code = listener_open(&s->listener, s->tls != NULL ? "https" : "http", s->host,
                             options->port, options->socket, fail);
    if (code == OK)
        code = check_exposure(s, fail);
    if (code != OK) {
        server_destroy(s);
        return code;
    }
    *out = s;
    return OK;
}

/* What is passed on has a thread for each core. Models in this process have no use for a second one.
 */
static size_t count_loops(const server *s)
{
    const server_options *o = &s->options;
    if (o->loops > 0 || o->cores == 0 || !orchestra_is_remote(s->orchestra))
        return o->loops > 0 ? o->loops : 1;
    return o->cores < MOST_LOOPS ? o->cores : MOST_LOOPS;
}

error_code server_start(server *s, orchestra *o, failure *fail)
{
    s->orchestra = o;
    error_code code = metrics_create(&s->metrics, o, fail);
    if (code == OK)
        code = latest_create(&s->latest, fail);
    if (code == OK)
        code = workers_create(&s->workers, fail);
    if (code == OK)
        code = response_store_create(&s->responses, fail);
    if (code != OK)
        return code;
    if (listen(s->listener.fd, SOMAXCONN) != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", s->listener.url,
                           strerror(errno));
    return loops_create(&s->loops, s, count_loops(s), listener_take(&s->listener), fail);
}

const char *server_url(const server *s)
{
    return s->listener.url;
}

void server_drain(server *s)
{
    pthread_mutex_lock(&s->lock);
    atomic_store(&s->draining, true);
    bool is_idle = s->exchanges == NULL;
    pthread_mutex_unlock(&s->lock);
    loops_stop_listening(s->loops);
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
    if (s->loops != NULL)
        server_cancel(s);
    if (s->workers != NULL)
        workers_end(s->workers); /* before the exchanges that they work for */
    loops_destroy(s->loops);
    if (s->workers != NULL)
        workers_destroy(s->workers);
    latest_destroy(s->latest);
    metrics_destroy(s->metrics);
    response_store_destroy(s->responses);
    listener_close(&s->listener);
    tls_destroy(s->tls);
    if (s->idle_fd >= 0)
        close(s->idle_fd);
    pthread_mutex_destroy(&s->lock);
    gate_free(&s->gate);
    free(s->host);
    budget_file_close(s->budgets, s->keys);
    keys_release(s->keys);
    free(s);
}
