/*
 * listener.h: the socket that connections come to: an address and port, a Unix socket's path, or
 * what systemd opened (sd_listen_fds(3)). Inside the server room only.
 */
#ifndef SERVER_LISTENER_H
#define SERVER_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/failure.h"

typedef struct listener {
    int fd;           /* -1: none */
    bool is_public;   /* others than this machine's processes may reach it */
    char url[128];    /* http://127.0.0.1:8098, or unix:/run/a-io.sock */
    const char *path; /* of the Unix socket that was made, and is removed at the end; NULL: none */
} listener;

/* A socket that systemd passed on comes before both; `path` (NULL: none) before the address. Bound,
 * not listening yet. `scheme`: "http" or "https". ERR_IO names what is taken. */
error_code listener_open(listener *l, const char *scheme, const char *host, uint16_t port,
                         const char *path, failure *fail);
/* Gives the socket away; the path stays until listener_close. */
int listener_take(listener *l);
void listener_close(listener *l);

#endif
