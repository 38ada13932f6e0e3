/* kept.c: one file a value, in the user's cache, replaced by a rename. */
#include "base/kept.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/json.h"
#include "base/log.h"
#include "base/path.h"
#include "base/whole_file.h"

#define LARGEST_FILE ((size_t)1 << 18) /* bytes; sixty answers of sixteen labels take 30,000 */
#define NAME_DIGITS 24                 /* of the key's digest, in a file's name */

struct kept_store {
    char *folder;
    char program[64]; /* another build may compute other bits, or take another time */
    bool anew;
};

/* ---- places ---------------------------------------------------------------------------------- */

static char *cache_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME");
    char *whole = NULL;
    if (cache == NULL || cache[0] != '/') /* the standard says: absolute or ignored */
        return path_expand_home("~/.cache/a-io/measured");
    return asprintf(&whole, "%s/a-io/measured", cache) < 0 ? NULL : whole;
}

static bool name_program(char text[64])
{
    struct stat info;
    if (stat("/proc/self/exe", &info) != 0)
        return false;
    snprintf(text, 64, "%lld %lld.%09ld", (long long)info.st_size, (long long)info.st_mtim.tv_sec,
             info.st_mtim.tv_nsec);
    return true;
}

kept_store *kept_open(const char *folder, bool anew)
{
    kept_store *k = calloc(1, sizeof *k);
    if (k == NULL)
        return NULL;
    k->anew = anew;
    k->folder = folder != NULL ? strdup(folder) : cache_folder();
    if (k->folder != NULL && k->folder[0] == '/' && name_program(k->program))
        return k;
    kept_close(k);
    return NULL;
}

void kept_close(kept_store *k)
{
    if (k != NULL)
        free(k->folder);
    free(k);
}

/* The same for every build, so that a new one takes the old one's place. NULL: no memory. */
static char *file_path(const kept_store *k, const char *kind, const char *key)
{
    char text[DIGEST_TEXT_SIZE], *path = NULL;
    digest *d;
    if (digest_create(&d, DIGEST_SHA256, NULL) != OK)
        return NULL;
    digest_add(d, key, strlen(key));
    error_code code = digest_read_text(d, text, NULL);
    digest_destroy(d);
    if (code != OK || asprintf(&path, "%s/%s-%.*s.json", k->folder, kind, NAME_DIGITS, text) < 0)
        return NULL;
    return path;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* The file's bytes, no more than `size`; 0: there is none that could be ours. */
static size_t read_file(const char *path, char *bytes, size_t size)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return 0;
    bool ours = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0 &&
                (size_t)info.st_size <= size;
    ssize_t n = ours ? read(fd, bytes, size) : 0;
    close(fd);
    return n > 0 ? (size_t)n : 0;
}

static bool is_text(const json_t *value, const char *wanted)
{
    return json_is_string(value) && strcmp(json_string_value(value), wanted) == 0;
}

static json_t *parse(const kept_store *k, const char *key, const char *bytes, size_t length)
{
    json_error_t error;
    error_code code;
    json_t *root = json_read(bytes, length, JSON_REJECT_DUPLICATES, &error, &code);
    json_t *value = NULL;
    if (is_text(json_object_get(root, "program"), k->program) &&
        is_text(json_object_get(root, "key"), key))
        value = json_incref(json_object_get(root, "value"));
    json_decref(root);
    return value;
}

json_t *kept_read(const kept_store *k, const char *kind, const char *key)
{
    if (k == NULL || k->anew)
        return NULL;
    char *path = file_path(k, kind, key), *bytes = malloc(LARGEST_FILE);
    size_t length = path != NULL && bytes != NULL ? read_file(path, bytes, LARGEST_FILE) : 0;
    json_t *value = length > 0 ? parse(k, key, bytes, length) : NULL;
    free(bytes);
    free(path);
    return value;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool write_file(const char *path, const buffer *text)
{
    return path_make_parents(path, NULL) == OK &&
           whole_file_write(path, text->data, text->length, 0600, WHOLE_FILE_UNSYNCED, NULL) == OK;
}

void kept_write(const kept_store *k, const char *kind, const char *key, json_t *value)
{
    if (k == NULL) {
        json_decref(value);
        return;
    }
    buffer text;
    buffer_init(&text, LARGEST_FILE);
    char *path = file_path(k, kind, key);
    json_t *root = value == NULL ? NULL
                                 : json_pack("{s:s, s:o, s:o}", "program", k->program, "key",
                                             json_text(key, strlen(key)), "value", value);
    if (json_write_exact(&text, root) != OK || path == NULL || !write_file(path, &text))
        log_debug("%s: not kept; it is measured at the next start again", kind);
    free(path);
    buffer_free(&text);
}
