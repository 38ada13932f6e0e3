#include "base/digest.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

struct digest {
    EVP_MD_CTX *context;
    const EVP_MD *kind;
    bool is_broken; /* libcrypto refused something: the text is then empty and equals none */
};

error_code digest_create(digest **out, digest_kind kind, failure *fail)
{
    digest *d = calloc(1, sizeof *d);
    *out = d;
    if (d != NULL) {
        d->context = EVP_MD_CTX_new();
        d->kind = kind == DIGEST_SHA1 ? EVP_sha1() : EVP_sha256();
    }
    if (d == NULL || d->context == NULL) {
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

void digest_end(digest *d, char text[DIGEST_TEXT_SIZE])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    text[0] = '\0';
    if (d->is_broken || EVP_DigestFinal_ex(d->context, bytes, &length) != 1)
        return;
    for (unsigned i = 0; i < length && 2 * i + 2 < DIGEST_TEXT_SIZE; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
}
