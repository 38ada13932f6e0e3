/* labelled.c: reading labelled requests, shuffling them by seed, and asking the probe of each. */
#include "cli/labelled.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/lines.h"
#include "cli/builtin_requests.h"
#include "cli/progress.h"
#include "cli/request_lines.h"
#include "base/random.h"

#define SHUFFLE_SEED 1
#define IN_FLIGHT 4 /* the engine computes as many classifications in a step */

/* ---- the set -------------------------------------------------------------------------------- */

static void free_request(labelled_request *r)
{
    free(r->messages);
    json_decref(r->line);
}

void labelled_free(labelled_requests *set)
{
    for (size_t i = 0; i < set->n; i++)
        free_request(&set->items[i]);
    free(set->items);
    *set = (labelled_requests){.path = NULL};
}

/* Taken over, also when there is no memory for it. */
static error_code add(labelled_requests *set, labelled_request r, failure *fail)
{
    if (set->n == set->capacity) {
        size_t capacity = set->capacity == 0 ? 256 : 2 * set->capacity;
        labelled_request *items = reallocarray(set->items, capacity, sizeof *items);
        if (items == NULL) {
            free_request(&r);
            return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", capacity);
        }
        set->items = items;
        set->capacity = capacity;
    }
    set->items[set->n++] = r;
    return OK;
}

/* ---- texts of our own ----------------------------------------------------------------------- */

static error_code add_text(labelled_requests *set, const char *text, size_t label, failure *fail)
{
    labelled_request r = {.label = label, .number = set->n + 1};
    r.messages = malloc(sizeof *r.messages);
    if (r.messages == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a request");
    *r.messages = (chat_message){.role = "user", .content = text, .content_length = strlen(text)};
    r.request = (request){.messages = r.messages, .n_messages = 1, .sampling = sampling_defaults()};
    return add(set, r, fail);
}

static bool find_label(const labelled_requests *set, const char *name, size_t *label)
{
    for (*label = 0; *label < set->n_labels; ++*label)
        if (strcmp(set->labels[*label], name) == 0)
            return true;
    return false;
}

error_code labelled_builtin(labelled_requests *set, failure *fail)
{
    *set = (labelled_requests){
        .path = "the built-in requests", .labels = {"code", "qa", "math"}, .n_labels = 3};
    error_code code = OK;
    for (size_t i = 0; code == OK && i < BUILTIN_REQUESTS; i++) {
        size_t label;
        find_label(set, builtin_requests[i].label, &label);
        code = add_text(set, builtin_requests[i].prompt, label, fail);
    }
    return code;
}

error_code labelled_content_free(labelled_requests *set, failure *fail)
{
    static const char *const texts[] = {"N/A", "[MASK]", ""};
    *set = (labelled_requests){.path = "requests without content"};
    error_code code = OK;
    for (size_t i = 0; code == OK && i < sizeof texts / sizeof texts[0]; i++)
        code = add_text(set, texts[i], 0, fail);
    return code;
}

/* ---- a file --------------------------------------------------------------------------------- */

static error_code take_label(labelled_requests *set, bool is_open, const json_t *line,
                             size_t *label, failure *fail)
{
    const char *name = json_string_value(json_object_get(line, "intent"));
    if (name == NULL)
        return failure_set(fail, ERR_INVALID, "\"intent\" (the right label) is needed, a text");
    if (find_label(set, name, label))
        return OK;
    if (!is_open)
        return failure_set(fail, ERR_INVALID, "intent \"%.60s\" is not a label of the probe", name);
    if (set->n_labels == PROBE_MAX_LABELS)
        return failure_set(fail, ERR_INVALID, "more than %d different intents", PROBE_MAX_LABELS);
    set->labels[set->n_labels++] = name;
    return OK;
}

static error_code read_line(labelled_requests *set, bool is_open, size_t number, const char *text,
                            size_t length, failure *fail)
{
    labelled_request r = {.number = number};
    error_code code = request_line_parse(&r.line, text, length, fail);
    if (code == OK)
        code = request_line_read(r.line, &r.request, &r.messages, fail);
    if (code == OK)
        code = take_label(set, is_open, r.line, &r.label, fail);
    if (code == OK)
        return add(set, r, fail);
    free_request(&r);
    return code;
}

static error_code read_lines(labelled_requests *set, FILE *file, failure *fail)
{
    bool is_open = set->n_labels == 0;
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    for (size_t number = 1; code == OK; number++) {
        ssize_t length = getline(&line, &capacity, file);
        if (length < 0) {
            code = lines_ended(file, set->path, fail);
            break;
        }
        if (strspn(line, " \t\r\n") == (size_t)length)
            continue;
        code = read_line(set, is_open, number, line, (size_t)length, fail);
        if (code != OK)
            failure_prefix(fail, "%s, line %zu", set->path, number);
    }
    free(line);
    return code;
}

error_code labelled_read(labelled_requests *set, const char *path, failure *fail)
{
    set->path = path;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    error_code code = read_lines(set, file, fail);
    fclose(file);
    return code;
}

/* ---- order and length ----------------------------------------------------------------------- */

void labelled_shuffle(labelled_requests *set)
{
    for (size_t i = set->n; i > 1; i--) {
        size_t j = random_below(SHUFFLE_SEED, 0, i, i);
        labelled_request moved = set->items[i - 1];
        set->items[i - 1] = set->items[j];
        set->items[j] = moved;
    }
}

static error_code place(const labelled_requests *set, const labelled_request *r, failure *fail)
{
    return failure_prefix(fail, "%s, line %zu", set->path, r->number);
}

error_code labelled_fit(labelled_requests *set, backend *b, failure *fail)
{
    size_t n = set->n, kept = 0;
    error_code code = OK;
    for (size_t i = 0; i < n; i++) {
        labelled_request r = set->items[i];
        if (code == OK) {
            code = backend_count_tokens(b, &r.request, &r.tokens, fail);
            if (code != OK)
                place(set, &r, fail);
        }
        if (code == OK && r.tokens >= backend_context(b)) {
            free_request(&r);
            set->n_long++;
        } else {
            set->items[kept++] = r;
        }
    }
    set->n = kept;
    return code;
}

/* ---- asking --------------------------------------------------------------------------------- */

typedef struct pending {
    classification *asked;
    size_t request, question;
} pending;

typedef struct asking {
    const labelled_requests *set;
    asker asker;
    const question *questions;
    answer_sink sink;
    progress progress;
    size_t done, all;
    pending waiting[IN_FLIGHT]; /* the oldest first */
    size_t n_waiting;
} asking;

static error_code take_oldest(asking *a, failure *fail)
{
    pending oldest = a->waiting[0];
    classification_result result;
    a->n_waiting--;
    memmove(a->waiting, a->waiting + 1, a->n_waiting * sizeof a->waiting[0]);
    error_code code = asker_take(&a->asker, oldest.asked, &result, fail);
    if (code != OK)
        return place(a->set, &a->set->items[oldest.request], fail);
    a->sink.call(a->sink.context, oldest.request, oldest.question, &result);
    if (a->progress.what != NULL)
        progress_show(&a->progress, (double)++a->done / (double)a->all);
    return OK;
}

static error_code ask(asking *a, size_t i, size_t k, failure *fail)
{
    error_code code = a->n_waiting == IN_FLIGHT ? take_oldest(a, fail) : OK;
    if (code != OK)
        return code;
    pending *next = &a->waiting[a->n_waiting];
    *next = (pending){.request = i, .question = k};
    code = asker_ask(&a->asker, &a->set->items[i].request, &a->questions[k], &next->asked, fail);
    if (code != OK)
        return place(a->set, &a->set->items[i], fail);
    a->n_waiting++;
    return OK;
}

error_code labelled_ask(const labelled_requests *set, size_t n, backend *b, const question *asked,
                        size_t n_questions, const char *what, answer_sink sink, failure *fail)
{
    asking a = {.set = set, .questions = asked, .sink = sink, .all = n * n_questions};
    error_code code = OK;
    asker_init(&a.asker, b);
    if (what != NULL)
        progress_start(&a.progress, what);
    /* As many requests at a time as are on their way: when a request's next question comes, the
     * one before it has left its prefix. */
    for (size_t from = 0; from < n && code == OK; from += IN_FLIGHT)
        for (size_t k = 0; k < n_questions && code == OK; k++)
            for (size_t i = from; i < n && i < from + IN_FLIGHT && code == OK; i++)
                code = ask(&a, i, k, fail);
    while (code == OK && a.n_waiting > 0)
        code = take_oldest(&a, fail);
    for (size_t i = 0; i < a.n_waiting; i++)
        classification_release(a.waiting[i].asked);
    if (what != NULL)
        progress_end(&a.progress);
    asker_end(&a.asker);
    return code;
}
