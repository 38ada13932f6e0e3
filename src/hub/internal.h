/* internal.h: what the files of the hub's room share. */
#ifndef HUB_INTERNAL_H
#define HUB_INTERNAL_H

#include <limits.h>

#include "base/buffer.h"
#include "base/http_client.h"
#include "hub/hub.h"

/* ---- name.c: what may stand in an address or a path ----------------------------------------- */

bool hub_repository_is_valid(const char *text, size_t length);
bool hub_revision_is_valid(const char *text);
bool hub_file_is_valid(const char *text);
bool hub_commit_is_valid(const char *text);
const char *hub_revision(const hub_name *name); /* "main" where the name says none */

/* ---- choose.c: which files a name means ------------------------------------------------------ */

typedef struct hub_file {
    char *name;    /* within the repository */
    uint64_t size; /* bytes, as far as it is known; 0: not */
} hub_file;

/* The files of a repository, or those of them in the cache, at one commit. */
typedef struct hub_listing {
    char commit[HUB_COMMIT_SIZE];
    hub_file *files;
    size_t n;
} hub_listing;

void hub_listing_free(hub_listing *l);
error_code hub_listing_add(hub_listing *l, const char *name, uint64_t size, failure *fail);
void hub_listing_sort(hub_listing *l); /* by name: then a choice does not depend on the order */

/* A split file's name is PREFIX-00001-of-00003.gguf; of any other *part and *n_parts are 1. The
 * prefix is the first *prefix bytes of the name. */
void hub_split(const char *name, size_t *prefix, unsigned *part, unsigned *n_parts);
/* "Q4_K_M" of "x-q4_k_m.gguf", in capitals; "" when the name ends in nothing of that kind. */
void hub_quant_of(const char *file, char quant[HUB_QUANT_SIZE]);

/* Sets chosen[] to the places of the name's files in the listing, all parts in order. The caller
 * frees it. ERR_NOT_FOUND says what there is instead. */
error_code hub_choose(const hub_listing *l, const hub_name *name, size_t **chosen, size_t *n,
                      failure *fail);

/* ---- request.c: asking the hub --------------------------------------------------------------- */

typedef struct hub_session {
    const hub_settings *settings;
    const hub_name *name;
    http_client *client;
    hub_watcher watcher;
    hub_progress progress;
    bool is_away; /* the last answer came from elsewhere, where a redirect of the hub led */
} hub_session;

typedef struct hub_query {
    const char *url;
    bool is_head; /* of a file's metadata: a redirect away from the hub is the answer */
    uint64_t from;
    size_t limit; /* bytes of the body */
    double silence_ms;
    /* The body of an answer 200 or 206, as it comes. */
    bool (*data)(void *context, const http_call *call, const char *data, size_t length);
    void (*restart)(void *context); /* of hub_ask_again: before each try; or NULL */
    void *context;
} hub_query;

/* One question, with the redirects that follow from it. OK: an answer, whatever it says; *out is
 * to be released. The token goes to the hub's own address only. */
error_code hub_ask(hub_session *s, const hub_query *q, http_call **out, failure *fail);
/* OK: the status is 200 or 206, or a redirect of a HEAD. Else what the hub's refusal means. */
error_code hub_judge(const hub_session *s, const http_call *call, failure *fail);
/* True for failures of the network and refusals of the moment: the same may succeed later. */
bool hub_may_pass(const http_call *call, error_code code);

/* Waits before try number `tries` + 1, as long as the hub asked or longer each time.
 * ERR_CANCELLED when the watcher stops it; ERR_BUSY when the hub asks for too much patience. */
error_code hub_back_off(hub_session *s, unsigned tries, const http_call *call, failure *fail);
error_code hub_watch(hub_session *s, failure *fail); /* tells the watcher; ERR_CANCELLED */

/* hub_ask until it succeeds, `tries` times at most; only with an answer that hub_judge likes. */
error_code hub_ask_again(hub_session *s, const hub_query *q, unsigned tries, http_call **out,
                         failure *fail);

/* ---- listing.c ------------------------------------------------------------------------------- */

/* The hub's answer of a repository's files; names that could lead out of the folder are left out.
 * ERR_FORMAT says what is wrong with it. */
error_code hub_listing_parse(const buffer *text, const char *url, hub_listing *out, failure *fail);
/* What the repository holds at the name's revision. */
error_code hub_ask_listing(hub_session *s, unsigned tries, hub_listing *out, failure *fail);

/* ---- cache.c: the cache's folders ------------------------------------------------------------ */

/* All set `path` or fail with ERR_TOO_LARGE. `tail` formats what follows the repository's folder.
 */
error_code cache_repository(const hub_settings *s, const char *repository, char path[PATH_MAX],
                            failure *fail);
error_code cache_path(const hub_settings *s, const hub_name *name, char path[PATH_MAX],
                      failure *fail, const char *tail, ...) __attribute__((format(printf, 5, 6)));

/* The commit that the revision was when it was last looked at; false: the cache does not know. */
bool cache_read_ref(const hub_settings *s, const hub_name *name, char commit[HUB_COMMIT_SIZE]);
error_code cache_write_ref(const hub_settings *s, const hub_name *name, const char *commit,
                           failure *fail);

/* Calls `each` for every file below a folder (not for folders and broken links), `name` relative to
 * it; an error of `each` ends it. A folder that is not there has none. */
error_code cache_walk(const char *folder,
                      error_code (*each)(void *context, const char *name, failure *fail),
                      void *context, failure *fail);

/* The GGUF files of a commit that are in the cache, sorted. */
error_code cache_listing(const hub_settings *s, const hub_name *name, const char *commit,
                         hub_listing *out, failure *fail);

/* A link in the snapshot of a commit to a blob, replacing what stood there. Where the file system
 * has no links the blob itself moves there, as huggingface_hub does it. */
error_code cache_link(const char *blob, const char *etag, const char *pointer, const char *file,
                      failure *fail);

/* Marks the cache's folder as one that backups may leave out. */
void cache_tag(const hub_settings *s);

/* The lock of a blob that huggingface_hub takes too. *fd is to be closed, which gives it back. */
error_code cache_lock(hub_session *s, const char *etag, int *fd, failure *fail);
/* Without waiting and watching: for removals. ERR_BUSY: someone has it. */
error_code cache_try_lock(const hub_settings *s, const hub_name *name, const char *etag, int *fd,
                          failure *fail);

/* ---- download.c ------------------------------------------------------------------------------ */

typedef struct hub_blob {
    char etag[65]; /* SHA-256, or git's SHA-1 for a small file */
    uint64_t size;
} hub_blob;

/* The blob's content under its name in the cache; the lock is held. *fetched grows by what came
 * over the network. */
error_code hub_download(hub_session *s, const hub_blob *b, const char *url, const char *path,
                        uint64_t *fetched, failure *fail);

#endif
