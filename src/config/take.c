/* take.c: texts, paths and words as files have them. */
#include "config/take.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"

error_code config_no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for the configuration");
}

bool config_copy_text(char **to, const char *from, const char *otherwise)
{
    const char *text = from != NULL ? from : otherwise;
    *to = text != NULL ? strdup(text) : NULL;
    return text == NULL || *to != NULL;
}

char *config_resolve_path(const char *path, const char *file)
{
    const char *slash = strrchr(file, '/');
    char *expanded = path_expand_home(path), *whole = NULL;
    if (expanded == NULL || expanded[0] == '/' || expanded[0] == '\0' || slash == NULL)
        return expanded;
    if (asprintf(&whole, "%.*s/%s", (int)(slash - file), file, expanded) < 0)
        whole = NULL;
    free(expanded);
    return whole;
}

bool config_copy_path(char **to, const char *path, const char *file)
{
    *to = path != NULL ? config_resolve_path(path, file) : NULL;
    return path == NULL || *to != NULL;
}

/* ---- words ---------------------------------------------------------------------------------- */

bool config_flag_parse(const char *text, bool *out)
{
    *out = strcmp(text, "true") == 0;
    return *out || strcmp(text, "false") == 0;
}

bool config_kv_parse(const char *text, config_kv *out)
{
    static const struct {
        const char *name;
        config_kv kv;
    } types[] = {{"f16", CONFIG_KV_F16},
                 {"f32", CONFIG_KV_F32},
                 {"q8_0", CONFIG_KV_Q8_0},
                 {"q4", CONFIG_KV_Q4}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(text, types[i].name) == 0) {
            *out = types[i].kv;
            return true;
        }
    return false;
}

bool config_lookup_parse(const char *text, config_lookup *out)
{
    *out = (config_lookup){.mode = CONFIG_LOOKUP_OFF};
    if (strcmp(text, "off") == 0)
        return true;
    if (strcmp(text, "auto") == 0) {
        out->mode = CONFIG_LOOKUP_AUTO;
        return true;
    }
    if (strcmp(text, "draft") == 0) {
        out->mode = CONFIG_LOOKUP_DRAFT;
        return true;
    }
    if (text[0] < '1' || text[0] > '9' || strlen(text) > 2 ||
        (text[1] != '\0' && (text[1] < '0' || text[1] > '9')))
        return false;
    out->mode = CONFIG_LOOKUP_FIXED;
    out->length = (uint32_t)atoi(text);
    return out->length <= CONFIG_MAX_DRAFT;
}
