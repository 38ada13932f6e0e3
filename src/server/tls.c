/* tls.c: OpenSSL's contexts and sessions, and how their states look to the loop. */
#include "server/tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct file_state {
    struct timespec changed;
    ino_t inode;
    off_t size;
} file_state;

struct tls {
    const char *paths[2]; /* certificate, key */
    pthread_mutex_t lock; /* guards the context */
    SSL_CTX *context;
    file_state seen[2]; /* the renewing thread's */
};

struct tls_session {
    SSL *ssl;
    bool wants_write, wants_read, is_broken;
};

/* ---- certificate and key --------------------------------------------------------------------- */

static error_code openssl_failed(const char *path, failure *fail)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = error != 0 ? ERR_reason_error_string(error) : NULL;
    ERR_clear_error();
    return failure_set(fail, ERR_CONFIG, "%s: %s", path,
                       reason != NULL ? reason : "OpenSSL refuses it");
}

/* HTTP/1.1 is what is spoken here; clients that offer nothing of it find out by themselves. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length,
                           const unsigned char *offered, unsigned int n, void *context)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    (void)ssl;
    (void)context;
    if (SSL_select_next_proto(&chosen, out_length, ours, sizeof ours - 1, offered, n) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static error_code look(const tls *t, file_state seen[2], failure *fail)
{
    for (size_t i = 0; i < 2; i++) {
        struct stat status;
        if (stat(t->paths[i], &status) != 0)
            return failure_set(fail, error_code_of_errno(errno), "%s: %s", t->paths[i],
                               strerror(errno));
        memset(&seen[i], 0, sizeof seen[i]);
        seen[i].changed = status.st_mtim;
        seen[i].inode = status.st_ino;
        seen[i].size = status.st_size;
    }
    return OK;
}

static error_code load(const tls *t, SSL_CTX **out, failure *fail)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    error_code code = OK;
    if (c == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for TLS");
    SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                            SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_alpn_select_cb(c, choose_protocol, NULL);
    if (SSL_CTX_use_certificate_chain_file(c, t->paths[0]) != 1)
        code = openssl_failed(t->paths[0], fail);
    else if (SSL_CTX_use_PrivateKey_file(c, t->paths[1], SSL_FILETYPE_PEM) != 1 ||
             SSL_CTX_check_private_key(c) != 1)
        code = openssl_failed(t->paths[1], fail);
    if (code == OK)
        *out = c;
    else
        SSL_CTX_free(c);
    return code;
}

error_code tls_create(tls **out, const char *certificate, const char *key, failure *fail)
{
    tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for TLS");
    t->paths[0] = certificate;
    t->paths[1] = key;
    pthread_mutex_init(&t->lock, NULL);
    error_code code = look(t, t->seen, fail);
    if (code == OK)
        code = load(t, &t->context, fail);
    if (code == OK)
        *out = t;
    else
        tls_destroy(t);
    return code;
}

void tls_destroy(tls *t)
{
    if (t == NULL)
        return;
    SSL_CTX_free(t->context);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

error_code tls_renew(tls *t, bool *renewed, failure *fail)
{
    file_state now[2];
    SSL_CTX *fresh = NULL;
    if (renewed != NULL)
        *renewed = false;
    error_code code = look(t, now, fail);
    if (code != OK || memcmp(now, t->seen, sizeof now) == 0)
        return code;
    memcpy(t->seen, now, sizeof now); /* what is wrong is said once, not at every look */
    code = load(t, &fresh, fail);
    if (code != OK)
        return code;
    pthread_mutex_lock(&t->lock);
    SSL_CTX *old = t->context;
    t->context = fresh;
    pthread_mutex_unlock(&t->lock);
    SSL_CTX_free(old); /* sessions hold it as long as they last */
    if (renewed != NULL)
        *renewed = true;
    return OK;
}

/* ---- sessions ------------------------------------------------------------------------------- */

tls_session *tls_session_create(tls *t, int fd)
{
    tls_session *s = calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    pthread_mutex_lock(&t->lock);
    s->ssl = SSL_new(t->context);
    pthread_mutex_unlock(&t->lock);
    if (s->ssl == NULL || SSL_set_fd(s->ssl, fd) != 1) {
        tls_session_destroy(s);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_accept_state(s->ssl);
    return s;
}

void tls_session_destroy(tls_session *s)
{
    if (s == NULL)
        return;
    SSL_free(s->ssl);
    free(s);
}

/* What a call that moved nothing means, as errno tells it. */
static ssize_t not_moved(tls_session *s, int result)
{
    int kept = errno;
    int error = SSL_get_error(s->ssl, result);
    ERR_clear_error();
    s->wants_read = error == SSL_ERROR_WANT_READ;
    s->wants_write = error == SSL_ERROR_WANT_WRITE;
    if (s->wants_read || s->wants_write) {
        errno = EAGAIN;
        return -1;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    s->is_broken = true; /* not even an end may be said after these */
    errno = error == SSL_ERROR_SYSCALL && kept != 0 ? kept : EPROTO;
    return -1;
}

static int limited(size_t size)
{
    return size < INT_MAX ? (int)size : INT_MAX;
}

ssize_t tls_session_read(tls_session *s, void *to, size_t size)
{
    errno = 0;
    int n = SSL_read(s->ssl, to, limited(size));
    if (n <= 0)
        return not_moved(s, n);
    s->wants_read = s->wants_write = false;
    return n;
}

ssize_t tls_session_write(tls_session *s, const void *from, size_t size)
{
    errno = 0;
    int n = SSL_write(s->ssl, from, limited(size));
    if (n <= 0)
        return not_moved(s, n);
    s->wants_read = s->wants_write = false;
    return n;
}

void tls_session_end(tls_session *s)
{
    if (s->is_broken || !SSL_is_init_finished(s->ssl))
        return;
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}

bool tls_session_wants_write(const tls_session *s)
{
    return s->wants_write;
}

bool tls_session_wants_read(const tls_session *s)
{
    return s->wants_read;
}

bool tls_session_has_more(const tls_session *s)
{
    return SSL_pending(s->ssl) > 0;
}
