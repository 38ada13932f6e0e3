/* conversation.c: the messages of a chat so far, in memory of their own. */
#include "cli/conversation.h"

#include <stdlib.h>
#include <string.h>

static void free_message(chat_message *m)
{
    free((char *)(uintptr_t)m->content);
}

static error_code copy_message(chat_message *m, const char *role, const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return ERR_MEMORY;
    memcpy(copy, text, length);
    copy[length] = '\0';
    *m = (chat_message){.role = role, .content = copy, .content_length = length};
    return OK;
}

static error_code make_room(conversation *c)
{
    if (c->n < c->capacity)
        return OK;
    size_t capacity = c->capacity == 0 ? 16 : 2 * c->capacity;
    chat_message *grown = reallocarray(c->messages, capacity, sizeof *grown);
    if (grown == NULL)
        return ERR_MEMORY;
    c->messages = grown;
    c->capacity = capacity;
    return OK;
}

error_code conversation_add(conversation *c, const char *role, const char *text, size_t length)
{
    error_code code = make_room(c);
    if (code == OK)
        code = copy_message(&c->messages[c->n], role, text, length);
    c->n += code == OK;
    return code;
}

void conversation_drop(conversation *c)
{
    free_message(&c->messages[--c->n]);
}

static void remove_system(conversation *c)
{
    if (!c->has_system)
        return;
    free_message(&c->messages[0]);
    c->n--;
    memmove(c->messages, c->messages + 1, c->n * sizeof *c->messages);
    c->has_system = false;
}

error_code conversation_set_system(conversation *c, const char *text)
{
    chat_message m;
    if (text == NULL || text[0] == '\0') {
        remove_system(c);
        return OK;
    }
    error_code code = make_room(c);
    if (code == OK)
        code = copy_message(&m, "system", text, strlen(text));
    if (code != OK)
        return code;
    remove_system(c);
    memmove(c->messages + 1, c->messages, c->n * sizeof *c->messages);
    c->messages[0] = m;
    c->n++;
    c->has_system = true;
    return OK;
}

void conversation_reset(conversation *c)
{
    while (c->n > c->has_system)
        conversation_drop(c);
}

void conversation_free(conversation *c)
{
    c->has_system = false;
    conversation_reset(c);
    free(c->messages);
    *c = (conversation){.messages = NULL};
}
