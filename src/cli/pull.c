/* pull.c: `a-io pull`: a model from the Hugging Face hub, into the hub's cache. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/model_file.h"

static const char usage[] =
    "usage: a-io pull OWNER/REPO[:QUANT] [options]\n"
    "       a-io pull OWNER/REPO/FILE.gguf [options]\n"
    "\n"
    "Fetches a model (GGUF) from the Hugging Face hub into the hub's own cache, which its tools\n"
    "share, and prints the paths of its files. The same names may stand wherever A-IO takes a\n"
    "model file: -m, path: of a configuration; a name that is not in the cache is then fetched. A\n"
    "file of that name wins. With the name of a revision: OWNER/REPO@REVISION, then as above.\n"
    "\n"
    "QUANT is looked for in the files' names (Q4_K_M, q8_0 ...); without one Q4_K_M is taken, "
    "else\n"
    "Q8_0, else the first file. All parts of a split file are fetched. Sizes and checksums are\n"
    "checked; a download that was cut goes on where it ended when the same command runs again.\n"
    "\n"
    "      --revision REV  a branch, a tag or a commit (default: main)\n"
    "      --json          one JSON object: name, commit, paths, bytes, fetched (bytes)\n"
    "      --offline       fetch nothing: say what the cache has\n"
    "  -h, --help          this text\n"
    "\n"
    "Environment: HF_TOKEN (or HF_TOKEN_PATH, or the file token in HF_HOME) for gated and private\n"
    "repositories; HF_ENDPOINT (default: https://huggingface.co); HF_HUB_CACHE (default: hub in\n"
    "HF_HOME, which is ~/.cache/huggingface); HF_HUB_OFFLINE=1 is --offline; HF_HUB_ETAG_TIMEOUT\n"
    "and HF_HUB_DOWNLOAD_TIMEOUT: seconds of silence that are a failure (default: 30); the "
    "proxies\n"
    "of libcurl (https_proxy, no_proxy ...).\n"
    "\n"
    "Exit status: 0; 2 for a bad option or name; 3 for what the hub does not have, or a private\n"
    "repository; 5 for a wrong checksum; 6 when the network, the disk or the access failed; 7 "
    "when\n"
    "the hub asks to come back later; 8 after an interrupt.\n";

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
        fputs(usage, stdout);
        return 0;
    }
    if (code == OK)
        code = read_name(&o, argc - optind, argv + optind, &name, &fail);
    if (code == OK)
        code = pull(&name, o.json, &fail);
    return code == OK ? 0 : command_failed("pull", &fail);
}
