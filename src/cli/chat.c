/* chat.c: `a-io chat`: a conversation in the terminal, or one that a script has. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/conversation.h"
#include "cli/help.h"
#include "cli/line_input.h"
#include "cli/reply_options.h"
#include "orchestra/describe.h"

typedef struct chat {
    stage_options stage_options;
    reply_options reply;
    const char *history_path;
    bool help;

    stage stage;
    line_input *input;
    bool edits;    /* a person sits there */
    bool is_shown; /* standard output is a terminal */
    conversation said;
    char *model;     /* that answers; "auto": A-IO chooses */
    bool has_failed; /* a message without an answer */
} chat;

/* ---- options ------------------------------------------------------------------------------ */

static error_code read_chat_options(chat *c, int argc, char **argv, failure *fail)
{
    const option_row rows[] = {
        STAGE_CONFIG_OPTIONS(&c->stage_options),
        STAGE_MODEL_FILE_OPTIONS(&c->stage_options),
        REPLY_OPTIONS(&c->reply),
        {"history", .text = &c->history_path},
        STAGE_ENGINE_OPTIONS(&c->stage_options),
        STAGE_PREFILL_OPTION(&c->stage_options),
        HELP_OPTION(c),
    };
    reply_options_init(&c->reply);
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK && optind < argc)
        return failure_set(fail, ERR_INVALID, "\"%.100s\": messages come from standard input",
                           argv[optind]);
    return code == OK ? reply_options_check(&c->reply, &c->stage_options, fail) : code;
}

/* ---- answering ---------------------------------------------------------------------------- */

/* One answer on its way. */
typedef struct answer {
    const chat *chat;
    buffer text; /* all of it so far */
    int write_error;
} answer;

/* A model may say what a terminal would obey: nothing but text reaches one. */
static void disarm(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool is_c1 = byte == 0xc2 && i + 1 < length && (unsigned char)text[i + 1] >= 0x80 &&
                     (unsigned char)text[i + 1] < 0xa0; /* U+0080 … U+009F */
        if ((byte < 0x20 && byte != '\n' && byte != '\t') || byte == 0x7f || is_c1)
            text[i] = '?';
        if (is_c1)
            text[++i] = '?';
    }
}

static bool show_news(void *context, const run *r, buffer *text)
{
    (void)r;
    answer *a = context;
    if (text->length == 0)
        return true;
    if (buffer_add(&a->text, text->data, text->length) != OK)
        return false;
    if (a->chat->is_shown)
        disarm(text->data, text->length);
    errno = 0;
    if (fwrite(text->data, 1, text->length, stdout) != text->length || fflush(stdout) != 0)
        a->write_error = errno;
    buffer_clear(text);
    return a->write_error == 0;
}

static void end_answer(answer *a)
{
    size_t n = a->text.length;
    bool ends_line = n > 0 && a->text.data[n - 1] == '\n';
    if (!ends_line && a->write_error == 0 && (putchar('\n') == EOF || fflush(stdout) != 0))
        a->write_error = errno;
}

static void print_decision(const run *r)
{
    const plan *p = run_plan(r);
    const intent *i = run_intent(r);
    const reply_stats *s = &run_receipt(r)->reply;
    double decoded = s->reply_tokens > 1 ? (double)s->reply_tokens - 1 : 0;
    report_open(stderr);
    fprintf(stderr, "[%s", p->model);
    if (i->known)
        fprintf(stderr, "; %s, entropy %.2f", i->labels[i->best], i->entropy);
    fprintf(stderr, "; %s", p->reason);
    print_fallback(stderr, p);
    fprintf(stderr, "; prompt %zu, %zu of it cached; %zu tokens", s->prompt_tokens,
            s->cached_tokens, s->reply_tokens);
    if (s->decode_ms > 0 && decoded > 0)
        fprintf(stderr, ", %.1f a second", 1e3 * decoded / s->decode_ms);
    fputs("]\n", stderr);
    report_close(stderr);
}

/* What a person is told; a script reads standard output. */
static void tell(const chat *c, const char *text)
{
    if (!c->edits)
        return;
    report_open(stderr);
    fputs(text, stderr);
    report_close(stderr);
}

/* What came of an answer that was cut stays said; without any the message is taken back. */
static error_code keep_answer(chat *c, const answer *a)
{
    if (a->text.length > 0)
        return conversation_add(&c->said, "assistant", a->text.data, a->text.length);
    conversation_drop(&c->said);
    return OK;
}

static error_code perform(chat *c, answer *a, failure *fail)
{
    request q = reply_request(&c->reply);
    run_options options = reply_run_options(&c->reply);
    run *r = NULL;
    q.messages = c->said.messages;
    q.n_messages = c->said.n;
    options.model = c->model;
    stage_go_on();
    error_code code = stage_perform(
        &c->stage, &q, &options, (run_listener){.call = show_news, .context = a}, NULL, &r, fail);
    if (code == OK || a->text.length > 0)
        end_answer(a);
    if (code == OK && c->edits)
        print_decision(r);
    run_release(r);
    return code;
}

/* True: the conversation goes on. A failure ends it only where nothing later can be better. */
static bool goes_on(chat *c, error_code code, const failure *fail)
{
    bool stopped = code == ERR_CANCELLED;
    if (code == OK)
        return true;
    if (stopped && c->edits && stage_signal() != SIGTERM) {
        tell(c, "stopped\n");
        return true;
    }
    if (stopped || code == ERR_IO)
        return false;
    fprintf(stderr, "a-io chat: %s%s\n", fail->text,
            code == ERR_CONTEXT && c->edits ? "; /reset begins anew" : "");
    c->has_failed = true;
    return true;
}

static error_code answer_message(chat *c, const char *text, size_t length, failure *fail)
{
    answer a = {.chat = c};
    error_code code = conversation_add(&c->said, "user", text, length);
    if (code != OK)
        return failure_set(fail, code, "no memory for the conversation");
    buffer_init(&a.text, (size_t)1 << 30);
    code = perform(c, &a, fail);
    if (a.write_error != 0)
        code = failure_set(fail, ERR_IO, "cannot write to standard output: %s",
                           strerror(a.write_error));
    if (keep_answer(c, &a) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for the conversation");
    buffer_free(&a.text);
    return code;
}

/* ---- commands ----------------------------------------------------------------------------- */

static bool is_known_model(const chat *c, const char *name)
{
    return strcmp(name, "auto") == 0 || orchestra_find_model(c->stage.orchestra, name) != SIZE_MAX;
}

/* "auto, small, large" */
static void list_models(const chat *c, char *text, size_t size)
{
    const orchestra *o = c->stage.orchestra;
    int n = snprintf(text, size, "auto");
    for (size_t i = 0; i < orchestra_model_count(o) && (size_t)n < size; i++)
        n += snprintf(text + n, size - (size_t)n, ", %s", orchestra_model_name(o, i));
}

static error_code choose_model(chat *c, const char *name, failure *fail)
{
    char all[256];
    list_models(c, all, sizeof all);
    if (name[0] == '\0') {
        fprintf(stderr, "%s answers; there are: %s\n", c->model, all);
        return OK;
    }
    if (!is_known_model(c, name))
        return failure_set(fail, ERR_NOT_FOUND, "no model \"%.100s\"; there are: %s", name, all);
    char *copy = strdup(name);
    if (copy == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory left");
    free(c->model);
    c->model = copy;
    return OK;
}

static error_code set_system(chat *c, const char *text, failure *fail)
{
    error_code code = conversation_set_system(&c->said, text);
    return code == OK ? OK : failure_set(fail, code, "no memory for the system message");
}

/* A line that begins with one slash. *done: the conversation is over. */
static error_code obey(chat *c, const char *line, bool *done, failure *fail)
{
    size_t length = strcspn(line, " \t\n");
    const char *rest = line + length + strspn(line + length, " \t\n");
#define IS(name) (length == sizeof name - 1 && memcmp(line, name, length) == 0)
    if (IS("/model"))
        return choose_model(c, rest, fail);
    if (IS("/system"))
        return set_system(c, rest, fail);
    if (IS("/exit") || IS("/quit"))
        *done = true;
    else if (IS("/reset") || IS("/clear"))
        conversation_reset(&c->said);
    else if (IS("/help"))
        help_print("chat_commands", stderr);
    else
        return failure_set(fail, ERR_INVALID,
                           "no command %.*s; /help lists them, //TEXT is the message /TEXT",
                           length > 100 ? 100 : (int)length, line);
#undef IS
    return OK;
}

/* ---- the conversation ----------------------------------------------------------------------- */

static error_code take_message(chat *c, const buffer *line, bool *done, failure *fail)
{
    const char *text = line->data;
    size_t skip = text[0] == '/';
    if (line->length == 0)
        return OK;
    error_code code = skip && text[1] != '/'
                          ? obey(c, text, done, fail)
                          : answer_message(c, text + skip, line->length - skip, fail);
    return goes_on(c, code, fail) ? OK : code;
}

static error_code converse(chat *c, failure *fail)
{
    buffer line;
    bool done = false;
    error_code code = OK;
    buffer_init(&line, INPUT_LIMIT);
    while (code == OK && !done) {
        stage_go_on();
        line_event event = line_input_read(c->input, &line, fail);
        bool interrupted = event == LINE_INTERRUPTED || event == LINE_INTERRUPTED_EMPTY;
        if (interrupted && (!c->edits || stage_signal() == SIGTERM))
            code = failure_set(fail, ERR_CANCELLED, "interrupted");
        else if (event == LINE_INTERRUPTED_EMPTY)
            tell(c, "Ctrl-D or /exit leaves\n");
        else if (event == LINE_FAILED)
            code = fail->code;
        else if (event == LINE_MESSAGE)
            code = take_message(c, &line, &done, fail);
        done |= event == LINE_END;
    }
    buffer_free(&line);
    return code;
}

static error_code check_templates(const chat *c, failure *fail)
{
    for (size_t i = 0; i < orchestra_model_count(c->stage.orchestra); i++)
        if (!orchestra_has_template(c->stage.orchestra, i))
            return failure_set(fail, ERR_INVALID, "%s has no chat template; name one with %s",
                               orchestra_model_name(c->stage.orchestra, i),
                               c->stage_options.model_path != NULL ? "--chat-template"
                                                                   : "chat_template:");
    return OK;
}

static error_code hold(chat *c, failure *fail)
{
    failure later;
    error_code code = stage_open(&c->stage, &c->stage_options, fail);
    if (code == OK)
        code = check_templates(c, fail);
    if (code == OK)
        code = choose_model(c, c->reply.model != NULL ? c->reply.model : "auto", fail);
    if (code == OK)
        code = set_system(c, c->reply.system, fail);
    if (code == OK)
        code = line_input_open(&c->input, c->history_path, fail);
    if (code != OK)
        return code;
    c->edits = line_input_edits(c->input);
    c->is_shown = isatty(STDOUT_FILENO) != 0;
    tell(c, "/help lists the commands, Ctrl-D leaves\n");
    code = converse(c, fail);
    if (line_input_close(c->input, &later) != OK && code == OK) {
        *fail = later;
        code = later.code;
    }
    return code;
}

int command_chat(int argc, char **argv)
{
    chat c = {.help = false};
    failure fail;
    error_code code = read_chat_options(&c, argc, argv, &fail);
    if (code == OK && c.help)
        help_print("chat", stdout);
    if (code == OK && !c.help)
        code = hold(&c, &fail);
    stage_close(&c.stage);
    conversation_free(&c.said);
    reply_options_free(&c.reply);
    free(c.model);
    if (code != OK)
        return command_failed("chat", &fail);
    return c.has_failed && !c.edits ? 1 : 0;
}
