/* choose.c: which of a repository's files a name means, by the rules of llama.cpp's -hf: the first
 * file that has the quant in its name; of a name without quant Q4_K_M, else Q8_0, else the first.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "hub/internal.h"

#define SPLIT_TAIL (sizeof "-00001-of-00001" - 1)
#define EXTENSION ".gguf"
#define MAX_PARTS 1000

/* ---- lists -------------------------------------------------------------------------------- */

void hub_listing_free(hub_listing *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->files[i].name);
    free(l->files);
    *l = (hub_listing){.n = 0};
}

error_code hub_listing_add(hub_listing *l, const char *name, uint64_t size, failure *fail)
{
    bool is_full = (l->n & (l->n - 1)) == 0; /* grows at every power of two */
    hub_file *more =
        is_full ? reallocarray(l->files, l->n > 0 ? 2 * l->n : 1, sizeof *more) : l->files;
    if (more == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a list of files");
    l->files = more;
    char *copy = strdup(name);
    if (copy == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a list of files");
    l->files[l->n++] = (hub_file){copy, size};
    return OK;
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const hub_file *)a)->name, ((const hub_file *)b)->name);
}

void hub_listing_sort(hub_listing *l)
{
    if (l->n > 1)
        qsort(l->files, l->n, sizeof *l->files, compare_files);
}

/* ---- what a file's name says ----------------------------------------------------------------- */

static size_t stem_length(const char *name)
{
    size_t length = strlen(name), n = strlen(EXTENSION);
    return length > n && strcasecmp(name + length - n, EXTENSION) == 0 ? length - n : 0;
}

void hub_split(const char *name, size_t *prefix, unsigned *part, unsigned *n_parts)
{
    size_t stem = stem_length(name);
    *prefix = stem;
    *part = *n_parts = 1;
    if (stem <= SPLIT_TAIL)
        return;
    const char *tail = name + stem - SPLIT_TAIL;
    static const char form[] = "-ddddd-of-ddddd";
    for (size_t i = 0; i < SPLIT_TAIL; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)tail[i])
                           : tolower((unsigned char)tail[i]) != form[i])
            return;
    *prefix = stem - SPLIT_TAIL;
    *part = (unsigned)atoi(tail + 1);
    *n_parts = (unsigned)atoi(tail + sizeof "-ddddd-of-" - 1);
}

void hub_quant_of(const char *file, char quant[HUB_QUANT_SIZE])
{
    size_t end;
    unsigned part, n_parts;
    hub_split(file, &end, &part, &n_parts);
    size_t start = end;
    while (start > 0 && (isalnum((unsigned char)file[start - 1]) || file[start - 1] == '_'))
        start--;
    quant[0] = '\0';
    if (start == 0 || start == end || end - start >= HUB_QUANT_SIZE ||
        (file[start - 1] != '-' && file[start - 1] != '.'))
        return;
    for (size_t i = start; i <= end; i++)
        quant[i - start] = i < end ? (char)toupper((unsigned char)file[i]) : '\0';
}

/* Projectors, importance matrices and draft heads are GGUF files too, but no models. */
static bool is_model(const char *name)
{
    static const char *const others[] = {"mmproj",  "imatrix", "mtp-",
                                         "eagle3-", "dflash-", "dspark-"};
    const char *slash = strrchr(name, '/');
    const char *base = slash != NULL ? slash + 1 : name;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (strstr(base, others[i]) != NULL)
            return false;
    return stem_length(name) > 0;
}

/* The quant stands in the name, followed by '.' or '-', and nothing before it makes it another one
 * as the B of BF16 does, which llama.cpp would take for F16. */
static bool has_quant(const char *name, const char *quant)
{
    size_t length = strlen(quant);
    for (const char *at = name; (at = strcasestr(at, quant)) != NULL; at++)
        if ((at[length] == '.' || at[length] == '-') &&
            (at == name || !isalnum((unsigned char)at[-1])))
            return true;
    return false;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* The place of the first model that `quant` (NULL: any) fits; l->n: none. */
static size_t first_with(const hub_listing *l, const char *quant)
{
    for (size_t i = 0; i < l->n; i++) {
        size_t prefix;
        unsigned part, n_parts;
        hub_split(l->files[i].name, &prefix, &part, &n_parts);
        if (is_model(l->files[i].name) && part == 1 &&
            (quant == NULL || has_quant(l->files[i].name, quant)))
            return i;
    }
    return l->n;
}

static size_t find_default(const hub_listing *l)
{
    size_t found = first_with(l, "Q4_K_M");
    if (found == l->n)
        found = first_with(l, "Q8_0");
    return found < l->n ? found : first_with(l, NULL);
}

static size_t find_file(const hub_listing *l, const char *name)
{
    size_t found = l->n;
    for (size_t i = 0; i < l->n; i++) {
        if (strcmp(l->files[i].name, name) == 0)
            return i;
        if (found == l->n && strcasecmp(l->files[i].name, name) == 0)
            found = i;
    }
    return found;
}

static error_code refuse(const hub_listing *l, const hub_name *name, failure *fail)
{
    const char *wanted = name->file[0] != '\0' ? name->file : name->quant;
    char there[300] = "";
    size_t used = 0, left = 0;
    for (size_t i = 0; i < l->n; i++) {
        size_t length = strlen(l->files[i].name);
        if (stem_length(l->files[i].name) == 0)
            continue;
        if (left > 0 || used + length + 3 > sizeof there)
            left++;
        else
            used += (size_t)sprintf(there + used, "%s%s", used > 0 ? ", " : "", l->files[i].name);
    }
    if (used == 0 && left == 0)
        return failure_set(fail, ERR_NOT_FOUND, "%s has no GGUF file", name->repository);
    if (left > 0)
        snprintf(there + used, sizeof there - used, "%s", " …");
    return failure_set(fail, ERR_NOT_FOUND, "%s has no %s%s; there are: %s", name->repository,
                       name->file[0] != '\0' ? "" : "GGUF file of a model for ",
                       wanted[0] != '\0' ? wanted : "its quant", there);
}

static size_t find_exactly(const hub_listing *l, const char *name)
{
    const hub_file wanted = {.name = (char *)name};
    const hub_file *found =
        l->n > 0 ? bsearch(&wanted, l->files, l->n, sizeof wanted, compare_files) : NULL;
    return found != NULL ? (size_t)(found - l->files) : l->n;
}

/* All parts of the split file of which one is at `any`: their names differ in one number. */
static error_code choose_parts(const hub_listing *l, size_t any, size_t **chosen, size_t *n,
                               failure *fail)
{
    size_t prefix;
    unsigned part, n_parts;
    char name[HUB_FILE_SIZE], number[16];
    snprintf(name, sizeof name, "%s", l->files[any].name);
    hub_split(name, &prefix, &part, &n_parts);
    if (n_parts == 0 || n_parts > MAX_PARTS || part == 0 || part > n_parts)
        return failure_set(fail, ERR_NOT_FOUND, "%s: no model has such a part", name);
    *chosen = reallocarray(NULL, n_parts, sizeof **chosen);
    if (*chosen == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a list of files");
    for (*n = 0; *n < n_parts; ++*n) {
        if (n_parts > 1) {
            snprintf(number, sizeof number, "%05zu", *n + 1);
            memcpy(name + prefix + 1, number, 5);
        }
        (*chosen)[*n] = find_exactly(l, name);
        if ((*chosen)[*n] == l->n)
            return failure_set(fail, ERR_NOT_FOUND, "part %zu of %u of %.*s is missing", *n + 1,
                               n_parts, (int)prefix, name);
    }
    return OK;
}

error_code hub_choose(const hub_listing *l, const hub_name *name, size_t **chosen, size_t *n,
                      failure *fail)
{
    size_t found = name->file[0] != '\0'    ? find_file(l, name->file)
                   : name->quant[0] != '\0' ? first_with(l, name->quant)
                                            : find_default(l);
    *chosen = NULL;
    *n = 0;
    if (found == l->n)
        return refuse(l, name, fail);
    error_code code = choose_parts(l, found, chosen, n, fail);
    if (code != OK) {
        free(*chosen);
        *chosen = NULL;
        return failure_prefix(fail, "%s", name->repository);
    }
    return OK;
}
