/* pull.c: `a-io pull`: a model from the Hugging Face hub, into the hub's cache. */
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"

typedef struct pull_options {
    const char *revision;
    bool json, help;
} pull_options;

static error_code read_name(const pull_options *o, int n, char **words, hub_name *name,
                            failure *fail)
{
    if (n != 1)
        return failure_set(fail, ERR_INVALID, "%s; try: a-io pull --help",
                           n == 0 ? "no model named" : "one model at a time");
    if (!hub_name_parse(name, words[0]))
        return failure_set(fail, ERR_INVALID,
                           "\"%s\" is neither OWNER/REPO[:QUANT] nor OWNER/REPO/FILE.gguf",
                           words[0]);
    return o->revision != NULL ? hub_name_set_revision(name, o->revision, fail) : OK;
}

static error_code print_files(const hub_name *name, const hub_files *f, bool json, failure *fail)
{
    char text[HUB_NAME_SIZE];
    hub_name_text(name, text);
    if (!json) {
        for (size_t i = 0; i < f->n_paths; i++)
            puts(f->paths[i]);
        return OK;
    }
    json_t *paths = json_array();
    for (size_t i = 0; i < f->n_paths; i++)
        json_array_append_new(paths, json_string(f->paths[i]));
    return print_json(json_pack("{s:s, s:s, s:o, s:I, s:I}", "name", text, "commit", f->commit,
                                "paths", paths, "bytes", (json_int_t)f->bytes, "fetched",
                                (json_int_t)f->fetched),
                      fail);
}

/* A hub that is away does not take away what is there. */
static error_code fetch(const hub_settings *s, const hub_name *name, hub_files *out, failure *fail)
{
    if (s->offline)
        return hub_find(s, name, out, fail);
    error_code code = model_file_fetch(s, name, out, fail);
    bool is_away = code == ERR_IO || code == ERR_TIMEOUT || code == ERR_BUSY;
    if (!is_away || hub_find(s, name, out, NULL) != OK)
        return code;
    log_warn("%s; what the cache has is used", fail->text);
    return OK;
}

static error_code pull(const hub_name *name, bool json, failure *fail)
{
    hub_settings s;
    hub_files files = {.n_paths = 0};
    error_code code = model_file_settings(&s, fail);
    if (code == OK)
        code = fetch(&s, name, &files, fail);
    if (code == OK)
        code = print_files(name, &files, json, fail);
    hub_files_free(&files);
    hub_settings_free(&s);
    return code;
}

int command_pull(int argc, char **argv)
{
    pull_options o = {.json = false};
    const option_row rows[] = {{"revision", .text = &o.revision},
                               {"json", .flag = &o.json},
                               OFFLINE_OPTION,
                               HELP_OPTION(&o)};
    hub_name name;
    failure fail;
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("pull", stdout);
        return 0;
    }
    if (code == OK)
        code = read_name(&o, argc - optind, argv + optind, &name, &fail);
    if (code == OK)
        code = pull(&name, o.json, &fail);
    return code == OK ? 0 : command_failed("pull", &fail);
}
