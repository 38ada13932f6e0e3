/* listener.c: opening, taking over and removing the listening socket. */
#include "server/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SYSTEMD_FIRST_FD 3 /* SD_LISTEN_FDS_START */

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_UNIX)
        return true;
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)a)->sin6_addr);
}

/* Where it really is: the port may have been any free one. */
static void describe(listener *l, const char *scheme)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char host[64] = "", port[16] = "";
    if (getsockname(l->fd, (struct sockaddr *)&address, &length) != 0)
        return;
    l->is_public = !is_loopback(&address);
    if (address.ss_family == AF_UNIX) {
        snprintf(l->url, sizeof l->url, "unix:%.108s", ((struct sockaddr_un *)&address)->sun_path);
        return;
    }
    getnameinfo((struct sockaddr *)&address, length, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    bool is_v6 = strchr(host, ':') != NULL;
    snprintf(l->url, sizeof l->url, "%s://%s%s%s:%s", scheme, is_v6 ? "[" : "", host,
             is_v6 ? "]" : "", port);
}

/* ---- an address ------------------------------------------------------------------------------ */

static error_code open_address(listener *l, const char *host, uint16_t number, failure *fail)
{
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)number);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int error = getaddrinfo(host, port, &hints, &addresses);
    if (error != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", host, gai_strerror(error));
    int reason = 0;
    for (struct addrinfo *a = addresses; a != NULL && l->fd < 0; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        const int on = 1;
        if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
            bind(fd, a->ai_addr, a->ai_addrlen) == 0) {
            l->fd = fd;
        } else {
            reason = errno;
            if (fd >= 0)
                close(fd);
        }
    }
    freeaddrinfo(addresses);
    if (l->fd >= 0)
        return OK;
    return failure_set(fail, ERR_IO, "cannot listen on %s port %s: %s%s", host, port,
                       strerror(reason),
                       reason == EADDRINUSE ? "; choose another one with --port" : "");
}

/* ---- a path ---------------------------------------------------------------------------------- */

/* A socket that nobody answers was left by a process that is gone. */
static bool is_left_over(const struct sockaddr_un *address)
{
    struct stat status;
    if (lstat(address->sun_path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_silent = fd >= 0 &&
                     connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
                     errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return is_silent;
}

static error_code open_path(listener *l, const char *path, failure *fail)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        return failure_set(fail, ERR_CONFIG, "server.socket: the path is longer than %zu bytes",
                           sizeof address.sun_path - 1);
    strcpy(address.sun_path, path);
    if (is_left_over(&address))
        unlink(path);
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&address, sizeof address) != 0)
        return failure_set(fail, ERR_IO, "cannot listen on %s: %s", path, strerror(errno));
    l->path = path;
    return OK;
}

/* ---- systemd --------------------------------------------------------------------------------- */

/* True: it passed a socket on to this very process. */
static bool take_systemd(listener *l)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    if (pid == NULL || count == NULL || strtol(pid, NULL, 10) != (long)getpid() ||
        strtol(count, NULL, 10) < 1)
        return false;
    l->fd = SYSTEMD_FIRST_FD;
    fcntl(l->fd, F_SETFD, FD_CLOEXEC);
    fcntl(l->fd, F_SETFL, fcntl(l->fd, F_GETFL) | O_NONBLOCK);
    return true;
}

error_code listener_open(listener *l, const char *scheme, const char *host, uint16_t port,
                         const char *path, failure *fail)
{
    *l = (listener){.fd = -1};
    error_code code = OK;
    if (!take_systemd(l))
        code = path != NULL ? open_path(l, path, fail) : open_address(l, host, port, fail);
    if (code == OK)
        describe(l, scheme);
    else
        listener_close(l);
    return code;
}

int listener_take(listener *l)
{
    int fd = l->fd;
    l->fd = -1;
    return fd;
}

void listener_close(listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    if (l->path != NULL)
        unlink(l->path);
    l->path = NULL;
}
