/* rm.c: `a-io rm`: models out of the hub's cache. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"

typedef struct rm_options {
    const char *revision;
    bool help;
} rm_options;

static error_code remove_model(const hub_name *name, failure *fail)
{
    hub_settings s;
    uint64_t freed = 0;
    char text[HUB_NAME_SIZE];
    error_code code = model_file_settings(&s, fail);
    if (code == OK)
        code = hub_remove(&s, name, &freed, fail);
    hub_settings_free(&s);
    hub_name_text(name, text);
    if (code == OK)
        printf("%s: removed, %.1f MB freed\n", text, (double)freed / 1e6);
    return code;
}

static error_code read_name(const rm_options *o, int n, char **words, hub_name *name, failure *fail)
{
    if (n != 1)
        return failure_set(fail, ERR_INVALID, "%s; try: a-io rm --help",
                           n == 0 ? "no model named" : "one model at a time");
    if (!hub_name_parse(name, words[0]))
        return failure_set(fail, ERR_INVALID,
                           "\"%s\" is no model's name; a-io models lists those there are",
                           words[0]);
    return o->revision != NULL ? hub_name_set_revision(name, o->revision, fail) : OK;
}

int command_rm(int argc, char **argv)
{
    rm_options o = {.help = false};
    const option_row rows[] = {{"revision", .text = &o.revision}, HELP_OPTION(&o)};
    hub_name name;
    failure fail;
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("rm", stdout);
        return 0;
    }
    if (code == OK)
        code = read_name(&o, argc - optind, argv + optind, &name, &fail);
    if (code == OK)
        code = remove_model(&name, &fail);
    return code == OK ? 0 : command_failed("rm", &fail);
}
