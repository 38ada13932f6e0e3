/* plain_tools.c: a conversation with its tools put into words, for templates that know none. */
#include "backend/plain_tools.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_LIMIT ((size_t)64 << 20)

static error_code write_first(buffer *out, const request *r, const chat_message *m)
{
    error_code code = buffer_add_text(out, "You may call these tools:\n");
    if (code == OK)
        code = buffer_add_text(out, r->chat.tools_json);
    if (code == OK)
        code = buffer_add_text(out, "\nTo call one, answer with nothing but "
                                    "{\"name\": NAME, \"arguments\": {…}}.\n\n");
    return code == OK ? buffer_add(out, m->content, m->content_length) : code;
}

error_code plain_tools_make(plain_tools *out, const request *r, failure *fail)
{
    bool is_told = false;
    error_code code = OK;
    buffer_init(&out->text, TEXT_LIMIT);
    out->messages = calloc(r->n_messages + 1, sizeof *out->messages);
    if (out->messages == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the tools");
    for (size_t i = 0; code == OK && i < r->n_messages; i++) {
        chat_message *m = &out->messages[i];
        *m = r->messages[i];
        if (strcmp(m->role, "tool") == 0)
            m->role = "user";
        if (is_told || strcmp(m->role, "user") != 0)
            continue;
        is_told = true;
        code = write_first(&out->text, r, m);
        m->content = out->text.data;
        m->content_length = out->text.length;
    }
    return code == OK ? OK : failure_set(fail, code, "no memory for the tools");
}

void plain_tools_free(plain_tools *p)
{
    free(p->messages);
    buffer_free(&p->text);
}
