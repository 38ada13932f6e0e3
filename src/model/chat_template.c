/* chat_template.c: compiled chat templates, and the rendering of conversations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/digest.h"
#include "model/chat_internal.h"
#include "model/tokenizer_internal.h"
#include "template/template.h"

#define MAX_FILE ((size_t)1 << 20)
#define N_TOKENS 4 /* bos, eos, unk, pad */

struct chat_template {
    template *compiled;
    char *name, *text;
    chat_style style;
    char *tokens[N_TOKENS]; /* or NULL */
    size_t token_lengths[N_TOKENS];
};

static template_text text_of(const char *text)
{
    return (template_text){text, text != NULL ? strlen(text) : 0};
}

static error_code code_of(template_status status)
{
    static const error_code codes[] = {
        [TEMPLATE_OK] = OK,
        [TEMPLATE_SYNTAX] = ERR_FORMAT,
        [TEMPLATE_RAISED] = ERR_TEMPLATE,
        [TEMPLATE_FAILED] = ERR_TEMPLATE,
        [TEMPLATE_LIMIT] = ERR_UNSUPPORTED,
        [TEMPLATE_REQUEST] = ERR_INVALID,
        [TEMPLATE_MEMORY] = ERR_MEMORY,
    };
    return codes[status];
}

/* ---- making --------------------------------------------------------------------------------- */

static error_code no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for a chat template");
}

static bool keep_token(chat_template *t, size_t place, const char *text, size_t length)
{
    if (text == NULL || length == 0)
        return true;
    t->tokens[place] = malloc(length);
    if (t->tokens[place] == NULL)
        return false;
    memcpy(t->tokens[place], text, length);
    t->token_lengths[place] = length;
    return true;
}

static bool keep_tokens(chat_template *t, chat_vocabulary words)
{
    const tokenizer *k = words.tokenizer;
    if (k == NULL)
        return keep_token(t, 0, words.tokens.bos, text_of(words.tokens.bos).length) &&
               keep_token(t, 1, words.tokens.eos, text_of(words.tokens.eos).length);
    const int32_t ids[] = {tokenizer_bos(k), tokenizer_eos(k), k->unknown};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        size_t length = 0;
        const char *text = ids[i] >= 0 ? tokenizer_bytes(k, ids[i], true, &length) : NULL;
        if (!keep_token(t, i, text, length))
            return false;
    }
    return true;
}

/* The texts of the tokens that only a template may write: all specials but the user-defined ones,
 * which any text becomes. NULL with *n 0: there are none. */
static template_text *special_texts(const tokenizer *k, size_t *n)
{
    *n = 0;
    template_text *texts = k != NULL ? calloc(k->specials.n + 1, sizeof *texts) : NULL;
    for (size_t i = 0; texts != NULL && i < k->specials.n; i++)
        if (k->tokens[k->specials.ids[i]].type != TOKEN_USER_DEFINED)
            texts[(*n)++] = (template_text){token_text(k, k->specials.ids[i]),
                                            k->tokens[k->specials.ids[i]].length};
    return texts;
}

static error_code compile(chat_template *t, template_text jinja, const tokenizer *k, failure *fail)
{
    char words[TEMPLATE_MESSAGE_SIZE] = "";
    size_t n;
    template_text *specials = special_texts(k, &n);
    if (k != NULL && specials == NULL)
        return no_memory(fail);
    template_status status = template_compile(&t->compiled, jinja, specials, n, &words);
    free(specials);
    if (status == TEMPLATE_OK)
        return OK;
    return failure_set(fail, code_of(status), "the chat template cannot be used: %s", words);
}

/* `name` is taken over. */
static error_code make(chat_template **out, char *name, template_text jinja, chat_vocabulary words,
                       failure *fail)
{
    chat_template *t = calloc(1, sizeof *t);
    if (t == NULL || name == NULL) {
        free(t);
        free(name);
        return no_memory(fail);
    }
    t->name = name;
    t->text = strndup(jinja.data, jinja.length);
    t->style = chat_style_of(jinja.data, jinja.length);
    error_code code = t->text != NULL && keep_tokens(t, words)
                          ? compile(t, jinja, words.tokenizer, fail)
                          : no_memory(fail);
    if (code != OK) {
        chat_template_destroy(t);
        return code;
    }
    *out = t;
    return OK;
}

/* "own 1f2e3d4c5b6a": what a calibration remembers a template by. */
static char *own_name(const char *jinja, size_t length)
{
    char text[DIGEST_TEXT_SIZE], *name = NULL;
    digest *d;
    error_code code = digest_create(&d, DIGEST_SHA256, NULL);
    if (code == OK) {
        digest_add(d, jinja, length);
        code = digest_read_text(d, text, NULL);
    }
    digest_destroy(d);
    return code == OK && asprintf(&name, "own %.12s", text) >= 0 ? name : NULL;
}

error_code chat_template_compile(chat_template **out, const char *jinja, size_t length,
                                 chat_vocabulary words, failure *fail)
{
    template_text text = {length > 0 ? jinja : "", length};
    return make(out, own_name(text.data, length), text, words, fail);
}

static error_code choose_file(chat_template **out, const char *choice, chat_vocabulary words,
                              failure *fail)
{
    const char *path = choice + strlen("file:");
    buffer jinja;
    buffer_init(&jinja, MAX_FILE);
    error_code code = buffer_read_file(&jinja, path, fail);
    if (code == OK) {
        template_text text = {jinja.length > 0 ? jinja.data : "", jinja.length};
        code = make(out, strdup(choice), text, words, fail);
        if (code != OK)
            failure_prefix(fail, "%s", path);
    }
    buffer_free(&jinja);
    return code;
}

error_code chat_template_choose(chat_template **out, const char *choice, chat_vocabulary words,
                                failure *fail)
{
    if (strncmp(choice, "file:", strlen("file:")) == 0)
        return choose_file(out, choice, words, fail);
    const char *jinja = chat_builtin_find(choice);
    if (jinja == NULL)
        return failure_set(fail, ERR_NOT_FOUND,
                           "unknown chat template \"%.64s\" (known: %s; or file:PATH)", choice,
                           chat_builtin_names());
    return make(out, strdup(choice), text_of(jinja), words, fail);
}

void chat_template_destroy(chat_template *t)
{
    if (t == NULL)
        return;
    template_destroy(t->compiled);
    for (size_t i = 0; i < N_TOKENS; i++)
        free(t->tokens[i]);
    free(t->name);
    free(t->text);
    free(t);
}

chat_style chat_template_style(const chat_template *t)
{
    return t->style;
}

const char *chat_template_text(const chat_template *t)
{
    return t->text;
}

const char *chat_template_name(const chat_template *t)
{
    return t->name;
}

/* ---- rendering ------------------------------------------------------------------------------ */

static error_code moment_of(const char *now, template_moment *out, failure *fail)
{
    struct tm local = {.tm_isdst = -1};
    time_t seconds = time(NULL);
    if (now == NULL) {
        localtime_r(&seconds, &local);
    } else {
        char rest = '\0';
        int n = sscanf(now, "%4d-%2d-%2dT%2d:%2d:%2d%c", &local.tm_year, &local.tm_mon,
                       &local.tm_mday, &local.tm_hour, &local.tm_min, &local.tm_sec, &rest);
        if (n != 3 && n != 6)
            return failure_set(fail, ERR_INVALID,
                               "\"%.32s\" is no time such as 2026-03-14T09:26:53", now);
        local.tm_year -= 1900;
        local.tm_mon -= 1;
        struct tm normal = local;
        timegm(&normal); /* finds the day of the week and of the year */
        local = normal;
    }
    *out = (template_moment){
        .year = local.tm_year + 1900,
        .month = local.tm_mon + 1,
        .day = local.tm_mday,
        .hour = local.tm_hour,
        .minute = local.tm_min,
        .second = local.tm_sec,
        .weekday = local.tm_wday,
        .yearday = local.tm_yday + 1,
    };
    return OK;
}

/* Spans in turn: what the request wrote, and all else. */
static error_code add_spans(chat_text *out, const template_output *rendered)
{
    error_code code = OK;
    size_t at = 0;
    for (size_t i = 0; code == OK && i < rendered->n_foreign; i++) {
        template_range foreign = rendered->foreign[i];
        code = chat_text_add(out, rendered->text + at, foreign.begin - at, true);
        if (code == OK)
            code = chat_text_add(out, rendered->text + foreign.begin, foreign.end - foreign.begin,
                                 false);
        at = foreign.end;
    }
    return code == OK ? chat_text_add(out, rendered->text + at, rendered->length - at, true) : code;
}

static error_code run(const chat_template *t, const template_input *input, chat_text *out,
                      failure *fail)
{
    template_output rendered = {.owner = NULL};
    template_status status = template_render(t->compiled, input, &rendered);
    if (status == TEMPLATE_RAISED &&
        rendered.message[0] == '\0') /* or its words begin with a NUL */
        return failure_set(fail, ERR_TEMPLATE,
                           "the chat template refuses this conversation without a word");
    if (status == TEMPLATE_RAISED)
        return failure_set(fail, ERR_TEMPLATE, "%s", rendered.message);
    if (status == TEMPLATE_REQUEST)
        return failure_set(fail, ERR_INVALID, "%s", rendered.message);
    if (status != TEMPLATE_OK)
        return failure_set(fail, code_of(status), "the chat template fails: %s", rendered.message);
    error_code code = add_spans(out, &rendered);
    template_output_free(&rendered);
    if (code == ERR_TOO_LARGE)
        return failure_set(fail, code, "the conversation is larger than %zu bytes",
                           out->text.limit);
    return code == OK ? OK : failure_set(fail, code, "cannot render the conversation");
}

error_code chat_render(const chat_template *t, const chat_input *input, chat_text *out,
                       failure *fail)
{
    if (input->messages_json == NULL && input->n_messages == 0)
        return failure_set(fail, ERR_INVALID, "the conversation has no messages");
    template_input all = {
        .n_messages = input->n_messages,
        .messages_json = text_of(input->messages_json),
        .tools_json = text_of(input->tools_json),
        .documents_json = text_of(input->documents_json),
        .variables_json = text_of(input->variables_json),
        .generation_prompt = input->generation_prompt,
    };
    for (size_t i = 0; i < N_TOKENS; i++)
        all.tokens[i] = (template_text){t->tokens[i], t->token_lengths[i]};
    error_code code = moment_of(input->now, &all.now, fail);
    if (code != OK)
        return code;
    template_message *messages = calloc(input->n_messages + 1, sizeof *messages);
    if (messages == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the conversation");
    for (size_t i = 0; i < input->n_messages; i++) {
        const chat_message *m = &input->messages[i];
        messages[i].role = text_of(m->role);
        messages[i].content = (template_text){m->content, m->content_length};
    }
    all.messages = messages;
    code = run(t, &all, out, fail);
    free(messages);
    return code;
}
