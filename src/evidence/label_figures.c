/* label_figures.c: labelled lines, counted. */
#include <string.h>

#include "evidence/interval.h"
#include "evidence/label.h"

typedef struct side {
    double graded, right, only, compared, tokens, answers, ungraded, agreed;
} side;

typedef struct tally {
    const char *kind;
    double requests, graded, neither, compared;
    side sides[CONFIG_MAX_MODELS];
} tally;

const json_t *label_answer(const json_t *line, const config *c, size_t number)
{
    return json_object_get(c->n_models == 2 ? line : json_object_get(line, "models"),
                           config_role(c, number));
}

const json_t *label_agreement(const json_t *line, const config *c, size_t number)
{
    return json_object_get(c->n_models == 2 ? line : label_answer(line, c, number), "agree");
}

static bool is_right(const json_t *answer)
{
    return json_is_true(json_object_get(answer, "right"));
}

static void count_side(side *s, const json_t *answer, const json_t *agreement, bool is_graded)
{
    if (answer == NULL)
        return; /* it was not asked */
    const json_t *tokens = json_object_get(answer, "tokens");
    s->graded += is_graded;
    s->right += is_graded && is_right(answer);
    s->ungraded += agreement != NULL;
    s->agreed += json_is_true(agreement);
    s->answers += tokens != NULL;
    s->tokens += json_number_value(tokens);
}

/* What one model got right alone, where several were asked. */
static void compare(tally *t, const json_t *line, const config *c)
{
    size_t n_there = 0, n_right = 0, which = 0;
    for (size_t i = 0; i < c->n_models; i++) {
        const json_t *answer = label_answer(line, c, i);
        n_there += answer != NULL;
        n_right += is_right(answer);
        which = is_right(answer) ? i : which;
    }
    if (n_there < 2)
        return;
    t->compared++;
    t->neither += n_right == 0;
    for (size_t i = 0; i < c->n_models; i++)
        t->sides[i].compared += label_answer(line, c, i) != NULL;
    t->sides[which].only += n_right == 1;
}

static void count_line(tally *t, const json_t *line, const config *c)
{
    bool is_graded = json_object_get(line, "check") != NULL;
    t->requests++;
    t->graded += is_graded;
    for (size_t i = 0; i < c->n_models; i++)
        count_side(&t->sides[i], label_answer(line, c, i), label_agreement(line, c, i), is_graded);
    if (is_graded)
        compare(t, line, c);
}

static json_t *share(double count, double of)
{
    return of > 0 ? json_real(100 * count / of) : json_null();
}

static json_t *side_figures(const side *s)
{
    double low = 0, high = 0;
    if (s->graded > 0)
        interval_of_share(s->right, s->graded, &low, &high);
    return json_pack("{s:o, s:o, s:o, s:o}", "right", share(s->right, s->graded), "low",
                     s->graded > 0 ? json_real(low) : json_null(), "high",
                     s->graded > 0 ? json_real(high) : json_null(), "tokens",
                     s->answers > 0 ? json_real(s->tokens / s->answers) : json_null());
}

static json_t *pair_figures(json_t *out, const side *small, const side *large)
{
    json_object_set_new(out, "small", side_figures(small));
    json_object_set_new(out, "large", side_figures(large));
    json_object_set_new(out, "agreed", share(small->agreed, small->ungraded));
    json_object_set_new(out, "only_small", share(small->only, small->compared));
    json_object_set_new(out, "only_large", share(large->only, large->compared));
    return out;
}

static json_t *tally_figures(const tally *t, const config *c)
{
    json_t *models = json_object();
    json_t *out =
        json_pack("{s:s, s:I, s:I, s:o}", "kind", t->kind, "requests", (json_int_t)t->requests,
                  "graded", (json_int_t)t->graded, "neither", share(t->neither, t->compared));
    if (c->n_models == 2) {
        json_decref(models);
        return pair_figures(out, &t->sides[0], &t->sides[1]);
    }
    for (size_t i = 0; i < c->n_models; i++) {
        const side *s = &t->sides[i];
        json_t *figures = side_figures(s);
        json_object_set_new(figures, "only", share(s->only, s->compared));
        if (i + 1 < c->n_models)
            json_object_set_new(figures, "agreed", share(s->agreed, s->ungraded));
        json_object_set_new(models, config_role(c, i), figures);
    }
    json_object_set_new(out, "models", models);
    return out;
}

#define MAX_KINDS 64 /* further ones are counted in "all" alone */

static tally *find_kind(tally *tallies, size_t *n, const char *kind)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(tallies[i].kind, kind) == 0)
            return &tallies[i];
    if (*n == MAX_KINDS)
        return NULL;
    tallies[*n] = (tally){.kind = kind};
    return &tallies[(*n)++];
}

json_t *label_figures(const json_t *lines, const config *c)
{
    tally tallies[MAX_KINDS], all = {.kind = "all"};
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        tally *t = find_kind(tallies, &n, json_string_value(json_object_get(line, "task")));
        if (t != NULL)
            count_line(t, line, c);
        count_line(&all, line, c);
    }
    json_t *kinds = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(kinds, tally_figures(&tallies[i], c));
    json_array_append_new(kinds, tally_figures(&all, c));
    return json_pack("{s:o}", "kinds", kinds);
}
