/* render.c: `a-io render`: the prompt that a chat template makes of a request. */
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "model/chat.h"
#include "model/gguf.h"

/* More than any context; a template that prints more is refused before (template.h). */
#define MAX_PROMPT ((size_t)1 << 30)

typedef struct render_options {
    const char *model_path, *chat_template, *now;
    chat_tokens tokens;
    bool help;
} render_options;

static error_code read_render_options(render_options *o, int argc, char **argv, failure *fail)
{
    const option_row rows[] = {
        {"model-file", 'm', .text = &o->model_path},
        {"chat-template", .text = &o->chat_template},
        {"bos", .text = &o->tokens.bos},
        {"eos", .text = &o->tokens.eos},
        {"now", .text = &o->now},
        OFFLINE_OPTION,
        HELP_OPTION(o),
    };
    *o = (render_options){.help = false};
    error_code code = options_read(rows, argc, argv, fail);
    if (code != OK || o->help)
        return code;
    if (optind < argc)
        return failure_set(fail, ERR_INVALID, "\"%s\": the request comes on standard input",
                           argv[optind]);
    if (o->model_path == NULL && o->chat_template == NULL)
        return failure_set(fail, ERR_INVALID, "-m or --chat-template is needed");
    if (o->model_path != NULL && (o->tokens.bos != NULL || o->tokens.eos != NULL))
        return failure_set(fail, ERR_INVALID, "--bos and --eos have no effect with -m");
    return OK;
}

/* ---- the template --------------------------------------------------------------------------- */

/* A built-in name, file:PATH, or a path as it is. */
static error_code choose(chat_template **out, const char *choice, chat_vocabulary words,
                         failure *fail)
{
    error_code code = chat_template_choose(out, choice, words, fail);
    if (code != ERR_NOT_FOUND || access(choice, F_OK) != 0)
        return code;
    char *path = NULL;
    if (asprintf(&path, "file:%s", choice) < 0)
        return failure_set(fail, ERR_MEMORY, "no memory left");
    code = chat_template_choose(out, path, words, fail);
    free(path);
    return code;
}

static error_code take_own(chat_template **out, const gguf *file, chat_vocabulary words,
                           failure *fail)
{
    gguf_string jinja;
    if (!gguf_text(file, "tokenizer.chat_template", &jinja))
        return failure_set(fail, ERR_UNSUPPORTED,
                           "the file has no chat template; give one with --chat-template");
    return chat_template_compile(out, jinja.data, jinja.length, words, fail);
}

static error_code take_from_model(chat_template **out, const render_options *o, failure *fail)
{
    gguf *file = NULL;
    tokenizer *k = NULL;
    char *path = NULL;
    error_code code = model_file_find(o->model_path, NULL, &path, fail);
    if (code == OK)
        code = gguf_open(&file, path, fail);
    free(path);
    if (code != OK)
        return code; /* already names the file */
    code = tokenizer_load(&k, file, fail);
    const chat_vocabulary words = {.tokenizer = k};
    if (code == OK)
        code = o->chat_template != NULL ? choose(out, o->chat_template, words, fail)
                                        : take_own(out, file, words, fail);
    if (code != OK && o->chat_template == NULL)
        failure_prefix(fail, "%s", o->model_path);
    tokenizer_destroy(k);
    gguf_close(file);
    return code;
}

/* ---- the request ---------------------------------------------------------------------------- */

/* The JSON texts of a request's parts. */
typedef struct request_parts {
    char *messages, *tools, *documents, *variables; /* NULL: not there */
    bool generation_prompt;
} request_parts;

static void free_parts(request_parts *p)
{
    free(p->messages);
    free(p->tools);
    free(p->documents);
    free(p->variables);
}

static error_code take_list(const json_t *body, const char *name, char **out, failure *fail)
{
    const json_t *list = json_object_get(body, name);
    if (list == NULL || json_is_null(list))
        return OK;
    if (!json_is_array(list))
        return failure_set(fail, ERR_INVALID, "%s: must be a list", name);
    *out = json_print(list, JSON_COMPACT);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the request");
}

/* Of chat_template_kwargs, and all fields with no meaning of their own. */
static error_code take_variables(const json_t *body, char **out, failure *fail)
{
    static const char *const known[] = {"messages", "tools", "documents", "add_generation_prompt",
                                        "chat_template_kwargs"};
    const json_t *more = json_object_get(body, "chat_template_kwargs");
    if (more != NULL && !json_is_null(more) && !json_is_object(more))
        return failure_set(fail, ERR_INVALID, "chat_template_kwargs: must be an object");
    json_t *all = json_copy((json_t *)body);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        json_object_del(all, known[i]);
    if (json_is_object(more))
        json_object_update(all, (json_t *)more);
    *out = json_print(all, JSON_COMPACT);
    json_decref(all);
    return *out != NULL ? OK : failure_set(fail, ERR_MEMORY, "no memory for the request");
}

static error_code take_parts(const json_t *body, request_parts *out, failure *fail)
{
    const json_t *generation = json_object_get(body, "add_generation_prompt");
    if (!json_is_object(body) || !json_is_array(json_object_get(body, "messages")))
        return failure_set(fail, ERR_INVALID, "an object with \"messages\", a list, is needed");
    if (generation != NULL && !json_is_boolean(generation))
        return failure_set(fail, ERR_INVALID, "add_generation_prompt: must be true or false");
    out->generation_prompt = !json_is_false(generation);
    error_code code = take_list(body, "messages", &out->messages, fail);
    if (code == OK)
        code = take_list(body, "tools", &out->tools, fail);
    if (code == OK)
        code = take_list(body, "documents", &out->documents, fail);
    return code == OK ? take_variables(body, &out->variables, fail) : code;
}

static error_code read_request(request_parts *out, failure *fail)
{
    buffer text;
    json_error_t error;
    buffer_init(&text, INPUT_LIMIT);
    error_code code = buffer_read_fd(&text, STDIN_FILENO, fail);
    json_t *body = NULL;
    if (code == OK) {
        body =
            json_read(text.length > 0 ? text.data : "", text.length, JSON_ALLOW_NUL, &error, &code);
        if (code == ERR_MEMORY)
            failure_set(fail, code, "no memory for the request");
        else if (body == NULL)
            code = failure_set(fail, ERR_INVALID, "not JSON: %s (line %d)", error.text, error.line);
        else
            code = take_parts(body, out, fail);
    }
    json_decref(body);
    buffer_free(&text);
    return code;
}

/* ---- the command ---------------------------------------------------------------------------- */

static error_code print_prompt(const chat_template *t, const request_parts *p, const char *now,
                               failure *fail)
{
    const chat_input input = {
        .messages_json = p->messages,
        .tools_json = p->tools,
        .documents_json = p->documents,
        .variables_json = p->variables,
        .generation_prompt = p->generation_prompt,
        .now = now,
    };
    chat_text text;
    chat_text_init(&text, MAX_PROMPT);
    error_code code = chat_render(t, &input, &text, fail);
    if (code == OK && text.text.length > 0)
        fwrite(text.text.data, 1, text.text.length, stdout);
    chat_text_free(&text);
    return code;
}

static error_code render(const render_options *o, failure *fail)
{
    chat_template *t = NULL;
    request_parts parts = {.messages = NULL};
    const chat_vocabulary words = {.tokens = o->tokens};
    error_code code = o->model_path != NULL ? take_from_model(&t, o, fail)
                                            : choose(&t, o->chat_template, words, fail);
    if (code == OK)
        code = read_request(&parts, fail);
    if (code == OK)
        code = print_prompt(t, &parts, o->now, fail);
    free_parts(&parts);
    chat_template_destroy(t);
    return code;
}

int command_render(int argc, char **argv)
{
    render_options o;
    failure fail;
    error_code code = read_render_options(&o, argc, argv, &fail);
    if (code == OK && o.help)
        help_print("render", stdout);
    if (code == OK && !o.help)
        code = render(&o, &fail);
    return code == OK ? 0 : command_failed("render", &fail);
}
