/* task.c: a growing list of tasks that owns their texts. */
#include "evidence/task.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define MAX_MESSAGES 4096

static void task_free(task *t)
{
    free(t->id);
    free(t->kind);
    free(t->intent);
    free(t->messages);
    json_decref(t->check);
    json_decref(t->source);
}

void task_list_free(task_list *list)
{
    for (size_t i = 0; i < list->length; i++)
        task_free(&list->items[i]);
    free(list->items);
    *list = (task_list){.items = NULL};
}

static error_code no_memory(failure *fail)
{
    return failure_set(fail, ERR_MEMORY, "no memory for the tasks");
}

static error_code read_messages(task *t, failure *fail)
{
    size_t n = json_array_size(t->source), i;
    json_t *item;
    if (n == 0 || n > MAX_MESSAGES)
        return failure_set(fail, ERR_FORMAT, "\"messages\" must hold 1 to %d", MAX_MESSAGES);
    t->messages = calloc(n, sizeof t->messages[0]);
    if (t->messages == NULL)
        return no_memory(fail);
    t->n_messages = n;
    json_array_foreach(t->source, i, item)
    {
        const json_t *role = json_object_get(item, "role");
        const json_t *content = json_object_get(item, "content");
        if (!json_is_string(role) || !json_is_string(content))
            return failure_set(fail, ERR_FORMAT,
                               "messages[%zu]: role and content are needed, both texts", i);
        t->messages[i] = (chat_message){.role = json_string_value(role),
                                        .content = json_string_value(content),
                                        .content_length = json_string_length(content)};
    }
    return OK;
}

static error_code grow(task_list *list)
{
    if (list->length < list->capacity)
        return OK;
    size_t capacity = list->capacity > 0 ? 2 * list->capacity : 64;
    task *items = reallocarray(list->items, capacity, sizeof *items);
    if (items == NULL)
        return ERR_MEMORY;
    list->items = items;
    list->capacity = capacity;
    return OK;
}

error_code task_list_add(task_list *list, const char *id, const char *kind, const char *intent,
                         json_t *messages, json_t *check, task **out, failure *fail)
{
    task t = {.id = strdup(id),
              .kind = strdup(kind),
              .intent = intent != NULL ? strdup(intent) : NULL,
              .check = check,
              .arrival_ms = -1,
              .source = messages};
    bool is_whole = t.id != NULL && t.kind != NULL && (intent == NULL) == (t.intent == NULL);
    error_code code = is_whole && grow(list) == OK ? read_messages(&t, fail) : no_memory(fail);
    if (code != OK) {
        task_free(&t);
        return code;
    }
    list->items[list->length++] = t;
    if (out != NULL)
        *out = &list->items[list->length - 1];
    return OK;
}

error_code task_list_add_prompt(task_list *list, const char *id, const char *kind,
                                const char *intent, const char *prompt, json_t *check,
                                failure *fail)
{
    json_t *messages =
        json_pack("[{s:s, s:o}]", "role", "user", "content", json_text(prompt, strlen(prompt)));
    return task_list_add(list, id, kind, intent, messages, check, NULL, fail);
}
