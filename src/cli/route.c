/* route.c: `a-io route`: the decision for a prompt, or for many, without an answer. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cli/cli.h"
#include "cli/common.h"
#include "cli/request_lines.h"
#include "base/json.h"
#include "base/lines.h"
#include "cli/help.h"
#include "orchestra/describe.h"

#define MAX_HEADERS 16

typedef struct route_options {
    stage_options stage;
    const char *prompt;
    const char *system;
    const char *session;
    const char *headers[MAX_HEADERS]; /* NAME=VALUE */
    size_t n_headers;
    bool json, jsonl, help;
} route_options;

static error_code add_header(void *context, const char *text, failure *fail)
{
    route_options *o = context;
    const char *sign = strchr(text, '=');
    if (sign == NULL || sign == text)
        return failure_set(fail, ERR_INVALID, "--header: \"%s\" is not NAME=VALUE", text);
    if (o->n_headers == MAX_HEADERS)
        return failure_set(fail, ERR_INVALID, "--header: at most %d of them", MAX_HEADERS);
    o->headers[o->n_headers++] = text;
    return OK;
}

static const char *find_header(void *context, const char *name)
{
    const route_options *o = context;
    size_t length = strlen(name);
    for (size_t i = 0; i < o->n_headers; i++)
        if (strncasecmp(o->headers[i], name, length) == 0 && o->headers[i][length] == '=')
            return o->headers[i] + length + 1;
    return NULL;
}

static error_code take_session(void *context, const char *text, failure *fail)
{
    route_options *o = context;
    o->session = text;
    return text[0] != '\0' ? OK : failure_set(fail, ERR_INVALID, "--session: must not be empty");
}

static error_code read_route_options(route_options *o, int argc, char **argv, failure *fail)
{
    *o = (route_options){.prompt = NULL};
    const option_row rows[] = {STAGE_CONFIG_OPTIONS(&o->stage),
                               {"system", .text = &o->system},
                               {"session", .take = take_session, .context = o},
                               {"header", .take = add_header, .context = o},
                               {"json", .flag = &o->json},
                               {"jsonl", .flag = &o->jsonl},
                               {"prompt", 'p', .text = &o->prompt},
                               STAGE_ENGINE_OPTIONS(&o->stage),
                               HELP_OPTION(o)};
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK && o->jsonl && (o->prompt != NULL || o->system != NULL || optind < argc))
        return failure_set(fail, ERR_INVALID,
                           "--jsonl takes the requests from standard input: no prompt beside it");
    return code;
}

/* ---- deciding ----------------------------------------------------------------------------- */

static error_code decide(stage *s, const request *q, route_options *o, run **out, failure *fail)
{
    run_options options = {
        .decide_only = true, .session = o->session, .header = find_header, .header_context = o};
    return stage_perform(s, q, &options, (run_listener){.call = NULL}, NULL, out, fail);
}

static error_code route_one(stage *s, route_options *o, const buffer *prompt, failure *fail)
{
    chat_message messages[] = {
        {.role = "system",
         .content = o->system,
         .content_length = o->system != NULL ? strlen(o->system) : 0},
        {.role = "user", .content = prompt->data, .content_length = prompt->length}};
    size_t first = o->system == NULL;
    request q = {
        .messages = messages + first, .n_messages = 2 - first, .sampling = sampling_defaults()};
    run *r = NULL;
    error_code code = decide(s, &q, o, &r, fail);
    if (code != OK)
        return code;
    if (o->json) {
        code = print_json(decision_json(r), fail);
    } else {
        print_plan(stdout, r);
        const overhead *cost = &run_receipt(r)->overhead;
        printf("overhead %.2f ms: template %.2f, prefill %.2f, decide %.2f, the rest waiting\n",
               cost->total_ms, cost->template_ms, cost->prefill_ms, cost->decide_ms);
    }
    run_release(r);
    return code;
}

/* ---- many lines --------------------------------------------------------------------------- */

static error_code decide_line(stage *s, route_options *o, const char *text, size_t length,
                              json_t **out, failure *fail)
{
    json_t *line;
    request q;
    chat_message *messages = NULL;
    run *r = NULL;
    error_code code = request_line_parse(&line, text, length, fail);
    if (code == OK)
        code = request_line_read(line, &q, &messages, fail);
    if (code == OK)
        code = decide(s, &q, o, &r, fail);
    if (code == OK)
        *out = decision_json(r);
    run_release(r);
    free(messages);
    json_decref(line);
    return code;
}

static json_t *error_object(const failure *fail)
{
    return json_pack("{s:{s:o, s:s}}", "error", "message",
                     json_text(fail->text, strlen(fail->text)), "code",
                     error_code_text(fail->code));
}

/* *bad counts the lines that could not be decided; the result is about the stream as a whole. */
static error_code route_lines(stage *s, route_options *o, size_t *bad, failure *fail)
{
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    for (size_t number = 1; code == OK; number++) {
        ssize_t length = getline(&line, &capacity, stdin);
        if (length < 0) {
            code = lines_ended(stdin, "cannot read standard input", fail);
            break;
        }
        failure why;
        json_t *decision = NULL;
        error_code decided =
            (size_t)length > INPUT_LIMIT
                ? failure_set(&why, ERR_TOO_LARGE, "longer than %zu bytes", INPUT_LIMIT)
                : decide_line(s, o, line, (size_t)length, &decision, &why);
        if (decided == ERR_CANCELLED) {
            code = decided;
            *fail = why;
            break;
        }
        if (decided != OK) {
            ++*bad;
            failure_prefix(&why, "line %zu", number);
            decision = error_object(&why);
        }
        code = print_json(decision, fail);
    }
    free(line);
    return code;
}

/* ---- the command ---------------------------------------------------------------------------- */

int command_route(int argc, char **argv)
{
    route_options o;
    failure fail;
    stage s = {.config = NULL};
    buffer prompt;
    size_t bad = 0;
    buffer_init(&prompt, INPUT_LIMIT);
    error_code code = read_route_options(&o, argc, argv, &fail);
    if (code == OK && o.help) {
        help_print("route", stdout);
        return 0;
    }
    if (code == OK && !o.jsonl)
        code = read_prompt(&prompt, o.prompt, argc, argv, false, &fail);
    if (code == OK)
        code = stage_open(&s, &o.stage, &fail);
    if (code == OK)
        code = o.jsonl ? route_lines(&s, &o, &bad, &fail) : route_one(&s, &o, &prompt, &fail);
    stage_close(&s);
    buffer_free(&prompt);
    if (code != OK)
        return command_failed("route", &fail);
    return bad > 0 ? 1 : 0;
}
