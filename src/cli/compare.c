/* compare.c: asking each template once, and choosing words from what was said. */
#include "cli/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_KEPT 4         /* of each label's, when a template is tried with many */
#define MADE_OF_TEMPLATE 256 /* candidates, at most */
#define MAX_SHEETS 1024
#define MAX_CANDIDATES 65536

void comparison_init(comparison *c, const labelled_requests *requests, size_t n, size_t window_head,
                     size_t window_tail)
{
    *c = (comparison){
        .requests = requests, .n = n, .window_head = window_head, .window_tail = window_tail};
}

void comparison_free(comparison *c)
{
    for (size_t i = 0; i < c->n_sheets; i++) {
        free(c->sheets[i].logits);
        free(c->sheets[i].log_sum);
    }
    free(c->sheets);
    free(c->items);
    *c = (comparison){.requests = NULL};
}

const char *candidate_template(const comparison *c, const candidate *item)
{
    return c->sheets[item->sheet].asked.template.text;
}

const char *candidate_word(const comparison *c, const candidate *item, size_t label)
{
    return c->sheets[item->sheet].asked.words[item->words[label]];
}

static size_t n_labels(const comparison *c)
{
    return c->requests->n_labels;
}

/* ---- what is asked -------------------------------------------------------------------------- */

/* *at is the number of a sheet of that template with room for so many more words. */
static error_code find_sheet(comparison *c, const char *template, size_t n_words, size_t *at,
                             failure *fail)
{
    for (*at = 0; *at < c->n_sheets; ++*at) {
        const question *q = &c->sheets[*at].asked;
        if (strcmp(q->template.text, template) == 0 && q->n_words + n_words <= PROBE_MAX_LABELS)
            return OK;
    }
    if (c->n_sheets == MAX_SHEETS)
        return failure_set(fail, ERR_INVALID, "more than %d templates", MAX_SHEETS);
    sheet *grown = reallocarray(c->sheets, c->n_sheets + 1, sizeof *grown);
    if (grown == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a template");
    c->sheets = grown;
    grown[c->n_sheets++] = (sheet){.asked.template = {.text = template,
                                                      .window_head = c->window_head,
                                                      .window_tail = c->window_tail}};
    return OK;
}

static size_t place_word(question *q, const char *word)
{
    size_t i = 0;
    while (i < q->n_words && strcmp(q->words[i], word) != 0)
        i++;
    q->words[i] = word;
    q->n_words += i == q->n_words;
    return i;
}

static error_code add_candidate(comparison *c, candidate item, failure *fail)
{
    if (c->n_items == MAX_CANDIDATES)
        return failure_set(fail, ERR_INVALID, "more than %d candidates", MAX_CANDIDATES);
    if (c->n_items == c->capacity) {
        size_t capacity = c->capacity == 0 ? 64 : 2 * c->capacity;
        candidate *items = reallocarray(c->items, capacity, sizeof *items);
        if (items == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for %zu candidates", capacity);
        c->items = items;
        c->capacity = capacity;
    }
    c->items[c->n_items++] = item;
    return OK;
}

/* Counts a candidate that the small model cannot be asked; other failures end the comparison. */
static error_code refuse(comparison *c, const failure *why, failure *fail)
{
    if (why->code != ERR_CONFIG) {
        *fail = *why;
        return why->code;
    }
    if (c->n_refused++ == 0)
        c->refusal = *why;
    return OK;
}

static error_code take_candidate(comparison *c, const probe_candidate *from, backend *small,
                                 failure *fail)
{
    failure why;
    const probe_template template = {
        .text = from->template, .window_head = c->window_head, .window_tail = c->window_tail};
    error_code code = backend_check_labels(small, &template, (const char *const *)from->words,
                                           from->n_words, &why);
    if (code != OK)
        return refuse(c, &why, fail);
    candidate item = {.sheet = 0};
    code = find_sheet(c, from->template, from->n_words, &item.sheet, fail);
    if (code != OK)
        return code;
    for (size_t k = 0; k < from->n_words; k++)
        item.words[k] = place_word(&c->sheets[item.sheet].asked, from->words[k]);
    return add_candidate(c, item, fail);
}

error_code comparison_take_list(comparison *c, const probe_candidates *list, backend *small,
                                failure *fail)
{
    error_code code = OK;
    for (uint32_t i = 0; code == OK && i < list->n; i++) {
        if (list->items[i].n_words != n_labels(c))
            return failure_set(fail, ERR_CONFIG,
                               "candidate %u has words for %u labels; there are %zu", i + 1,
                               list->items[i].n_words, n_labels(c));
        code = take_candidate(c, &list->items[i], small, fail);
    }
    if (code != OK || c->n_items > 0)
        return code;
    *fail = c->refusal;
    return failure_prefix(fail, "no candidate can be asked; the first");
}

/* ---- a template with many words ------------------------------------------------------------- */

/* Adds those that are one token each, and not that of a word before. */
static error_code take_words(sheet *s, int32_t *ids, size_t label, const char *const *words,
                             backend *small, failure *fail)
{
    question *q = &s->asked;
    size_t before = q->n_words;
    for (; *words != NULL && q->n_words < PROBE_MAX_LABELS; words++) {
        int32_t *id = &ids[q->n_words];
        failure why;
        error_code code = backend_find_token(small, *words, id, &why);
        if (code == ERR_MEMORY)
            return failure_set(fail, code, "%s", why.text);
        bool is_new = code == OK;
        for (size_t i = 0; is_new && i < q->n_words; i++)
            is_new = ids[i] != *id;
        if (!is_new)
            continue;
        s->label_of[q->n_words] = label;
        q->words[q->n_words++] = *words;
    }
    return q->n_words > before ? OK : ERR_CONFIG;
}

error_code comparison_take_template(comparison *c, const char *template,
                                    const char *const *const *words, backend *small, failure *fail)
{
    int32_t ids[PROBE_MAX_LABELS];
    size_t at;
    failure why = {.code = OK};
    error_code code = find_sheet(c, template, PROBE_MAX_LABELS, &at, fail);
    if (code != OK)
        return code;
    sheet *s = &c->sheets[at];
    s->is_open = true;
    for (size_t k = 0; code == OK && k < n_labels(c); k++) {
        code = take_words(s, ids, k, words[k], small, &why);
        if (code == ERR_CONFIG)
            failure_set(&why, code, "label '%s': none of its words is one token of model '%s'",
                        c->requests->labels[k], backend_name(small));
    }
    if (code == OK)
        return OK;
    c->n_sheets--;
    return refuse(c, &why, fail);
}

/* What the requests of its label give a word, in all. */
static double word_probability(const comparison *c, const sheet *s, size_t word)
{
    double sum = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->requests->items[i].label == s->label_of[word])
            sum += exp((double)s->logits[i * s->asked.n_words + word] - (double)s->log_sum[i]);
    return sum;
}

/* The most probable words of a label, at most `most` of them; how many. */
static size_t best_words(const comparison *c, const sheet *s, size_t label, size_t most,
                         size_t *out)
{
    double held[PROBE_MAX_LABELS];
    size_t n = 0;
    for (size_t w = 0; w < s->asked.n_words; w++) {
        if (s->label_of[w] != label)
            continue;
        double p = word_probability(c, s, w);
        size_t at = n++;
        for (; at > 0 && held[at - 1] < p; at--) {
            held[at] = held[at - 1];
            out[at] = out[at - 1];
        }
        held[at] = p;
        out[at] = w;
    }
    return n < most ? n : most;
}

/* So many words of each label that their combinations stay few. */
static size_t words_kept(size_t labels)
{
    size_t kept = WORDS_KEPT;
    while (kept > 1 && pow((double)kept, (double)labels) > MADE_OF_TEMPLATE)
        kept--;
    return kept;
}

/* Every combination of the best words. */
static error_code expand(comparison *c, size_t at, failure *fail)
{
    size_t labels = n_labels(c), most = words_kept(labels);
    size_t words[PROBE_MAX_LABELS][PROBE_MAX_LABELS] = {{0}}, n[PROBE_MAX_LABELS];
    size_t chosen[PROBE_MAX_LABELS] = {0};
    for (size_t k = 0; k < labels; k++)
        n[k] = best_words(c, &c->sheets[at], k, most, words[k]);
    for (size_t k = 0; k < labels;) {
        candidate item = {.sheet = at};
        for (k = 0; k < labels; k++)
            item.words[k] = words[k][chosen[k]];
        error_code code = add_candidate(c, item, fail);
        if (code != OK)
            return code;
        for (k = 0; k < labels && ++chosen[k] == n[k]; k++) /* the next number in mixed bases */
            chosen[k] = 0;
    }
    return OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

/* Where the answers to come go: the requests' own, or those to no content. */
typedef struct rows {
    comparison *comparison;
    size_t first;
} rows;

static void take_answer(void *context, size_t index, size_t asked, const classification_result *r)
{
    const rows *to = context;
    sheet *s = &to->comparison->sheets[asked];
    size_t row = to->first + index;
    memcpy(s->logits + row * s->asked.n_words, r->logits, s->asked.n_words * sizeof *s->logits);
    s->log_sum[row] = r->log_sum_exp;
}

static error_code make_room(comparison *c, failure *fail)
{
    for (size_t i = 0; i < c->n_sheets; i++) {
        sheet *s = &c->sheets[i];
        s->logits = calloc((c->n + COMPARE_CONTENT_FREE) * s->asked.n_words, sizeof *s->logits);
        s->log_sum = calloc(c->n + COMPARE_CONTENT_FREE, sizeof *s->log_sum);
        if (s->logits == NULL || s->log_sum == NULL)
            return failure_set(fail, ERR_MEMORY, "no memory for what %zu requests are answered",
                               c->n);
    }
    return OK;
}

static error_code ask_sheets(comparison *c, const question *asked, backend *small, failure *fail)
{
    labelled_requests nothing = {.path = NULL};
    rows to = {c, c->n};
    error_code code = labelled_content_free(&nothing, fail);
    if (code == OK)
        code = labelled_ask(&nothing, COMPARE_CONTENT_FREE, small, asked, c->n_sheets, NULL,
                            (answer_sink){take_answer, &to}, fail);
    labelled_free(&nothing);
    to.first = 0;
    return code != OK ? code
                      : labelled_ask(c->requests, c->n, small, asked, c->n_sheets,
                                     "comparing templates", (answer_sink){take_answer, &to}, fail);
}

error_code comparison_ask(comparison *c, backend *small, failure *fail)
{
    question *asked = calloc(c->n_sheets + 1, sizeof *asked);
    error_code code = asked != NULL ? make_room(c, fail)
                                    : failure_set(fail, ERR_MEMORY, "no memory for the questions");
    for (size_t i = 0; code == OK && i < c->n_sheets; i++)
        asked[i] = c->sheets[i].asked;
    if (code == OK)
        code = ask_sheets(c, asked, small, fail);
    free(asked);
    for (size_t i = 0; code == OK && i < c->n_sheets; i++)
        if (c->sheets[i].is_open)
            code = expand(c, i, fail);
    return code;
}
