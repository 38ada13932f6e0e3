/*
 * digest.h: SHA-1 and SHA-256 of what comes by the gigabyte, by libcrypto, which uses the
 * processor's own instructions. (sha256.h is for the few bytes of a request: its state is plain
 * and may be copied.) One thread at a time.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>

#include "base/failure.h"

typedef enum digest_kind { DIGEST_SHA1, DIGEST_SHA256 } digest_kind;
typedef struct digest digest;

#define DIGEST_TEXT_SIZE 65 /* 64 hexadecimal digits, and a NUL */

error_code digest_create(digest **out, digest_kind kind, failure *fail);
void digest_destroy(digest *d); /* NULL too */

void digest_start(digest *d); /* from nothing again */
void digest_add(digest *d, const void *data, size_t length);
/* Lower-case digits; the digest is used up until it is started again. */
void digest_end(digest *d, char text[DIGEST_TEXT_SIZE]);

#endif
