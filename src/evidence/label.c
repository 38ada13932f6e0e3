/* label.c: asking the models, taking answers back from the journal, grading them. */
#include "evidence/label.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "evidence/answer.h"
#include "evidence/journal.h"
#include "evidence/reading.h"

typedef struct labelling {
    const label_plan *plan;
    const config *config;
    label_progress progress;
    journal *journal; /* by numbers of model and task: {answer, prompt_tokens, tokens} | {error} */
    checker *judge;
    size_t asked; /* that answers now */
    size_t *open; /* numbers of the tasks that it has to answer */
    task *tasks;  /* the same tasks, borrowed */
    size_t n_open;
    size_t n_done, n_all; /* answers, of all models */
    error_code code;      /* of `fail`, once the journal could not be written */
    failure fail;
} labelling;

static size_t last_of(const labelling *l)
{
    return l->config->n_models - 1;
}

static void tell(const labelling *l, const char *doing, size_t done, size_t all)
{
    if (l->progress.call != NULL)
        l->progress.call(l->progress.context, doing, (double)done / (double)all);
}

/* ---- answering ---------------------------------------------------------------------------- */

typedef struct answer_key {
    char text[48];
} answer_key;

static answer_key key_of(size_t who, size_t number)
{
    answer_key key;
    snprintf(key.text, sizeof key.text, "answer/%zu/%zu", who, number);
    return key;
}

static void note(labelling *l, size_t open, json_t *value)
{
    answer_key key = key_of(l->asked, l->open[open]);
    if (l->code == OK)
        l->code = journal_put(l->journal, key.text, value, &l->fail);
    else
        json_decref(value);
}

static void on_answer(void *context, size_t open, const char *text, const json_t *item)
{
    note(context, open,
         json_pack("{s:o, s:O, s:O, s:O*}", "answer", json_text(text, strlen(text)),
                   "prompt_tokens", json_object_get(item, "prompt_tokens"), "tokens",
                   json_object_get(item, "tokens"), "finish", json_object_get(item, "finish")));
}

static void on_progress(void *context, size_t done)
{
    labelling *l = context;
    tell(l, config_role(l->config, l->asked), l->n_done + done, l->n_all);
}

static bool is_stopped(void *context)
{
    const labelling *l = context;
    const block_options *load = &l->plan->load;
    return l->code != OK || (load->stopped != NULL && load->stopped(load->context));
}

static void list_open(labelling *l)
{
    l->n_open = 0;
    for (size_t i = 0; i < l->plan->tasks.length; i++) {
        answer_key key = key_of(l->asked, i);
        if (journal_find(l->journal, key.text) != NULL)
            continue;
        l->tasks[l->n_open] = l->plan->tasks.items[i];
        l->tasks[l->n_open].check = NULL; /* graded when all is there */
        l->open[l->n_open++] = i;
    }
}

static void note_refusals(labelling *l, const json_t *items)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *error = json_object_get(json_array_get(items, i), "error");
        if (json_is_string(error))
            note(l, i, json_pack("{s:O}", "error", error));
    }
}

/* What is known already goes to the journal, as if it had been asked for. */
static error_code take_answers(labelling *l, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && i < l->plan->tasks.length; i++) {
        answer_key key = key_of(l->asked, i);
        const json_t *known = label_answer(
            json_object_get(l->plan->answers, l->plan->tasks.items[i].id), l->config, l->asked);
        if (!json_is_string(json_object_get(known, "answer")) ||
            journal_find(l->journal, key.text) != NULL)
            continue;
        code = journal_put(l->journal, key.text,
                           json_pack("{s:O, s:O, s:O}", "answer", json_object_get(known, "answer"),
                                     "prompt_tokens", json_object_get(known, "prompt_tokens"),
                                     "tokens", json_object_get(known, "tokens")),
                           fail);
    }
    return code;
}

/* What one model has not answered yet. */
static error_code answer_open(labelling *l, orchestra *o, failure *fail)
{
    const arm alone = arm_of_model(l->config->models[l->asked].name);
    block_options load = l->plan->load;
    json_t *items = NULL;
    double seconds;
    load.load = LOAD_CLOSED;
    load.context = l;
    load.progress = on_progress;
    load.answered = on_answer;
    load.stopped = is_stopped;
    list_open(l);
    l->n_done += l->plan->tasks.length - l->n_open;
    if (l->n_open == 0)
        return OK;
    error_code code = block_run(o, l->config, &alone, l->tasks, l->n_open, &load, l->judge, &items,
                                &seconds, fail);
    if (code == OK)
        note_refusals(l, items);
    json_decref(items);
    l->n_done += l->n_open;
    if (l->code != OK)
        *fail = l->fail;
    return l->code != OK ? l->code : code;
}

/* ---- reading ------------------------------------------------------------------------------ */

static answer_key reading_key(size_t who, size_t number)
{
    answer_key key;
    snprintf(key.text, sizeof key.text, "reading/%zu/%zu", who, number);
    return key;
}

/* What the last model cannot take, together with its prompt, is not known, and no failure. */
static error_code read_answer(labelling *l, orchestra *o, size_t number, failure *fail)
{
    answer_key answer = key_of(l->asked, number), key = reading_key(l->asked, number);
    const char *large = l->config->models[last_of(l)].name;
    const char *text =
        json_string_value(json_object_get(journal_find(l->journal, answer.text), "answer"));
    reading r = {.tokens = 0};
    if (text == NULL || journal_find(l->journal, key.text) != NULL)
        return OK;
    error_code code = reading_take(&r, o, large, &l->plan->tasks.items[number], text, fail);
    if (code != OK && code != ERR_CONTEXT)
        return failure_prefix(fail, "task %s", l->plan->tasks.items[number].id);
    return journal_put(l->journal, key.text,
                       code == OK && r.tokens > 0
                           ? json_pack("{s:f, s:f, s:I}", "mean", r.mean, "least", r.least,
                                       "tokens", (json_int_t)r.tokens)
                           : json_null(),
                       fail);
}

/* Those of one model. */
static error_code read_answers(labelling *l, orchestra *o, failure *fail)
{
    const block_options *load = &l->plan->load;
    size_t n = l->plan->tasks.length;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < n; i++) {
        if (load->stopped != NULL && load->stopped(load->context))
            return failure_set(fail, ERR_CANCELLED, "stopped");
        code = read_answer(l, o, i, fail);
        tell(l, "reading", i + 1, n);
    }
    return code;
}

/* ---- grading ------------------------------------------------------------------------------ */

/* For an answer that came from elsewhere. */
static bool was_cut(const labelling *l, const task *t, const json_t *answer)
{
    size_t limit = t->max_tokens > 0 ? t->max_tokens : l->plan->load.max_tokens;
    return (size_t)json_integer_value(json_object_get(answer, "tokens")) >= limit;
}

/* What a model's answer to a task is worth; NULL: no memory. */
static json_t *grade(labelling *l, size_t who, size_t number, failure *fail)
{
    const task *t = &l->plan->tasks.items[number];
    answer_key key = key_of(who, number);
    json_t *graded = json_copy(journal_find(l->journal, key.text));
    const char *text = json_string_value(json_object_get(graded, "answer"));
    bool right = false;
    failure_set(fail, ERR_MEMORY, "no memory for the labels");
    if (text != NULL && t->check != NULL &&
        checker_check(l->judge, t->check, text, &right, fail) != OK) {
        failure_prefix(fail, "task %s", t->id);
        json_decref(graded);
        return NULL;
    }
    bool is_known = t->check != NULL || text == NULL;
    json_object_set_new(graded, "right", is_known ? json_boolean(right) : json_null());
    if (text != NULL && json_object_get(graded, "finish") == NULL)
        json_object_set_new(graded, "finish",
                            json_string(was_cut(l, t, graded) ? "length" : "stop"));
    return graded;
}

/* Of a pair, what is said of the small model's answer stands in the line itself. */
static json_t *remarks_of(const labelling *l, json_t *line, size_t who)
{
    return l->config->n_models == 2 ? line : (json_t *)label_answer(line, l->config, who);
}

static error_code add_agreement(const labelling *l, json_t *line, size_t who, failure *fail)
{
    const json_t *own = label_answer(line, l->config, who);
    const json_t *last = label_answer(line, l->config, last_of(l));
    const char *here = json_string_value(json_object_get(own, "answer"));
    const char *there = json_string_value(json_object_get(last, "answer"));
    bool is_known = here != NULL && there != NULL, agree = false;
    error_code code = is_known ? answers_agree(here, there, &agree, fail) : OK;
    json_object_set_new(remarks_of(l, line, who), "agree",
                        is_known ? json_boolean(agree) : json_null());
    return code;
}

static void add_reading(const labelling *l, json_t *line, size_t who, size_t number)
{
    answer_key key = reading_key(who, number);
    json_t *read = journal_find(l->journal, key.text);
    json_object_set_new(remarks_of(l, line, who), "reading",
                        read != NULL ? json_incref(read) : json_null());
}

/* What the last model makes of the answers before it. */
static error_code add_remarks(const labelling *l, json_t *line, size_t number, failure *fail)
{
    const label_plan *p = l->plan;
    bool is_compared = p->tasks.items[number].check == NULL && p->is_asked[last_of(l)];
    error_code code = OK;
    for (size_t i = 0; code == OK && i < last_of(l); i++) {
        if (p->is_asked[i] && p->is_read)
            add_reading(l, line, i, number);
        if (p->is_asked[i] && is_compared)
            code = add_agreement(l, line, i, fail);
    }
    return code;
}

/* The task in the trace's own form. */
static json_t *line_of(const task *t)
{
    json_t *line =
        json_pack("{s:s, s:s, s:O}", "id", t->id, "task", t->kind, "messages", t->source);
    if (t->intent != NULL)
        json_object_set_new(line, "intent", json_string(t->intent));
    if (t->check != NULL)
        json_object_set(line, "check", t->check);
    if (t->max_tokens > 0)
        json_object_set_new(line, "max_tokens", json_integer((json_int_t)t->max_tokens));
    if (t->arrival_ms >= 0)
        json_object_set_new(line, "arrival_ms", json_real(t->arrival_ms));
    return line;
}

/* The answers, graded: into the line of a pair, into its "models" of more. */
static error_code add_answers(labelling *l, json_t *line, size_t number, failure *fail)
{
    json_t *into = l->config->n_models == 2 ? json_incref(line) : json_object();
    error_code code = OK;
    for (size_t i = 0; code == OK && i <= last_of(l); i++) {
        json_t *graded = l->plan->is_asked[i] ? grade(l, i, number, fail) : NULL;
        if (l->plan->is_asked[i] &&
            (graded == NULL || json_object_set_new(into, config_role(l->config, i), graded) != 0))
            code = fail->code;
    }
    if (into != line)
        json_object_set(line, "models", into);
    json_decref(into);
    return code;
}

static error_code add_line(labelling *l, size_t number, json_t *lines, failure *fail)
{
    json_t *line = line_of(&l->plan->tasks.items[number]);
    error_code code = add_answers(l, line, number, fail);
    if (code == OK)
        code = add_remarks(l, line, number, fail);
    if (json_array_append_new(lines, line) != 0 && code == OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for the labels");
    return code;
}

static error_code grade_all(labelling *l, json_t *lines, failure *fail)
{
    const block_options *load = &l->plan->load;
    error_code code = OK;
    for (size_t i = 0; code == OK && i < l->plan->tasks.length; i++) {
        if (load->stopped != NULL && load->stopped(load->context))
            code = failure_set(fail, ERR_CANCELLED, "stopped");
        else
            code = add_line(l, i, lines, fail);
        tell(l, "grading", i + 1, l->plan->tasks.length);
    }
    return code;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static error_code prepare(labelling *l, failure *fail)
{
    size_t n = l->plan->tasks.length;
    for (size_t i = 0; i <= last_of(l); i++)
        l->n_all += l->plan->is_asked[i] ? n : 0;
    l->open = calloc(n, sizeof l->open[0]);
    l->tasks = calloc(n, sizeof l->tasks[0]);
    if (l->open == NULL || l->tasks == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the labels");
    error_code code = checker_create(&l->judge, fail);
    return code == OK ? journal_open(&l->journal, l->plan->journal, "run of label",
                                     l->plan->settings, fail)
                      : code;
}

/* Every model's answers, and what the last one thinks of those before its own. */
static error_code answer_all(labelling *l, orchestra *o, failure *fail)
{
    const label_plan *p = l->plan;
    error_code code = OK;
    for (l->asked = 0; code == OK && l->asked <= last_of(l); l->asked++) {
        if (!p->is_asked[l->asked])
            continue;
        code = take_answers(l, fail);
        if (code == OK)
            code = answer_open(l, o, fail);
    }
    for (l->asked = 0; code == OK && p->is_read && l->asked < last_of(l); l->asked++)
        if (p->is_asked[l->asked])
            code = read_answers(l, o, fail);
    return code;
}

error_code label_perform(const label_plan *p, orchestra *o, const config *c,
                         label_progress progress, json_t **lines, failure *fail)
{
    labelling l = {.plan = p, .config = c, .progress = progress};
    json_t *made = json_array();
    error_code code = prepare(&l, fail);
    if (code == OK)
        code = answer_all(&l, o, fail);
    if (code == OK)
        code = grade_all(&l, made, fail);
    journal_close(l.journal);
    checker_destroy(l.judge);
    free(l.open);
    free(l.tasks);
    *lines = code == OK ? made : NULL;
    if (code != OK)
        json_decref(made);
    return code;
}
