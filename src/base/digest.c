/* digest.c: digests of libcrypto; making the first one is its set-up, which is what can fail. */
#include "base/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct digest {
    EVP_MD_CTX *context;
    EVP_MD_CTX *ending; /* a copy that is ended in its place */
    const EVP_MD *kind;
    bool is_broken; /* libcrypto had no memory for something */
};

error_code digest_prepare(failure *fail)
{
    digest *first;
    uint8_t bytes[DIGEST_SIZE];
    error_code code = digest_create(&first, DIGEST_SHA256, fail);
    if (code == OK)
        code = digest_read(first, bytes, fail);
    digest_destroy(first);
    return code;
}

error_code digest_create(digest **out, digest_kind kind, failure *fail)
{
    digest *d = calloc(1, sizeof *d);
    *out = d;
    if (d != NULL) {
        d->context = EVP_MD_CTX_new();
        d->ending = EVP_MD_CTX_new();
        d->kind = kind == DIGEST_SHA1 ? EVP_sha1() : EVP_sha256();
    }
    if (d == NULL || d->context == NULL || d->ending == NULL) {
        digest_destroy(d);
        *out = NULL;
        return failure_set(fail, ERR_MEMORY, "no memory for a checksum");
    }
    digest_start(d);
    return OK;
}

void digest_destroy(digest *d)
{
    if (d == NULL)
        return;
    EVP_MD_CTX_free(d->context);
    EVP_MD_CTX_free(d->ending);
    free(d);
}

void digest_start(digest *d)
{
    d->is_broken = EVP_DigestInit_ex(d->context, d->kind, NULL) != 1;
}

void digest_add(digest *d, const void *data, size_t length)
{
    d->is_broken = d->is_broken || EVP_DigestUpdate(d->context, data, length) != 1;
}

error_code digest_read(digest *d, uint8_t bytes[DIGEST_SIZE], failure *fail)
{
    memset(bytes, 0, DIGEST_SIZE);
    if (d->is_broken || EVP_MD_CTX_copy_ex(d->ending, d->context) != 1 ||
        EVP_DigestFinal_ex(d->ending, bytes, NULL) != 1)
        return failure_set(fail, ERR_MEMORY, "no memory for a checksum");
    return OK;
}

error_code digest_read_text(digest *d, char text[DIGEST_TEXT_SIZE], failure *fail)
{
    uint8_t bytes[DIGEST_SIZE];
    error_code code = digest_read(d, bytes, fail);
    size_t length = code == OK ? (size_t)EVP_MD_get_size(d->kind) : 0;
    text[0] = '\0';
    for (size_t i = 0; i < length; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return code;
}
