/*
 * tls.h: TLS 1.2 and 1.3 by OpenSSL on a socket that does not block. Inside the server room only. A
 * certificate may be replaced by any thread; a session is the loop's thread's.
 */
#ifndef SERVER_TLS_H
#define SERVER_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/failure.h"

typedef struct tls tls;                 /* certificate and key */
typedef struct tls_session tls_session; /* of one connection */

/* PEM files: the certificate with those above it, and its key. They are read now, and the paths
 * kept by reference. ERR_NOT_FOUND, ERR_CONFIG. */
error_code tls_create(tls **out, const char *certificate, const char *key, failure *fail);
void tls_destroy(tls *t); /* NULL too */
/* Reads the files again where they have changed since; on an error the old ones stay. *renewed may
 * be NULL. */
error_code tls_renew(tls *t, bool *renewed, failure *fail);

/* NULL: no memory. */
tls_session *tls_session_create(tls *t, int fd);
void tls_session_destroy(tls_session *s); /* NULL too */

/* As recv and send: bytes, 0 at the end, -1 with errno (EAGAIN: not now; EPROTO: what came is no
 * TLS). The handshake happens within the first of them. */
ssize_t tls_session_read(tls_session *s, void *to, size_t size);
ssize_t tls_session_write(tls_session *s, const void *from, size_t size);
/* Says that nothing more will come. */
void tls_session_end(tls_session *s);
/* The other direction has to move before the last read or write can. */
bool tls_session_wants_write(const tls_session *s); /* a read waits for the socket to take bytes */
bool tls_session_wants_read(const tls_session *s);  /* a write waits for bytes to come */
/* There are bytes that were taken from the socket already. */
bool tls_session_has_more(const tls_session *s);

#endif
