/* inventory.c: what the cache holds. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "hub/internal.h"

#define FOLDER_PREFIX "models--"
#define INCOMPLETE ".incomplete"

/* ---- folders ------------------------------------------------------------------------------ */

/* Calls `each` for the entries of a folder, hidden ones left out. */
static error_code each_entry(const char *folder,
                             error_code (*each)(void *context, const char *entry, failure *fail),
                             void *context, failure *fail)
{
    DIR *d = opendir(folder);
    if (d == NULL)
        return errno == ENOENT || errno == ENOTDIR
                   ? OK
                   : failure_set(fail, ERR_IO, "cannot read %s: %s", folder, strerror(errno));
    error_code code = OK;
    for (struct dirent *e; code == OK && (e = readdir(d)) != NULL;)
        if (e->d_name[0] != '.')
            code = each(context, e->d_name, fail);
    closedir(d);
    return code;
}

/* "models--OWNER--REPO" to OWNER/REPO; false: another folder. */
static bool read_folder_name(const char *folder, char repository[HUB_REPOSITORY_SIZE])
{
    if (strncmp(folder, FOLDER_PREFIX, strlen(FOLDER_PREFIX)) != 0)
        return false;
    const char *owner = folder + strlen(FOLDER_PREFIX), *gap = strstr(owner, "--");
    if (gap == NULL || strlen(owner) >= HUB_REPOSITORY_SIZE)
        return false;
    int n =
        snprintf(repository, HUB_REPOSITORY_SIZE, "%.*s/%s", (int)(gap - owner), owner, gap + 2);
    return n > 0 && hub_repository_is_valid(repository, (size_t)n);
}

/* ---- entries ------------------------------------------------------------------------------ */

typedef struct gathering {
    const hub_settings *settings;
    hub_inventory *out;
    hub_name name; /* of the repository; its revision while one is looked at */
    char main[HUB_COMMIT_SIZE];
} gathering;

/* The shortest name that means this file: by its quant, unless that would mean another one. */
static void name_entry(const gathering *g, const hub_listing *l, size_t i, const char *quant,
                       char text[HUB_NAME_SIZE])
{
    hub_name name = g->name;
    size_t *chosen = NULL, n;
    if (strcmp(l->commit, g->main) == 0)
        name.revision[0] = '\0';
    snprintf(name.quant, sizeof name.quant, "%s", quant);
    bool by_quant =
        quant[0] != '\0' && hub_choose(l, &name, &chosen, &n, NULL) == OK && chosen[0] == i;
    free(chosen);
    if (!by_quant) {
        name.quant[0] = '\0';
        snprintf(name.file, sizeof name.file, "%s", l->files[i].name);
    }
    hub_name_text(&name, text);
}

static void count_parts(const hub_listing *l, size_t first, hub_entry *e)
{
    size_t prefix, other;
    unsigned part, n_parts, of;
    hub_split(l->files[first].name, &prefix, &part, &n_parts);
    e->bytes = 0;
    size_t found = 0;
    for (size_t i = 0; i < l->n; i++) {
        hub_split(l->files[i].name, &other, &part, &of);
        if (i != first && (n_parts == 1 || of != n_parts || other != prefix ||
                           strncmp(l->files[i].name, l->files[first].name, prefix) != 0))
            continue;
        e->bytes += l->files[i].size;
        found++;
    }
    e->n_parts = n_parts;
    e->n_missing = n_parts > found ? n_parts - found : 0;
}

/* Of a split file the first part that is there stands for all. */
static bool stands_for_all(const hub_listing *l, size_t i)
{
    size_t prefix, other;
    unsigned part, n_parts, before, of;
    hub_split(l->files[i].name, &prefix, &part, &n_parts);
    if (n_parts == 1 || i == 0)
        return true;
    hub_split(l->files[i - 1].name, &other, &before, &of);
    return of != n_parts || other != prefix ||
           strncmp(l->files[i - 1].name, l->files[i].name, prefix) != 0;
}

static error_code add_entry(gathering *g, const hub_listing *l, size_t i, failure *fail)
{
    hub_inventory *out = g->out;
    char name[HUB_NAME_SIZE], path[PATH_MAX], quant[HUB_QUANT_SIZE];
    error_code code = cache_path(g->settings, &g->name, path, fail, "/snapshots/%s/%s", l->commit,
                                 l->files[i].name);
    if (code != OK)
        return code;
    hub_entry *more = reallocarray(out->entries, out->n + 1, sizeof *more);
    if (more == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the list of models");
    out->entries = more;
    hub_quant_of(l->files[i].name, quant);
    name_entry(g, l, i, quant, name);
    hub_entry *e = &out->entries[out->n++];
    *e = (hub_entry){.name = strdup(name), .path = strdup(path), .quant = strdup(quant)};
    strcpy(e->commit, l->commit);
    count_parts(l, i, e);
    return e->name != NULL && e->path != NULL && e->quant != NULL
               ? OK
               : failure_set(fail, ERR_MEMORY, "no memory for the list of models");
}

static error_code take_snapshot(void *context, const char *commit, failure *fail)
{
    gathering *g = context;
    hub_listing l;
    if (!hub_commit_is_valid(commit))
        return OK;
    strcpy(g->name.revision, commit);
    error_code code = cache_listing(g->settings, &g->name, commit, &l, fail);
    for (size_t i = 0; code == OK && i < l.n; i++)
        if (stands_for_all(&l, i))
            code = add_entry(g, &l, i, fail);
    hub_listing_free(&l);
    return code;
}

/* ---- repositories ---------------------------------------------------------------------------- */

static error_code count_unfinished(void *context, const char *blob, failure *fail)
{
    gathering *g = context;
    char path[PATH_MAX];
    struct stat info;
    size_t length = strlen(blob), tail = strlen(INCOMPLETE);
    if (length > tail && strcmp(blob + length - tail, INCOMPLETE) == 0 &&
        cache_path(g->settings, &g->name, path, fail, "/blobs/%s", blob) == OK &&
        stat(path, &info) == 0) {
        g->out->n_unfinished++;
        g->out->unfinished_bytes += (uint64_t)info.st_size;
    }
    return OK;
}

static error_code take_repository(void *context, const char *entry, failure *fail)
{
    gathering *g = context;
    char folder[PATH_MAX];
    g->name = (hub_name){.revision = ""};
    if (!read_folder_name(entry, g->name.repository))
        return OK;
    if (!cache_read_ref(g->settings, &g->name, g->main))
        g->main[0] = '\0';
    error_code code = cache_path(g->settings, &g->name, folder, fail, "/blobs");
    if (code == OK)
        code = each_entry(folder, count_unfinished, g, fail);
    if (code == OK)
        code = cache_path(g->settings, &g->name, folder, fail, "/snapshots");
    return code == OK ? each_entry(folder, take_snapshot, g, fail) : code;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const hub_entry *)a)->name, ((const hub_entry *)b)->name);
}

error_code hub_list(const hub_settings *s, hub_inventory *out, failure *fail)
{
    *out = (hub_inventory){.n = 0};
    gathering g = {.settings = s, .out = out};
    error_code code = each_entry(s->cache, take_repository, &g, fail);
    if (code != OK) {
        hub_inventory_free(out);
        return code;
    }
    if (out->n > 1)
        qsort(out->entries, out->n, sizeof *out->entries, compare_entries);
    return OK;
}

void hub_inventory_free(hub_inventory *i)
{
    for (size_t k = 0; k < i->n; k++) {
        free(i->entries[k].name);
        free(i->entries[k].path);
        free(i->entries[k].quant);
    }
    free(i->entries);
    *i = (hub_inventory){.n = 0};
}
