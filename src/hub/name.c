/* name.c: the names of models, and which texts may be parts of one. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/utf8.h"
#include "hub/internal.h"

#define MAX_PART 96 /* the hub's limit for an owner's and a repository's name */

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* An owner or a repository: letters, digits and -._ with a word's character at both ends; "--"
 * separates the two in the cache's folders, so neither may hold it. */
static bool is_part(const char *text, size_t length)
{
    if (length == 0 || length > MAX_PART || !is_word(text[0]) || !is_word(text[length - 1]))
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!is_word(text[i]) && text[i] != '-' && text[i] != '.')
            return false;
        if (i > 0 && text[i] == text[i - 1] && (text[i] == '-' || text[i] == '.'))
            return false;
    }
    return true;
}

static bool ends_with(const char *text, size_t length, const char *end)
{
    size_t n = strlen(end);
    return length >= n && strncasecmp(text + length - n, end, n) == 0;
}

bool hub_repository_is_valid(const char *text, size_t length)
{
    const char *slash = memchr(text, '/', length);
    if (slash == NULL || length >= HUB_REPOSITORY_SIZE)
        return false;
    size_t owner = (size_t)(slash - text);
    return is_part(text, owner) && is_part(slash + 1, length - owner - 1) &&
           !ends_with(text, length, ".git");
}

/* Git's rules for the names of branches and tags, as far as a path and an address care. */
bool hub_revision_is_valid(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= HUB_REVISION_SIZE || strstr(text, "..") != NULL ||
        strstr(text, "//") != NULL || text[length - 1] == '/' || ends_with(text, length, ".lock"))
        return false;
    for (size_t i = 0; i < length; i++) {
        bool starts = i == 0 || text[i - 1] == '/';
        if (!is_word(text[i]) && (starts || strchr("-./+", text[i]) == NULL))
            return false;
    }
    return true;
}

/* A file within a repository: no part of it may lead elsewhere or be hidden, and a terminal that
 * shows it may not be steered (which the second control characters do too, C2 80 … C2 9F). */
bool hub_file_is_valid(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= HUB_FILE_SIZE || text[length - 1] == '/' ||
        utf8_valid_prefix(text, length) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i], before = i > 0 ? (unsigned char)text[i - 1] : '/';
        if (c < ' ' || c == 0x7f || c == '\\' || (before == 0xc2 && c < 0xa0) ||
            (before == '/' && (c == '.' || c == '/')))
            return false;
    }
    return true;
}

bool hub_commit_is_valid(const char *text)
{
    return strlen(text) == HUB_COMMIT_SIZE - 1 &&
           strspn(text, "0123456789abcdef") == HUB_COMMIT_SIZE - 1;
}

static bool quant_is_valid(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= HUB_QUANT_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_word(text[i]) && text[i] != '-' && text[i] != '.')
            return false;
    return true;
}

/* Copies text[0 … length) into `out` of `size`; false: it does not fit. */
static bool copy(char *out, size_t size, const char *text, size_t length)
{
    if (length >= size)
        return false;
    memcpy(out, text, length);
    out[length] = '\0';
    return true;
}

/* What stands behind OWNER/REPO: [@REVISION], then :QUANT or /FILE.gguf or nothing. */
static bool parse_rest(hub_name *n, const char *text)
{
    if (text[0] == '@') {
        size_t length = strcspn(++text, ":/");
        if (!copy(n->revision, sizeof n->revision, text, length) ||
            !hub_revision_is_valid(n->revision))
            return false;
        text += length;
    }
    if (text[0] == ':')
        return copy(n->quant, sizeof n->quant, text + 1, strlen(text + 1)) &&
               quant_is_valid(n->quant);
    if (text[0] == '/')
        return copy(n->file, sizeof n->file, text + 1, strlen(text + 1)) &&
               hub_file_is_valid(n->file) && ends_with(n->file, strlen(n->file), ".gguf");
    /* OWNER/X.gguf is a path that someone mistyped, rather than a repository. */
    return text[0] == '\0' && !ends_with(n->repository, strlen(n->repository), ".gguf");
}

bool hub_name_parse(hub_name *out, const char *text)
{
    *out = (hub_name){.repository = ""};
    size_t owner = strcspn(text, "/");
    if (text[owner] != '/')
        return false;
    size_t length = owner + 1 + strcspn(text + owner + 1, "@:/");
    return hub_repository_is_valid(text, length) &&
           copy(out->repository, sizeof out->repository, text, length) &&
           parse_rest(out, text + length);
}

error_code hub_name_set_revision(hub_name *name, const char *revision, failure *fail)
{
    if (name->revision[0] != '\0')
        return failure_set(fail, ERR_INVALID, "--revision %s: the name has @%s already", revision,
                           name->revision);
    if (!hub_revision_is_valid(revision))
        return failure_set(fail, ERR_INVALID, "--revision: \"%s\" is no branch, tag or commit",
                           revision);
    strcpy(name->revision, revision);
    return OK;
}

void hub_name_text(const hub_name *name, char text[HUB_NAME_SIZE])
{
    bool revised = name->revision[0] != '\0';
    const char *rest = name->file[0] != '\0' ? name->file : name->quant;
    snprintf(text, HUB_NAME_SIZE, "%s%s%s%s%s", name->repository, revised ? "@" : "",
             name->revision,
             name->file[0] != '\0'    ? "/"
             : name->quant[0] != '\0' ? ":"
                                      : "",
             rest);
}

const char *hub_revision(const hub_name *name)
{
    return name->revision[0] != '\0' ? name->revision : "main";
}
