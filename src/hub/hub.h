/*
 * hub.h: model files by name from the Hugging Face hub, kept in the hub's own cache so that its
 * tools and A-IO share them. Knows HTTP and folders; knows no tensor.
 *
 * A name is OWNER/REPO[@REVISION][:QUANT] or OWNER/REPO[@REVISION]/FILE.gguf. hub_find looks into
 * the cache only; hub_fetch asks the hub and downloads what is missing. Everything the hub says is
 * untrusted: names, sizes, checksums and addresses are checked before they are used, and a file
 * has its name in the cache only when its size and its checksum are right.
 *
 * Many processes may do all of this at once, huggingface_hub's among them: both lock the same
 * files in the same way. Within a process: one thread at a time.
 */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/failure.h"

/* ---- where and as whom -------------------------------------------------------------------- */

typedef struct hub_settings {
    char *endpoint; /* "https://huggingface.co", without a final slash */
    char *cache;    /* the folder of models--OWNER--REPO */
    char *token;    /* NULL: none */
    bool offline;
    double answer_ms; /* silence after which a question has failed */
    double stall_ms;  /* likewise of a download */
} hub_settings;

/* From the environment, by the rules of huggingface_hub: HF_ENDPOINT, HF_HUB_CACHE (or
 * HUGGINGFACE_HUB_CACHE), HF_HOME, XDG_CACHE_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE,
 * HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT. ERR_INVALID names
 * the one that cannot be. */
error_code hub_settings_read(hub_settings *out, failure *fail);
void hub_settings_free(hub_settings *s); /* a zeroed one too */

/* ---- names -------------------------------------------------------------------------------- */

#define HUB_REPOSITORY_SIZE 200
#define HUB_REVISION_SIZE 256
#define HUB_QUANT_SIZE 64
#define HUB_FILE_SIZE 512
#define HUB_NAME_SIZE (HUB_REPOSITORY_SIZE + HUB_REVISION_SIZE + HUB_FILE_SIZE)
#define HUB_COMMIT_SIZE 41

typedef struct hub_name {
    char repository[HUB_REPOSITORY_SIZE]; /* OWNER/REPO */
    char revision[HUB_REVISION_SIZE];     /* a branch, a tag or a commit; "" is main */
    char quant[HUB_QUANT_SIZE];           /* "": none asked for */
    char file[HUB_FILE_SIZE];             /* within the repository; "": chosen by quant */
} hub_name;

/* False: the text has not the form of a name. */
bool hub_name_parse(hub_name *out, const char *text);
/* A revision given beside the name; ERR_INVALID when the name has one or it cannot be one. */
error_code hub_name_set_revision(hub_name *name, const char *revision, failure *fail);
/* The name as it is typed. */
void hub_name_text(const hub_name *name, char text[HUB_NAME_SIZE]);

/* ---- finding and fetching ------------------------------------------------------------------- */

/* A model: one file, or all parts of a split one. */
typedef struct hub_files {
    char commit[HUB_COMMIT_SIZE];
    char **paths; /* in the order of the parts: the first is the one to open */
    size_t n_paths;
    uint64_t bytes;   /* of all */
    uint64_t fetched; /* of them, over the network, this time */
} hub_files;

void hub_files_free(hub_files *f); /* a zeroed one too */

/* In the cache, whole. ERR_NOT_FOUND: it is not there. */
error_code hub_find(const hub_settings *s, const hub_name *name, hub_files *out, failure *fail);

typedef struct hub_progress {
    const char *file; /* that is being fetched; NULL: none yet */
    size_t part, n_parts;
    uint64_t done, total; /* bytes of this file */
    bool is_waiting;      /* for another process that fetches it */
    const char
        *trouble; /* what failed and is tried again after a pause, told once; NULL: nothing */
    double pause_s;
} hub_progress;

/* Called often from within hub_fetch; false stops it with ERR_CANCELLED. */
typedef struct hub_watcher {
    bool (*call)(void *context, const hub_progress *p);
    void *context;
} hub_watcher;

/* What the hub has under this name now, into the cache. A download that was cut short goes on
 * where it ended. Failures of the network are tried again, a bounded number of times. When the hub
 * cannot be reached (ERR_IO, ERR_TIMEOUT) the cache is as it was. */
error_code hub_fetch(const hub_settings *s, const hub_name *name, hub_watcher watcher,
                     hub_files *out, failure *fail);

/* ---- what the cache holds ------------------------------------------------------------------- */

typedef struct hub_entry {
    char *name;  /* as hub_find takes it */
    char *path;  /* of the first part */
    char *quant; /* as the file's name says it; "": it does not */
    char commit[HUB_COMMIT_SIZE];
    uint64_t bytes; /* of all parts */
    size_t n_parts, n_missing;
} hub_entry;

typedef struct hub_inventory {
    hub_entry *entries; /* in the order of their names */
    size_t n;
    size_t n_unfinished; /* downloads that were cut short */
    uint64_t unfinished_bytes;
} hub_inventory;

/* Every GGUF file of every revision in the cache. A cache that is not there is an empty one. */
error_code hub_list(const hub_settings *s, hub_inventory *out, failure *fail);
void hub_inventory_free(hub_inventory *i);

/* Removes a name's files from the cache, from all revisions unless it names one; OWNER/REPO alone
 * is everything that is cached of the repository. Content that another revision needs stays.
 * *freed: bytes. ERR_NOT_FOUND: the cache has no such thing. */
error_code hub_remove(const hub_settings *s, const hub_name *name, uint64_t *freed, failure *fail);

#endif
