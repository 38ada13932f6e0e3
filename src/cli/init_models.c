/* init_models.c: the models of `a-io init`: what is named, what they are called, whether they fit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/path.h"
#include "cli/init.h"
#include "cli/model_file.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"

const char *init_role(const init_report *r, size_t i)
{
    static const char *const pair[] = {"small", "large"};
    return r->n_models == 2 ? pair[i] : r->models[i].name;
}

/* ---- what is named -------------------------------------------------------------------------- */

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

/* NAME=WHERE: the name, and what is left. A file may have such a name itself. */
static error_code take_name(init_model *m, const char **given, failure *fail)
{
    size_t n = strspn(*given, PLAIN);
    if ((*given)[n] != '=' || path_is_file(*given))
        return OK;
    if (n == 0 || n >= sizeof m->name || (*given)[n + 1] == '\0')
        return failure_set(fail, ERR_INVALID,
                           "%s: NAME=FILE or NAME=URL, the name up to %zu letters", *given,
                           sizeof m->name - 1);
    memcpy(m->name, *given, n);
    *given += n + 1;
    return OK;
}

/* An absolute path where there is a file or folder, so that the configuration may lie anywhere;
 * else as it was given: a name at the hub. *file is the file itself. */
static error_code find_file(init_model *m, char **file, const char *given, failure *fail)
{
    error_code code = model_file_find(given, NULL, file, fail);
    if (code != OK)
        return code;
    char *expanded = path_expand_home(given), *whole = NULL;
    bool is_here = expanded != NULL && (path_is_file(expanded) || path_is_folder(expanded));
    if (expanded != NULL)
        whole = is_here ? realpath(expanded, NULL) : strdup(given);
    free(expanded);
    m->path = whole;
    return whole != NULL
               ? OK
               : failure_set(fail, error_code_of_errno(errno), "%s: %s", given, strerror(errno));
}

/* After its file, as far as a name may have its letters. */
static void name_after(init_model *m, const char *file)
{
    const char *slash = strrchr(file, '/'), *from = slash != NULL ? slash + 1 : file;
    size_t n = 0;
    for (; *from != '\0' && strcmp(from, ".gguf") != 0 && n + 1 < sizeof m->name; from++)
        m->name[n++] = strchr(PLAIN, *from) != NULL ? *from : '-';
    m->name[n] = '\0';
}

static error_code find_model(init_model *m, char **file, const char *given, failure *fail)
{
    const char *where = given;
    error_code code = take_name(m, &where, fail);
    if (code != OK)
        return code;
    if (!is_url(where)) {
        code = find_file(m, file, where, fail);
        if (code == OK && m->name[0] == '\0')
            name_after(m, *file);
        return code;
    }
    if (m->name[0] == '\0')
        return failure_set(fail, ERR_INVALID, "%s: NAME=URL says what the server calls its model",
                           given);
    m->url = strdup(where);
    return m->url != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for a model");
}

static bool is_same_file(const char *a, const char *b)
{
    char *one = a != NULL ? realpath(a, NULL) : NULL, *other = b != NULL ? realpath(b, NULL) : NULL;
    bool same = one != NULL && other != NULL && strcmp(one, other) == 0;
    free(one);
    free(other);
    return same;
}

static error_code check_files(char *const *files, size_t n, failure *fail)
{
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < i; k++)
            if (is_same_file(files[i], files[k]))
                return failure_set(fail, ERR_INVALID, "%s is named twice: a pair is two models",
                                   files[i]);
    return files[0] != NULL
               ? OK
               : failure_set(fail, ERR_INVALID,
                             "the first model must be a file: the probe that is chosen "
                             "here runs in it");
}

/* Names of files that say nothing, of a pair: then the roles do. */
static void name_pair(init_report *r)
{
    init_model *small = &r->models[0], *large = &r->models[1];
    bool is_clear = strcmp(small->name, large->name) != 0 && small->name[0] != '\0' &&
                    large->name[0] != '\0' && strcmp(small->name, "auto") != 0 &&
                    strcmp(large->name, "auto") != 0;
    if (is_clear)
        return;
    strcpy(small->name, "small");
    strcpy(large->name, "large");
}

error_code init_find_models(init_report *r, failure *fail)
{
    char *files[CONFIG_MAX_MODELS] = {NULL};
    error_code code = OK;
    for (; code == OK && r->n_models < r->options->n_given; r->n_models++)
        code = find_model(&r->models[r->n_models], &files[r->n_models],
                          r->options->given[r->n_models], fail);
    if (code == OK)
        code = check_files(files, r->n_models, fail);
    if (code == OK && r->n_models == 2)
        name_pair(r);
    for (size_t i = 0; i < CONFIG_MAX_MODELS; i++)
        free(files[i]);
    return code;
}

/* ---- what they are -------------------------------------------------------------------------- */

/* Of a pair of files the smaller one is the small model, whichever was named first. */
static void order_pair(init_report *r)
{
    init_model *small = &r->models[0], *large = &r->models[1], first = *small;
    if (r->n_models != 2 || large->model == NULL ||
        model_resident_bytes(small->model) <= model_resident_bytes(large->model))
        return;
    *small = *large;
    *large = first;
    r->is_swapped = true;
}

static error_code check_distinct(const init_report *r, size_t i, failure *fail)
{
    for (size_t k = 0; k < i; k++)
        if (r->models[i].model != NULL && r->models[k].model != NULL &&
            r->models[i].model->fingerprint == r->models[k].model->fingerprint)
            return failure_set(fail, ERR_INVALID,
                               "%s and %s hold the same model: a pair is two models",
                               r->options->given[k], r->options->given[i]);
    return OK;
}

error_code init_check_models(init_report *r, const orchestra *o, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; i < r->n_models; i++)
        r->models[i].model = orchestra_model(o, i);
    for (size_t i = 0; code == OK && i < r->n_models; i++) {
        if (!orchestra_has_template(o, i))
            return failure_set(fail, ERR_UNSUPPORTED,
                               "%s has no chat template that works, and conversations need one",
                               r->options->given[i]);
        code = check_distinct(r, i, fail);
    }
    if (code != OK)
        return code;
    order_pair(r);
    const model *last = r->models[r->n_models - 1].model;
    if (last != NULL)
        model_check_vocabulary(last, r->models[0].model, &r->vocabulary);
    else
        failure_set(&r->vocabulary, ERR_UNSUPPORTED, "the last one is at another server");
    return OK;
}
