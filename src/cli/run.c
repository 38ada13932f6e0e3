/* run.c: `a-io run`: one prompt, answered on standard output; what it took, on standard error. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/reply_options.h"
#include "base/json.h"
#include "cli/help.h"
#include "orchestra/describe.h"

typedef struct run_command {
    stage_options stage;
    reply_options reply;
    const char *prompt;
    bool raw, json, help;
} run_command;

/* ---- options ------------------------------------------------------------------------------ */

static error_code read_run_options(run_command *o, int argc, char **argv, failure *fail)
{
    *o = (run_command){.prompt = NULL};
    reply_options_init(&o->reply);
    const option_row rows[] = {
        STAGE_CONFIG_OPTIONS(&o->stage),
        STAGE_MODEL_FILE_OPTIONS(&o->stage),
        REPLY_OPTIONS(&o->reply),
        {"prompt", 'p', .text = &o->prompt},
        {"raw", .flag = &o->raw},
        {"json", .flag = &o->json},
        STAGE_ENGINE_OPTIONS(&o->stage),
        STAGE_PREFILL_OPTION(&o->stage),
        HELP_OPTION(o),
    };
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK)
        code = reply_options_check(&o->reply, &o->stage, fail);
    if (code == OK && o->raw && o->reply.system != NULL)
        return failure_set(fail, ERR_INVALID,
                           "--raw takes the prompt alone: --system has no effect");
    return code;
}

/* ---- answering ---------------------------------------------------------------------------- */

/* What the listener keeps between two calls. */
typedef struct output {
    bool plan_shown;
    bool ends_line;
    int write_error; /* errno, 0: none */
} output;

static bool show_news(void *context, const run *r, buffer *text)
{
    output *o = context;
    if (!o->plan_shown)
        print_plan(stderr, r);
    o->plan_shown = true;
    if (text->length == 0)
        return true;
    o->ends_line = text->data[text->length - 1] == '\n';
    bool written = fwrite(text->data, 1, text->length, stdout) == text->length;
    if (!written || fflush(stdout) != 0)
        o->write_error = errno;
    buffer_clear(text);
    return o->write_error == 0;
}

static error_code answer_as_text(stage *s, const request *q, const run_options *options,
                                 failure *fail)
{
    output o = {.ends_line = false};
    run *r = NULL;
    error_code code = stage_perform(s, q, options, (run_listener){.call = show_news, .context = &o},
                                    NULL, &r, fail);
    if (o.write_error == 0 && o.plan_shown && !o.ends_line)
        o.write_error = fputc('\n', stdout) == EOF || fflush(stdout) != 0 ? errno : 0;
    if (code == OK)
        print_receipt(stderr, r);
    run_release(r);
    if (o.write_error != 0)
        return failure_set(fail, ERR_IO, "cannot write to standard output: %s",
                           strerror(o.write_error));
    return code;
}

/* Keeps the whole text: a listener that lets it stand. */
static bool keep_text(void *context, const run *r, buffer *text)
{
    (void)r;
    buffer *whole = context;
    error_code code = buffer_add(whole, text->data, text->length);
    buffer_clear(text);
    return code == OK;
}

static json_t *ids_json(const token_list *tokens)
{
    json_t *list = json_array();
    for (size_t i = 0; i < tokens->length; i++)
        json_array_append_new(list, json_integer(tokens->ids[i]));
    return list;
}

static json_t *answer_object(const run *r, const buffer *text, const token_list *tokens,
                             uint64_t seed)
{
    json_t *all = json_pack("{s:o, s:o}", "text", json_text(text->data, text->length), "tokens",
                            ids_json(tokens));
    json_t *rest = account_json(r, seed);
    json_object_set_new(json_object_get(rest, "receipt"), "finish_reason",
                        json_string(finish_reason_text(run_finish_reason(r))));
    json_object_update_new(all, rest);
    return all;
}

static error_code answer_as_json(stage *s, const request *q, const run_options *options,
                                 failure *fail)
{
    buffer text;
    token_list tokens = {0};
    run *r = NULL;
    buffer_init(&text, (size_t)1 << 30);
    error_code code = stage_perform(
        s, q, options, (run_listener){.call = keep_text, .context = &text}, &tokens, &r, fail);
    if (code == OK)
        code = print_json(answer_object(r, &text, &tokens, q->sampling.seed), fail);
    run_release(r);
    buffer_free(&text);
    token_list_free(&tokens);
    return code;
}

static error_code answer(stage *s, const run_command *o, const buffer *prompt, failure *fail)
{
    const char *system = o->reply.system;
    bool raw = o->raw || (o->stage.model_path != NULL && !orchestra_has_template(s->orchestra, 0));
    if (raw && system != NULL)
        return failure_set(
            fail, ERR_INVALID,
            "--system: the model has no chat template; name one with --chat-template");
    chat_message messages[] = {
        {.role = "system",
         .content = system,
         .content_length = system != NULL ? strlen(system) : 0},
        {.role = "user", .content = prompt->data, .content_length = prompt->length}};
    size_t first = system == NULL;
    request q = reply_request(&o->reply);
    if (raw) {
        q.prompt = prompt->data;
        q.prompt_length = prompt->length;
    } else {
        q.messages = messages + first;
        q.n_messages = 2 - first;
    }
    run_options options = reply_run_options(&o->reply);
    return o->json ? answer_as_json(s, &q, &options, fail) : answer_as_text(s, &q, &options, fail);
}

/* ---- the command ---------------------------------------------------------------------------- */

int command_run(int argc, char **argv)
{
    run_command o;
    failure fail;
    stage s = {.config = NULL};
    buffer prompt;
    buffer_init(&prompt, INPUT_LIMIT);
    error_code code = read_run_options(&o, argc, argv, &fail);
    if (code == OK && o.help)
        help_print("run", stdout);
    if (code == OK && !o.help)
        code = read_prompt(&prompt, o.prompt, argc, argv, o.raw, &fail);
    if (code == OK && !o.help)
        code = stage_open(&s, &o.stage, &fail);
    if (code == OK && !o.help)
        code = answer(&s, &o, &prompt, &fail);
    stage_close(&s);
    buffer_free(&prompt);
    reply_options_free(&o.reply);
    return code == OK ? 0 : command_failed("run", &fail);
}
