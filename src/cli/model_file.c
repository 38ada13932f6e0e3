/* model_file.c: a path, a name in the hub's cache, or a download, in that order. */
#include "cli/model_file.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/path.h"
#include "cli/progress.h"

static bool is_offline;
static volatile sig_atomic_t interrupted;

void model_files_stay_offline(void)
{
    is_offline = true;
}

error_code model_file_settings(hub_settings *out, failure *fail)
{
    error_code code = hub_settings_read(out, fail);
    out->offline = out->offline || is_offline;
    return code;
}

/* ---- fetching ------------------------------------------------------------------------------- */

typedef struct fetching {
    progress bar;
    const char *file; /* that the bar is for; NULL: none yet */
    bool said_waiting;
    char what[96];
} fetching;

static void begin_bar(fetching *f, const hub_progress *p)
{
    const char *slash = strrchr(p->file, '/'), *name = slash != NULL ? slash + 1 : p->file;
    int length = (int)strlen(name), most = 48;
    snprintf(f->what, sizeof f->what, "%s%s", length > most ? "..." : "",
             name + (length > most ? length - most : 0));
    log_info("fetching %s, %.1f MB%s", p->file, (double)p->total / 1e6,
             p->done > 0 ? ", going on where it was cut" : "");
    progress_start(&f->bar, f->what);
    f->file = p->file;
}

static bool show_fetching(void *context, const hub_progress *p)
{
    fetching *f = context;
    if (p->trouble != NULL) {
        progress_end(&f->bar);
        log_warn("%s; trying again in %.1f s", p->trouble, p->pause_s);
    }
    if (p->is_waiting && !f->said_waiting)
        log_info("another process is fetching %s; waiting for it", p->file);
    f->said_waiting = f->said_waiting || p->is_waiting;
    if (p->file != NULL && p->total > 0 && !p->is_waiting) {
        if (f->file != p->file)
            begin_bar(f, p);
        progress_show(&f->bar, (double)p->done / (double)p->total);
    }
    return !interrupted;
}

static void on_signal(int number)
{
    interrupted = number;
}

error_code model_file_fetch(const hub_settings *s, const hub_name *name, hub_files *out,
                            failure *fail)
{
    fetching f = {.bar.percent = -1};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    struct sigaction on_interrupt, on_termination;
    sigaction(SIGINT, &action, &on_interrupt);
    sigaction(SIGTERM, &action, &on_termination);
    error_code code = hub_fetch(s, name, (hub_watcher){show_fetching, &f}, out, fail);
    sigaction(SIGINT, &on_interrupt, NULL);
    sigaction(SIGTERM, &on_termination, NULL);
    progress_end(&f.bar);
    return code;
}

/* ---- finding -------------------------------------------------------------------------------- */

static error_code refuse_offline(const hub_name *name, failure *fail)
{
    char text[HUB_NAME_SIZE];
    hub_name_text(name, text);
    failure why = *fail;
    return failure_set(fail, ERR_NOT_FOUND,
                       "%s, and offline nothing is fetched (--offline or HF_HUB_OFFLINE); online: "
                       "a-io pull %s",
                       why.text, text);
}

/* From the cache, else from the hub. */
static error_code find_by_name(const char *given, const hub_name *name, hub_files *out,
                               failure *fail)
{
    hub_settings s;
    error_code code = model_file_settings(&s, fail);
    if (code != OK)
        return code;
    code = hub_find(&s, name, out, fail);
    if (code == ERR_NOT_FOUND) {
        code = s.offline ? refuse_offline(name, fail) : model_file_fetch(&s, name, out, fail);
        if (code != OK)
            failure_prefix(fail, "\"%s\" is no file here, and as a model's name", given);
    }
    hub_settings_free(&s);
    return code;
}

/* OWNER/REPO/FILE.gguf where the folder OWNER/REPO is here can only mean a file in it. */
static bool is_in_folder(const hub_name *name, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder =
        slash != NULL && name->file[0] != '\0' ? strndup(path, (size_t)(slash - path)) : NULL;
    bool found = folder != NULL && path_is_folder(folder);
    free(folder);
    return found;
}

error_code model_file_find(const char *given, const char *path, char **out, failure *fail)
{
    hub_name name;
    hub_files files;
    *out = path != NULL ? strdup(path) : path_expand_home(given);
    if (*out == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a path");
    if (path_is_file(*out) || !hub_name_parse(&name, given) || is_in_folder(&name, *out))
        return OK;
    error_code code = find_by_name(given, &name, &files, fail);
    free(*out);
    *out = NULL;
    if (code != OK)
        return code;
    *out = files.paths[0]; /* the caller's now */
    files.paths[0] = NULL;
    hub_files_free(&files);
    return OK;
}
