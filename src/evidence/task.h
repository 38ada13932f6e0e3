/*
 * task.h: a labelled request: what is asked, what it truly is, and how to tell a right answer.
 *
 * Tasks come from traces (trace.h) or the built-in set (demo_tasks.h). A list owns
 * its tasks; task_list_free gives all back. Read-only once filled: any thread.
 */
#ifndef EVIDENCE_TASK_H
#define EVIDENCE_TASK_H

#include <jansson.h>
#include <stddef.h>

#include "base/failure.h"
#include "model/chat.h"

typedef struct task {
    char *id;
    char *kind;   /* what scenarios mix: code, qa, math, long (code behind a long text), … */
    char *intent; /* the label that is true of it; NULL: not known */
    chat_message *messages; /* their texts belong to `source` */
    size_t n_messages;
    json_t *check;     /* {"type": …}, see checker.h; NULL: nothing says what is right */
    double arrival_ms; /* after the trace's begin; negative: none given */
    size_t max_tokens; /* 0: the replay's own limit */
    json_t *source;    /* owns the texts of messages */
} task;

typedef struct task_list {
    task *items;
    size_t length, capacity;
} task_list;

/* Adds a task that asks `messages` (a JSON list of {role, content}; taken over). The texts are
 * copied; intent may be NULL; check is taken over. *out may be NULL. */
error_code task_list_add(task_list *list, const char *id, const char *kind, const char *intent,
                         json_t *messages, json_t *check, task **out, failure *fail);
/* The same with one message of a user. */
error_code task_list_add_prompt(task_list *list, const char *id, const char *kind,
                                const char *intent, const char *prompt, json_t *check,
                                failure *fail);
void task_list_free(task_list *list);

#endif
