/*
 * admit.c: what the head of a request decides: is it for this server, may its sender ask, is there
 * room.
 *
 * Without a key the only thing between a model and any page that its user's browser shows is where
 * a request says that it comes from. So then only names that mean this machine are served (a page
 * whose own name was pointed here, "DNS rebinding", says another Host), no other page's requests
 * (Origin), and no body that a page can send without being asked first (Content-Type).
 */
#include "server/exchange.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HOST_SIZE 264 /* the longest name, and a port */

/* ---- the name that it was asked by ----------------------------------------------------------- */

/* "[::1]:8098" → "::1", "localhost.:80" → "localhost". False: it is neither a name nor an address
 * of a size that there is. */
static bool split_host(const char *authority, char host[HOST_SIZE])
{
    bool is_v6 = authority[0] == '[';
    size_t n = is_v6 ? strcspn(++authority, "]") : strcspn(authority, ":");
    const char *rest = authority + n + (is_v6 && authority[n] == ']');
    bool has_port = *rest == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1);
    if (n == 0 || n >= HOST_SIZE || (is_v6 && authority[n] != ']') || (*rest != '\0' && !has_port))
        return false;
    memcpy(host, authority, n);
    host[n] = '\0';
    if (host[n - 1] == '.')
        host[n - 1] = '\0';
    return host[0] != '\0';
}

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6);
    return strcasecmp(host, "localhost") == 0;
}

/* The very address that the connection came to: a name cannot be pointed at it. */
static bool is_own_address(const connection *c, const char *host)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    char text[NI_MAXHOST];
    if (getsockname(c->fd, (struct sockaddr *)&own, &length) != 0 ||
        getnameinfo((struct sockaddr *)&own, length, text, sizeof text, NULL, 0, NI_NUMERICHOST) !=
            0)
        return false;
    const char *v4 = strncasecmp(text, "::ffff:", 7) == 0 ? text + 7 : text;
    return strcasecmp(v4, host) == 0;
}

/* The name that the server listens on. Addresses are is_own_address's: 0.0.0.0 means all of them.
 */
static bool is_own_name(const server *s, const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];
    return strcasecmp(s->host, host) == 0 && inet_pton(AF_INET, host, address) != 1 &&
           inet_pton(AF_INET6, host, address) != 1;
}

static bool is_listed(const config_texts *list, const char *text)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (strcasecmp(list->texts[i], text) == 0)
            return true;
    return false;
}

static bool check_host(const exchange *e, api_error *error)
{
    const server *s = e->server;
    const char *authority = e->head->authority;
    char host[HOST_SIZE];
    if (split_host(authority, host) &&
        (is_loopback(host) || is_own_name(s, host) || is_listed(&s->options.allowed_hosts, host) ||
         is_listed(&s->options.allowed_hosts, authority) || is_own_address(e->connection, host)))
        return true;
    return api_error_set(error, 421, "host_not_allowed", "",
                         "this server has no key and does not answer to the name '%.64s': ask for "
                         "localhost, add the name to server.allowed_hosts, or set A_IO_API_KEY",
                         authority);
}

static bool is_same_origin(const char *origin, const char *authority)
{
    size_t scheme = strncasecmp(origin, "http://", 7) == 0    ? 7
                    : strncasecmp(origin, "https://", 8) == 0 ? 8 /* a proxy has the certificate */
                                                              : 0;
    return scheme > 0 && strcasecmp(origin + scheme, authority) == 0;
}

static bool check_origin(exchange *e, api_error *error)
{
    const char *origin = exchange_header(e, "Origin");
    if (origin == NULL || is_same_origin(origin, e->head->authority) || cors_allows(e))
        return true;
    return api_error_set(error, 403, "origin_not_allowed", "",
                         "this server answers no pages of '%.64s': add the origin to "
                         "server.allowed_origins",
                         origin);
}

/* A page can send what a form sends to any server. Without a type there is no form; programs that
 * leave it out are served, and a page's Origin has been looked at. */
static bool check_type(const exchange *e, api_error *error)
{
    const char *type = exchange_header((void *)e, "Content-Type");
    static const char json[] = "application/json";
    if (type == NULL)
        return true;
    size_t n = strcspn(type, "; \t");
    if (n == sizeof json - 1 && strncasecmp(type, json, n) == 0)
        return true;
    return api_error_set(error, 415, NULL, "",
                         "the body's Content-Type is '%.64s'; it must be application/json (with "
                         "curl: -H 'Content-Type: application/json')",
                         type);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Whose clients ask at such a path, also where nothing is. */
static const api *api_of(const char *path, const api *otherwise)
{
    if (strncmp(path, "/api/", 5) == 0)
        return &ollama_chat_api;
    return strncmp(path, "/v1/messages/", 13) == 0 ? &anthropic_api : otherwise;
}

static bool check_route(exchange *e, api_error *error)
{
    const char *method = e->head->method;
    e->api = api_of(e->head->path, e->api);
    e->route = route_find(method, e->head->path, &e->argument);
    if (e->route == NULL)
        return api_error_set(error, 404, NULL, "",
                             "there is nothing at %.64s; docs/http.md has the list of paths",
                             e->path);
    if (e->route->api != NULL)
        e->api = e->route->api;
    if (route_takes(e->route, method))
        return true;
    route_methods(e->route, e->methods, sizeof e->methods);
    return api_error_set(error, 405, NULL, "", "%s takes %s, not %.32s", e->route->path, e->methods,
                         method);
}

static bool check_room(const exchange *e, api_error *error)
{
    const server *s = e->server;
    if (atomic_load(&s->draining))
        return api_error_set_stopping(error);
    if (gate_has_place(e->connection))
        return true;
    if (e->connection->excess == EXCESS_ALL)
        return api_error_set(error, 503, NULL, "", "all %u connections are in use",
                             (unsigned)s->options.max_connections);
    return api_error_set(error, 429, "too_many_connections", "",
                         "as many connections of this address are open as one may have "
                         "(server.max_connections_per_address)");
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* The key as OpenAI's clients send it, or as Anthropic's do; NULL: none. */
static const char *key_of(exchange *e)
{
    static const char scheme[] = "Bearer ";
    const char *value = exchange_header(e, "Authorization");
    if (value == NULL)
        return exchange_header(e, "x-api-key");
    return strncasecmp(value, scheme, sizeof scheme - 1) == 0 ? value + sizeof scheme - 1 : NULL;
}

static bool enter(exchange *e, api_error *error)
{
    key_verdict verdict = key_holder_enter(e->holder, e->start_ms, &error->retry_after_s);
    const key_holder *holder = e->holder;
    const char *name = key_holder_name(holder);
    double retry_after_s = error->retry_after_s;
    if (verdict == KEY_TAKEN)
        return true;
    e->holder = NULL;
    if (verdict == KEY_SPENT) {
        const budget *b = key_holder_budget(holder);
        api_error_set(error, 429, "insufficient_quota", "",
                      "the key '%s' has spent its budget of %.10g a %s", name, b->amount,
                      budget_window_name(b->window));
        error->type = "insufficient_quota";
        error->is_final = true;
    } else if (verdict == KEY_TOO_FAST)
        api_error_set(error, 429, "rate_limit_exceeded", "",
                      "the key '%s' has sent as many requests as it may in a minute", name);
    else
        api_error_set(error, 429, "too_many_at_once", "",
                      "as many requests of the key '%s' are running as it may have at once", name);
    error->retry_after_s = retry_after_s;
    return false;
}

/* Without keys everybody may. What only looks counts for no limit. */
static bool check_key(exchange *e, api_error *error)
{
    failure fail;
    const char *key = key_of(e);
    if (e->keys == NULL)
        return true;
    if (key != NULL && keys_find(e->keys, key, &e->holder, &fail) != OK)
        return api_error_set(error, 503, NULL, "", "%s", fail.text);
    if (e->holder == NULL)
        return api_error_set(error, 401, "invalid_api_key", "",
                             "send a key of the server as 'Authorization: Bearer KEY' or "
                             "'x-api-key: KEY'");
    snprintf(e->key_name, sizeof e->key_name, "%s", key_holder_name(e->holder));
    if (strcmp(e->route->method, "POST") == 0)
        return enter(e, error);
    e->holder = NULL;
    return true;
}

/* With keys, a page without one gets nothing, whatever its origin; the browser is told that those
 * of allowed_origins may read the answer. */
static bool check_page(exchange *e, api_error *error)
{
    if (e->keys == NULL && !e->connection->peer.is_unix)
        return check_host(e, error) && check_origin(e, error);
    cors_allows(e);
    return true;
}

bool admit(exchange *e, api_error *error)
{
    if (!check_page(e, error))
        return false;
    if (cors_is_preflight(e) && e->cors_origin != NULL) {
        e->route = &cors_preflight;
        return true;
    }
    if (!check_route(e, error))
        return false;
    if (e->route->is_open)
        return true;
    return check_key(e, error) && (strcmp(e->route->method, "POST") != 0 || check_type(e, error)) &&
           check_room(e, error);
}
