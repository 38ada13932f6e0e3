/*
 * kept.h: results of one start that spare later ones their work: what steps cost on this machine,
 * what the probe said of the built-in requests.
 *
 * One JSON value a file, in the user's cache, found by a key that names all it depends on; this
 * program, as it was built, is always part of it. Nothing here fails: what cannot be read, or was
 * kept by another program or under another key, is not there, and what cannot be written is
 * measured again. A file is anybody's who may write to the cache: only its size, its shape and its
 * key are checked here, the numbers in it by who asked. Any thread.
 */
#ifndef BASE_KEPT_H
#define BASE_KEPT_H

#include <jansson.h>
#include <stdbool.h>

typedef struct kept_store kept_store;

/* In the folder `folder`, or NULL: a-io/measured in XDG_CACHE_HOME, or in ~/.cache. `anew`: nothing
 * that was kept is read, but replaced. NULL, which the others take, where there is no such place.
 */
kept_store *kept_open(const char *folder, bool anew);
void kept_close(kept_store *k);

/* A new reference; NULL: nothing was kept. `kind` is a short word, of letters alone. */
json_t *kept_read(const kept_store *k, const char *kind, const char *key);
/* Takes the value over (NULL: there is none). The old file stays until the new one is whole. */
void kept_write(const kept_store *k, const char *kind, const char *key, json_t *value);

#endif
