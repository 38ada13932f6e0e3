/* settings.c: the environment that huggingface_hub reads too. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/path.h"
#include "hub/hub.h"

#define DEFAULT_ENDPOINT "https://huggingface.co"
#define DEFAULT_ANSWER_S 30
#define DEFAULT_STALL_S 30
#define MAX_TOKEN_BYTES 4000 /* what a header of ours holds */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static bool is_true(const char *value)
{
    static const char *const words[] = {"1", "on", "yes", "true"};
    for (size_t i = 0; value != NULL && i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(value, words[i]) == 0)
            return true;
    return false;
}

static error_code no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for the hub's settings");
}

/* ---- folders ------------------------------------------------------------------------------ */

/* The value of "$NAME" or "${NAME}" at *at, which moves behind it; NULL: nothing of that kind, or
 * a variable that is not set, which stays as it is written. */
static const char *take_variable(const char **at)
{
    const char *start = *at + 1;
    bool braced = *start == '{';
    start += braced;
    size_t length = 0;
    while (isalnum((unsigned char)start[length]) || start[length] == '_')
        length++;
    char name[128];
    if (length == 0 || length >= sizeof name || (braced && start[length] != '}'))
        return NULL;
    memcpy(name, start, length);
    name[length] = '\0';
    const char *value = getenv(name);
    if (value != NULL)
        *at = start + length + braced;
    return value;
}

/* huggingface_hub expands ~ and variables in the folders it is given; the caller frees. */
static char *expand(const char *text)
{
    buffer whole;
    buffer_init(&whole, 1 << 16);
    char *path = path_expand_home(text);
    error_code code = path != NULL ? buffer_add_text(&whole, "") : ERR_MEMORY;
    for (const char *at = path; code == OK && *at != '\0';) {
        const char *value = *at == '$' ? take_variable(&at) : NULL;
        code = value != NULL ? buffer_add_text(&whole, value) : buffer_add(&whole, at++, 1);
    }
    free(path);
    if (code == OK)
        return whole.data; /* malloc'ed: the buffer's memory becomes the caller's */
    buffer_free(&whole);
    return NULL;
}

/* "HEAD/TAIL", expanded. */
static char *expand_within(const char *head, const char *tail)
{
    char *folder = expand(head), *whole = NULL;
    if (folder != NULL && asprintf(&whole, "%s/%s", folder, tail) < 0)
        whole = NULL;
    free(folder);
    return whole;
}

static char *find_home(void)
{
    if (variable("HF_HOME") != NULL)
        return expand(variable("HF_HOME"));
    if (variable("XDG_CACHE_HOME") != NULL)
        return expand_within(variable("XDG_CACHE_HOME"), "huggingface");
    return path_expand_home("~/.cache/huggingface");
}

static char *find_cache(const char *home)
{
    const char *given = variable("HF_HUB_CACHE");
    if (given == NULL)
        given = variable("HUGGINGFACE_HUB_CACHE");
    return given != NULL ? expand(given) : expand_within(home, "hub");
}

/* ---- the token ------------------------------------------------------------------------------ */

/* Without white space around it; an empty one is none. */
static error_code take_token(hub_settings *s, const char *text, size_t length, const char *from,
                             failure *fail)
{
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    while (length > 0 && isspace((unsigned char)text[0])) {
        text++;
        length--;
    }
    for (size_t i = 0; i < length; i++)
        if (!isgraph((unsigned char)text[i]))
            return failure_set(fail, ERR_INVALID, "%s: the token has a character no token has",
                               from);
    if (length > MAX_TOKEN_BYTES)
        return failure_set(fail, ERR_INVALID, "%s: the token is longer than %d bytes", from,
                           MAX_TOKEN_BYTES);
    if (length > 0 && (s->token = strndup(text, length)) == NULL)
        return no_memory(fail);
    return OK;
}

static error_code read_token_file(hub_settings *s, const char *path, failure *fail)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return OK;
    if (fd < 0)
        return failure_set(fail, ERR_IO, "cannot read the hub's token %s: %s", path,
                           strerror(errno));
    buffer text;
    buffer_init(&text, 1 << 16);
    error_code code = buffer_read_fd(&text, fd, fail);
    close(fd);
    if (code == OK)
        code = take_token(s, text.data != NULL ? text.data : "", text.length, path, fail);
    else
        failure_prefix(fail, "%s", path);
    buffer_free(&text);
    return code;
}

static error_code find_token(hub_settings *s, const char *home, failure *fail)
{
    static const char *const names[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    if (is_true(variable("HF_HUB_DISABLE_IMPLICIT_TOKEN")))
        return OK;
    for (size_t i = 0; i < 2; i++)
        if (variable(names[i]) != NULL)
            return take_token(s, variable(names[i]), strlen(variable(names[i])), names[i], fail);
    const char *given = variable("HF_TOKEN_PATH");
    char *path = given != NULL ? expand(given) : expand_within(home, "token");
    error_code code = path != NULL ? read_token_file(s, path, fail) : no_memory(fail);
    free(path);
    return code;
}

/* ---- all of it ------------------------------------------------------------------------------ */

static error_code find_endpoint(hub_settings *s, failure *fail)
{
    const char *given = variable("HF_ENDPOINT");
    s->endpoint = strdup(given != NULL ? given : DEFAULT_ENDPOINT);
    if (s->endpoint == NULL)
        return no_memory(fail);
    for (size_t n = strlen(s->endpoint); n > 0 && s->endpoint[n - 1] == '/'; n--)
        s->endpoint[n - 1] = '\0';
    if (strncmp(s->endpoint, "https://", 8) != 0 && strncmp(s->endpoint, "http://", 7) != 0)
        return failure_set(fail, ERR_INVALID, "HF_ENDPOINT=%s: must begin with https:// or http://",
                           s->endpoint);
    return OK;
}

/* Whole seconds, as huggingface_hub reads them. */
static error_code find_seconds(const char *name, int fallback, double *ms, failure *fail)
{
    const char *text = variable(name);
    char *end = NULL;
    long seconds = text != NULL ? strtol(text, &end, 10) : fallback;
    if (text != NULL && (*end != '\0' || seconds < 1 || seconds > 86400))
        return failure_set(fail, ERR_INVALID, "%s=%s: must be seconds, 1 to 86400", name, text);
    *ms = 1e3 * (double)seconds;
    return OK;
}

error_code hub_settings_read(hub_settings *out, failure *fail)
{
    *out = (hub_settings){.offline = is_true(variable("HF_HUB_OFFLINE") != NULL
                                                 ? variable("HF_HUB_OFFLINE")
                                                 : variable("TRANSFORMERS_OFFLINE"))};
    char *home = find_home();
    out->cache = home != NULL ? find_cache(home) : NULL;
    error_code code = out->cache != NULL ? OK : no_memory(fail);
    if (code == OK)
        code = find_endpoint(out, fail);
    if (code == OK)
        code = find_token(out, home, fail);
    if (code == OK)
        code = find_seconds("HF_HUB_ETAG_TIMEOUT", DEFAULT_ANSWER_S, &out->answer_ms, fail);
    if (code == OK)
        code = find_seconds("HF_HUB_DOWNLOAD_TIMEOUT", DEFAULT_STALL_S, &out->stall_ms, fail);
    free(home);
    if (code != OK)
        hub_settings_free(out);
    return code;
}

void hub_settings_free(hub_settings *s)
{
    free(s->endpoint);
    free(s->cache);
    free(s->token);
    *s = (hub_settings){.endpoint = NULL};
}
