/* compare_print.c: a comparison as a table, and in JSON. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/compare.h"

#define SHOWN 24 /* rows of the table */

static void print_candidate(const comparison *c, const candidate *item)
{
    const candidate_score *s = &item->score;
    printf("%c %6.1f %9.1f %6.1f %8.3f %7.3f  ", item == &c->items[c->best] ? '*' : ' ',
           100 * s->right, 100 * s->raw_right, 100 * s->mass, s->entropy, s->nll);
    for (const char *at = candidate_template(c, item); *at != '\0'; at++)
        fputs(*at == '\n' ? "\\n" : (char[]){*at, '\0'}, stdout);
    for (size_t k = 0; k < c->requests->n_labels; k++)
        printf("%s\"%s\"", k > 0 ? ", " : "  ", candidate_word(c, item, k));
    putchar('\n');
}

static bool is_likelier(const candidate *a, const candidate *b)
{
    return b == NULL || a->score.nll < b->score.nll;
}

/* The one that stands for an open sheet's many: the chosen one, else the likeliest. */
static bool is_shown(const comparison *c, const candidate *item)
{
    const candidate *best = &c->items[c->best], *likeliest = NULL;
    if (!isfinite(item->score.nll))
        return false;
    if (!c->sheets[item->sheet].is_open || item == best)
        return true;
    for (size_t i = 0; i < c->n_items; i++)
        if (c->items[i].sheet == item->sheet && is_likelier(&c->items[i], likeliest))
            likeliest = &c->items[i];
    return item == likeliest && best->sheet != item->sheet;
}

static int by_likelihood(const void *a, const void *b)
{
    const candidate *x = *(const candidate *const *)a, *y = *(const candidate *const *)b;
    return (x->score.nll > y->score.nll) - (x->score.nll < y->score.nll);
}

/* The caller frees it. NULL: no memory, and *n is 0. */
static const candidate **shown_candidates(const comparison *c, size_t *n)
{
    const candidate **shown = calloc(c->n_items + 1, sizeof(const candidate *));
    *n = 0;
    for (size_t i = 0; shown != NULL && i < c->n_items; i++)
        if (is_shown(c, &c->items[i]))
            shown[(*n)++] = &c->items[i];
    if (shown != NULL)
        qsort(shown, *n, sizeof(const candidate *), by_likelihood);
    return shown;
}

void comparison_print(const comparison *c)
{
    size_t n;
    const candidate **shown = shown_candidates(c, &n);
    printf("%zu templates and choices of words, by five folds of %zu requests:\n\n"
           "  right %% raw right %% mass %%  entropy     NLL  template and words\n",
           c->n_items, c->n);
    for (size_t i = 0; i < n; i++)
        if (i < SHOWN || shown[i] == &c->items[c->best])
            print_candidate(c, shown[i]);
    if (n > SHOWN)
        printf("  (%zu more are less likely)\n", n - SHOWN);
    if (c->n_refused > 0)
        printf("  %zu cannot be asked; the first: %s\n", c->n_refused, c->refusal.text);
    puts("* chosen: the lowest negative log-likelihood (NLL, nats), or within its standard error "
         "words "
         "with more mass, up to 10 %");
    free(shown);
}

static json_t *candidate_json(const comparison *c, const candidate *item)
{
    const candidate_score *s = &item->score;
    const char *template = candidate_template(c, item);
    json_t *words = json_array();
    for (size_t k = 0; k < c->requests->n_labels; k++) {
        const char *word = candidate_word(c, item, k);
        json_array_append_new(words, json_text(word, strlen(word)));
    }
    return json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:f}", "template",
                     json_text(template, strlen(template)), "labels", words, "right", s->right,
                     "raw_right", s->raw_right, "mass", s->mass, "entropy", s->entropy, "nll",
                     s->nll);
}

json_t *comparison_json(const comparison *c)
{
    size_t n;
    const candidate **shown = shown_candidates(c, &n);
    json_t *list = shown != NULL ? json_array() : NULL;
    for (size_t i = 0; shown != NULL && i < n; i++)
        json_array_append_new(list, candidate_json(c, shown[i]));
    free(shown);
    return json_pack("{s:o, s:I, s:I, s:I, s:o}", "chosen", candidate_json(c, &c->items[c->best]),
                     "requests", (json_int_t)c->n, "compared", (json_int_t)c->n_items, "refused",
                     (json_int_t)c->n_refused, "candidates", list);
}
