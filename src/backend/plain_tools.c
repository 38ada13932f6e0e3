/* plain_tools.c: a conversation with its tools put into words, for templates that know none. */
#include "backend/plain_tools.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define TEXT_LIMIT ((size_t)64 << 20)

static error_code write_tools(buffer *out, const request *r)
{
    error_code code = buffer_add_text(out, "You may call these tools:\n");
    if (code == OK)
        code = buffer_add_text(out, r->chat.tools_json);
    return code == OK ? buffer_add_text(out, "\nTo call one, answer with nothing but "
                                             "{\"name\": NAME, \"arguments\": {…}}.\n\n")
                      : code;
}

/* As the tools are asked to be called; several are parted as the form's parser reads them. */
static error_code write_calls(buffer *out, const json_t *calls, bool has_text)
{
    error_code code = OK;
    size_t i;
    json_t *call;
    json_array_foreach(calls, i, call)
    {
        const json_t *function = json_object_get(call, "function");
        if (code == OK && (i > 0 || has_text))
            code = buffer_add_text(out, i > 0 ? "; " : "\n");
        if (code == OK)
            code = json_write_exact(out, json_pack("{s:O?, s:O?}", "name",
                                                   json_object_get(function, "name"), "arguments",
                                                   json_object_get(function, "arguments")));
    }
    return code;
}

static bool is_from(const chat_message *m, const char *role)
{
    return strcmp(m->role, role) == 0;
}

/* Whether the message is said in the one before it. */
static bool is_joined(const request *r, size_t i)
{
    const chat_message *m = &r->messages[i], *before = i > 0 ? m - 1 : NULL;
    bool is_result = is_from(m, "tool");
    return before != NULL && (is_from(before, "tool") ? is_result || is_from(m, "user")
                                                      : is_result && is_from(before, "user"));
}

/* Appends what one message says; *is_told: the tools were. */
static error_code write_message(buffer *out, const request *r, size_t i, const json_t *calls,
                                bool *is_told)
{
    const chat_message *m = &r->messages[i];
    bool is_first = !*is_told && (is_from(m, "user") || is_from(m, "tool"));
    *is_told = *is_told || is_first;
    error_code code = is_joined(r, i) ? buffer_add_text(out, "\n\n") : OK;
    if (code == OK && is_first)
        code = write_tools(out, r);
    if (code == OK)
        code = buffer_add(out, m->content, m->content_length);
    return code == OK ? write_calls(out, calls, m->content_length > 0) : code;
}

/* Lengths first: the text may move as it grows. */
static error_code write_all(plain_tools *out, const request *r, const json_t *all)
{
    bool is_told = false;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < r->n_messages; i++) {
        size_t begin = out->text.length;
        const json_t *calls = json_object_get(json_array_get(all, i), "tool_calls");
        if (!is_joined(r, i)) {
            chat_message *made = &out->messages[out->n_messages++];
            *made = r->messages[i];
            made->role = is_from(made, "tool") ? "user" : made->role;
            made->content_length = 0;
        }
        code = write_message(&out->text, r, i, calls, &is_told);
        out->messages[out->n_messages - 1].content_length += out->text.length - begin;
    }
    size_t at = 0;
    for (size_t i = 0; code == OK && i < out->n_messages; i++) {
        out->messages[i].content = out->text.length > 0 ? out->text.data + at : "";
        at += out->messages[i].content_length;
    }
    return code;
}

error_code plain_tools_make(plain_tools *out, const request *r, failure *fail)
{
    error_code code = OK;
    const char *text = r->chat.messages_json;
    *out = (plain_tools){.messages = calloc(r->n_messages + 1, sizeof *out->messages)};
    buffer_init(&out->text, TEXT_LIMIT);
    json_t *all = text != NULL ? json_read(text, strlen(text), JSON_ALLOW_NUL, NULL, &code) : NULL;
    if (out->messages == NULL)
        code = ERR_MEMORY;
    if (code == OK)
        code = write_all(out, r, all);
    json_decref(all);
    return code == OK ? OK : failure_set(fail, ERR_MEMORY, "no memory for the tools");
}

void plain_tools_free(plain_tools *p)
{
    free(p->messages);
    buffer_free(&p->text);
}
