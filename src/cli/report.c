/* report.c: `a-io report`: results of replays as a page, as Markdown, as a picture. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/replay.h"
#include "evidence/report.h"

typedef struct report_options {
    const char *html, *markdown, *svg;
    bool help;
} report_options;

static error_code read_report_options(report_options *o, int argc, char **argv, failure *fail)
{
    const option_row rows[] = {{"html", .text = &o->html},
                               {"markdown", .text = &o->markdown},
                               {"svg", .text = &o->svg},
                               HELP_OPTION(o)};
    *o = (report_options){.html = NULL};
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK)
        return code;
    if (!o->help && optind == argc)
        return failure_set(fail, ERR_INVALID,
                           "which results? RESULTS is needed; try: a-io report --help");
    if (o->html == NULL && o->svg == NULL && o->markdown == NULL)
        o->markdown = "-";
    return OK;
}

static bool is_known(const json_t *runs, const json_t *wanted)
{
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (json_equal(json_object_get(r, "scenario"), json_object_get(wanted, "scenario")) &&
            json_equal(json_object_get(r, "policy"), json_object_get(wanted, "policy")))
            return true;
    }
    return false;
}

static error_code gather(json_t *runs, const char *path, failure *fail)
{
    json_t *results, *r;
    size_t i;
    error_code code = replay_load(path, &results, fail);
    json_array_foreach(json_object_get(results, "runs"), i, r)
    {
        bool is_run = json_is_string(json_object_get(r, "scenario")) &&
                      json_is_string(json_object_get(r, "policy")) &&
                      json_is_number(json_object_get(r, "tokens_per_s"));
        if (!is_run)
            code = failure_set(fail, ERR_FORMAT,
                               "%s: runs[%zu] has no scenario, policy or tokens_per_s", path, i);
        else if (!is_known(runs, r))
            json_array_append(runs, r);
    }
    json_decref(results);
    return code;
}

static error_code write_page(const char *path,
                             error_code (*make)(buffer *, const json_t *, failure *),
                             const json_t *runs, failure *fail)
{
    buffer text;
    if (path == NULL)
        return OK;
    buffer_init(&text, (size_t)64 << 20);
    error_code code = make(&text, runs, fail);
    bool is_standard = strcmp(path, "-") == 0;
    FILE *file = code != OK ? NULL : is_standard ? stdout : fopen(path, "w");
    if (code == OK) {
        bool written = file != NULL && fwrite(text.data, 1, text.length, file) == text.length;
        if (file != NULL && (is_standard ? fflush(file) : fclose(file)) != 0)
            written = false;
        if (!written)
            code = failure_set(fail, ERR_IO, "cannot write %s: %s", path, strerror(errno));
    }
    buffer_free(&text);
    return code;
}

int command_report(int argc, char **argv)
{
    report_options o;
    failure fail;
    json_t *runs = json_array();
    error_code code = read_report_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("report", stdout);
        json_decref(runs);
        return 0;
    }
    for (int i = optind; code == OK && i < argc; i++)
        code = gather(runs, argv[i], &fail);
    if (code == OK && json_array_size(runs) == 0)
        code = failure_set(&fail, ERR_FORMAT, "there is no run in the results");
    if (code == OK)
        code = write_page(o.html, report_html, runs, &fail);
    if (code == OK)
        code = write_page(o.markdown, report_markdown, runs, &fail);
    if (code == OK)
        code = write_page(o.svg, report_svg, runs, &fail);
    json_decref(runs);
    return code == OK ? 0 : command_failed("report", &fail);
}
