/*
 * digest.h: SHA-1 and SHA-256 by libcrypto, which uses the processor's own instructions. A digest
 * is one thread's at a time.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

typedef enum digest_kind { DIGEST_SHA1, DIGEST_SHA256 } digest_kind;
typedef struct digest digest;

#define DIGEST_SIZE 32                         /* bytes of the longest, SHA-256 */
#define DIGEST_TEXT_SIZE (2 * DIGEST_SIZE + 1) /* hexadecimal digits, and a NUL */

/* libcrypto sets itself up once, and where memory lacks then it never works: to be called at start
 * by what makes digests later on. */
error_code digest_prepare(failure *fail);

/* Nothing came yet. */
error_code digest_create(digest **out, digest_kind kind, failure *fail);
void digest_destroy(digest *d); /* NULL too */

void digest_start(digest *d); /* from nothing again */
void digest_add(digest *d, const void *data, size_t length);
/* Of what came so far; more may come after it. SHA-1's 20 bytes are followed by zeros. ERR_MEMORY,
 * also when something before it had failed. */
error_code digest_read(digest *d, uint8_t bytes[DIGEST_SIZE], failure *fail);
/* The same in lower-case digits: 40 of them or 64. */
error_code digest_read_text(digest *d, char text[DIGEST_TEXT_SIZE], failure *fail);

#endif
