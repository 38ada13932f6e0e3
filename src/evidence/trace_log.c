/* trace_log.c: arrivals, limits and kinds out of logged decisions. */
#include "evidence/trace_log.h"

#include <stdlib.h>
#include <string.h>

static const char *type_of(const json_t *line)
{
    const char *type = json_string_value(json_object_get(line, "type"));
    return type != NULL ? type : "";
}

bool trace_is_logged(const json_t *line)
{
    return strcmp(type_of(line), "policy") == 0 || strcmp(type_of(line), "decision") == 0;
}

static double sum_ms(const json_t *object, const char *const *keys, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += json_number_value(json_object_get(object, keys[i]));
    return sum;
}

/* `time` is when it had ended. */
static double arrival_of(const json_t *line)
{
    static const char *const deciding[] = {"total_ms"};
    static const char *const replying[] = {"queue_ms", "prefill_ms", "decode_ms"};
    const json_t *receipt = json_object_get(line, "receipt");
    return 1e3 * json_number_value(json_object_get(line, "time")) -
           sum_ms(json_object_get(receipt, "overhead"), deciding, 1) -
           sum_ms(json_object_get(receipt, "reply"), replying, 3);
}

/* A reply that ended at its limit had that limit; of others it is not known. */
static size_t limit_of(const json_t *line)
{
    const json_t *reply = json_object_get(json_object_get(line, "receipt"), "reply");
    const char *finish =
        json_string_value(json_object_get(json_object_get(line, "outcome"), "finish_reason"));
    json_int_t tokens = json_integer_value(json_object_get(reply, "reply_tokens"));
    return finish != NULL && strcmp(finish, "length") == 0 && tokens > 0 ? (size_t)tokens : 0;
}

/* What the probe said then, for want of the true label. */
static const char *kind_of(const json_t *line)
{
    const json_t *intent = json_object_get(json_object_get(line, "facts"), "intent");
    const char *label = json_string_value(json_object_get(intent, "label"));
    return label != NULL ? label : "unprobed";
}

error_code trace_log_add(task_list *list, const json_t *line, failure *fail)
{
    const char *id = json_string_value(json_object_get(line, "id"));
    const json_t *prompt = json_object_get(line, "prompt");
    json_t *messages = json_object_get(prompt, "text");
    task *added = NULL;
    if (strcmp(type_of(line), "policy") == 0)
        return OK;
    if (id == NULL || !json_is_object(prompt))
        return failure_set(fail, ERR_FORMAT, "a decision needs \"id\" and \"prompt\"");
    if (json_object_get(prompt, "raw") != NULL)
        return failure_set(fail, ERR_FORMAT, "a raw prompt: only conversations can be replayed");
    if (messages == NULL)
        return failure_set(fail, ERR_FORMAT,
                           "the decision log was written without prompts, so that there is nothing "
                           "to send; \"decisions: {prompts: text}\" in the server's configuration "
                           "keeps them");
    error_code code =
        task_list_add(list, id, kind_of(line), NULL, json_incref(messages), NULL, &added, fail);
    if (code != OK)
        return code;
    added->arrival_ms = arrival_of(line);
    added->max_tokens = limit_of(line);
    return OK;
}

static int by_arrival(const void *a, const void *b)
{
    const task *x = a, *y = b;
    if (x->arrival_ms != y->arrival_ms)
        return x->arrival_ms < y->arrival_ms ? -1 : 1;
    return strcmp(x->id, y->id);
}

void trace_log_settle(task_list *list, size_t first)
{
    task *tasks = list->items + first;
    size_t n = list->length - first;
    if (n == 0)
        return;
    qsort(tasks, n, sizeof *tasks, by_arrival);
    for (size_t i = n; i-- > 0;)
        tasks[i].arrival_ms -= tasks[0].arrival_ms;
}
