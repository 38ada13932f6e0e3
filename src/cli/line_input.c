/* line_input.c: lines edited with libedit on a terminal, plain ones elsewhere. */
#include "cli/line_input.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "cli/common.h"

#define HISTORY_MESSAGES 1000
#define MAX_PASTE ((size_t)1 << 20) /* characters */

/* Terminals that know these put \e[200~ before pasted text and \e[201~ after it. */
#define PASTE_MARKS_ON "\033[?2004h"
#define PASTE_MARKS_OFF "\033[?2004l"
#define PASTE_BEGIN "\033[200~"
static const wchar_t paste_end[] = L"\033[201~";
#define PASTE_END_LENGTH (sizeof paste_end / sizeof *paste_end - 1)

struct line_input {
    EditLine *edit; /* NULL: plain lines */
    History *history;
    const char *history_path;
    bool continues; /* the line goes on from the one before */
    bool was_empty; /* the line, when the signal came */
    char *line;     /* getline's */
    size_t capacity;
};

/* ---- the terminal --------------------------------------------------------------------------- */

static volatile sig_atomic_t resized, continued;

static void on_terminal_signal(int number)
{
    *(number == SIGWINCH ? &resized : &continued) = 1;
}

static const char *show_prompt(EditLine *edit)
{
    line_input *in;
    el_get(edit, EL_CLIENTDATA, &in);
    return in->continues ? "  " : "> ";
}

/* What happened to the terminal while nothing was typed. */
static void follow_terminal(EditLine *edit)
{
    if (continued) { /* the shell has had the terminal meanwhile */
        el_set(edit, EL_PREP_TERM, 1);
        el_set(edit, EL_REFRESH);
    }
    if (resized)
        el_resize(edit);
    continued = resized = 0;
}

static int end_line(EditLine *edit)
{
    line_input *in;
    const LineInfo *line = el_line(edit);
    el_get(edit, EL_CLIENTDATA, &in);
    in->was_empty = line->lastchar == line->buffer && !in->continues;
    return -1;
}

/* libedit's own reading passes over the first interrupt; ours ends the line. */
static int read_char(EditLine *edit, wchar_t *out)
{
    mbstate_t state = {0};
    while (stage_signal() == 0) {
        char byte;
        ssize_t n = read(STDIN_FILENO, &byte, 1);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return end_line(edit);
        if (n < 0) {
            follow_terminal(edit);
            continue;
        }
        size_t length = mbrtowc(out, &byte, 1, &state);
        if (length == (size_t)-1)
            state = (mbstate_t){0}; /* no character: dropped */
        else if (length != (size_t)-2)
            return 1;
    }
    return end_line(edit);
}

/* Puts pasted text into the line, its newlines too: they end nothing. */
static unsigned char paste(EditLine *edit, int key)
{
    (void)key;
    wchar_t *text = calloc(MAX_PASTE + 1, sizeof *text), c;
    size_t n = 0;
    bool whole = false;
    while (text != NULL && !whole && n < MAX_PASTE && el_wgetc(edit, &c) == 1) {
        text[n++] = c == L'\r' ? L'\n' : c;
        whole = n >= PASTE_END_LENGTH &&
                wmemcmp(text + n - PASTE_END_LENGTH, paste_end, PASTE_END_LENGTH) == 0;
    }
    if (whole)
        n -= PASTE_END_LENGTH;
    bool inserted = n == 0;
    if (text != NULL && n > 0) {
        text[n] = L'\0';
        inserted = el_winsertstr(edit, text) == 0;
    }
    free(text);
    return inserted ? CC_REFRESH : CC_ERROR;
}

/* Characters of several bytes are needed whatever the user's locale says. */
static void choose_characters(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static error_code open_history(line_input *in, failure *fail)
{
    HistEvent event;
    if ((in->history = history_init()) == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the history");
    history(in->history, &event, H_SETSIZE, HISTORY_MESSAGES);
    history(in->history, &event, H_SETUNIQUE, 1);
    const char *path = in->history_path;
    if (path != NULL && access(path, F_OK) == 0 && history(in->history, &event, H_LOAD, path) < 0)
        return failure_set(fail, ERR_FORMAT, "%s: not a history that a-io chat has kept", path);
    return OK;
}

static error_code open_editor(line_input *in, failure *fail)
{
    choose_characters();
    error_code code = open_history(in, fail);
    if (code != OK)
        return code;
    in->edit = el_init("a-io", stdin, stderr, stderr);
    if (in->edit == NULL)
        return failure_set(fail, ERR_IO, "cannot use the terminal: %s", strerror(errno));
    el_set(in->edit, EL_CLIENTDATA, in);
    el_set(in->edit, EL_PROMPT, show_prompt);
    el_set(in->edit, EL_EDITOR, "emacs");
    el_set(in->edit, EL_HIST, history, in->history);
    el_set(in->edit, EL_GETCFN, read_char);
    el_set(in->edit, EL_ADDFN, "a-io-paste", "take pasted text", paste);
    el_set(in->edit, EL_BIND, PASTE_BEGIN, "a-io-paste", NULL);
    el_source(in->edit, NULL); /* the user's ~/.editrc */
    struct sigaction action = {.sa_handler = on_terminal_signal};
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
    return OK;
}

error_code line_input_open(line_input **out, const char *history_path, failure *fail)
{
    line_input *in = calloc(1, sizeof *in);
    *out = in;
    if (in == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the input");
    in->history_path = history_path;
    if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))
        return OK;
    error_code code = open_editor(in, fail);
    if (code != OK) {
        in->history_path = NULL;
        line_input_close(in, NULL);
        *out = NULL;
    }
    return code;
}

error_code line_input_close(line_input *in, failure *fail)
{
    HistEvent event;
    error_code code = OK;
    if (in == NULL)
        return OK;
    if (in->history != NULL && in->history_path != NULL &&
        history(in->history, &event, H_SAVE, in->history_path) < 0)
        code = failure_set(fail, ERR_IO, "cannot keep the history in %s", in->history_path);
    if (in->edit != NULL)
        el_end(in->edit);
    if (in->history != NULL)
        history_end(in->history);
    free(in->line);
    free(in);
    return code;
}

bool line_input_edits(const line_input *in)
{
    return in->edit != NULL;
}

/* ---- reading -------------------------------------------------------------------------------- */

static line_event edit_line(line_input *in, const char **line, size_t *length)
{
    int n = 0;
    /* libedit shows the prompt first: an end of input typed at once would be the terminal's own. */
    el_set(in->edit, EL_PREP_TERM, 1);
    fputs(PASTE_MARKS_ON, stderr);
    errno = 0;
    *line = el_gets(in->edit, &n);
    fputs(PASTE_MARKS_OFF, stderr);
    if (*line != NULL && n > 0) {
        *length = (size_t)n;
        return LINE_MESSAGE;
    }
    fputc('\n', stderr);
    if (stage_signal() != 0)
        return in->was_empty ? LINE_INTERRUPTED_EMPTY : LINE_INTERRUPTED;
    return LINE_END;
}

static line_event plain_line(line_input *in, const char **line, size_t *length, failure *fail)
{
    ssize_t n;
    do {
        errno = 0;
        clearerr(stdin);
        n = getline(&in->line, &in->capacity, stdin);
    } while (n < 0 && errno == EINTR && stage_signal() == 0);
    *line = in->line;
    *length = n > 0 ? (size_t)n : 0;
    if (n > 0)
        return LINE_MESSAGE;
    if (errno == EINTR)
        return LINE_INTERRUPTED;
    if (ferror(stdin) == 0)
        return LINE_END;
    failure_set(fail, ERR_IO, "cannot read standard input: %s", strerror(errno));
    return LINE_FAILED;
}

/* Appends the line; true: the message goes on in the next one. */
static bool append_line(buffer *text, const char *line, size_t length, error_code *code)
{
    bool continues = false;
    if (length > 0 && line[length - 1] == '\n')
        length--;
    if (length > 0 && line[length - 1] == '\\') {
        continues = true;
        length--;
    }
    *code = buffer_add(text, line, length);
    if (*code == OK && continues)
        *code = buffer_add_text(text, "\n");
    return continues && *code == OK;
}

static void remember(line_input *in, const buffer *text)
{
    HistEvent event;
    if (in->history != NULL && text->length > 0)
        history(in->history, &event, H_ENTER, text->data);
}

line_event line_input_read(line_input *in, buffer *text, failure *fail)
{
    error_code code = buffer_add_text(text, ""); /* so that data is never NULL */
    buffer_clear(text);
    in->continues = false;
    do {
        const char *line = NULL;
        size_t length = 0;
        line_event event =
            in->edit != NULL ? edit_line(in, &line, &length) : plain_line(in, &line, &length, fail);
        if (event == LINE_END && in->continues)
            break; /* the input ended in a backslash: what is there is the message */
        if (event != LINE_MESSAGE)
            return event;
        in->continues = append_line(text, line, length, &code);
    } while (in->continues);
    if (code != OK) {
        failure_set(fail, code, "the message: %s", error_code_text(code));
        return LINE_FAILED;
    }
    remember(in, text);
    return LINE_MESSAGE;
}
