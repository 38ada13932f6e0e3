/* label_figures.c: labelled lines, counted. */
#include <string.h>

#include "evidence/interval.h"
#include "evidence/label.h"

typedef struct side {
    double graded, right, tokens, answers;
} side;

typedef struct tally {
    const char *kind;
    double requests, graded, ungraded, agreed, compared, only_small, only_large, neither;
    side small, large;
} tally;

static void count_side(side *s, const json_t *answer, bool is_graded)
{
    if (answer == NULL)
        return; /* it was not asked */
    const json_t *tokens = json_object_get(answer, "tokens");
    s->graded += is_graded;
    s->right += is_graded && json_is_true(json_object_get(answer, "right"));
    s->answers += tokens != NULL;
    s->tokens += json_number_value(tokens);
}

static void count_line(tally *t, const json_t *line)
{
    const json_t *small = json_object_get(line, "small"), *large = json_object_get(line, "large");
    bool small_right = json_is_true(json_object_get(small, "right"));
    bool large_right = json_is_true(json_object_get(large, "right"));
    bool is_graded = json_object_get(line, "check") != NULL;
    t->requests++;
    t->graded += is_graded;
    t->ungraded += !is_graded;
    t->agreed += json_is_true(json_object_get(line, "agree"));
    if (small != NULL && large != NULL && is_graded) {
        t->compared++;
        t->only_small += small_right && !large_right;
        t->only_large += !small_right && large_right;
        t->neither += !small_right && !large_right;
    }
    count_side(&t->small, small, is_graded);
    count_side(&t->large, large, is_graded);
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

static json_t *tally_figures(const tally *t)
{
    return json_pack("{s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", t->kind, "requests",
                     (json_int_t)t->requests, "graded", (json_int_t)t->graded, "agreed",
                     share(t->agreed, t->ungraded), "small", side_figures(&t->small), "large",
                     side_figures(&t->large), "only_small", share(t->only_small, t->compared),
                     "only_large", share(t->only_large, t->compared), "neither",
                     share(t->neither, t->compared));
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

json_t *label_figures(const json_t *lines)
{
    tally tallies[MAX_KINDS], all = {.kind = "all"};
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        tally *t = find_kind(tallies, &n, json_string_value(json_object_get(line, "task")));
        if (t != NULL)
            count_line(t, line);
        count_line(&all, line);
    }
    json_t *kinds = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(kinds, tally_figures(&tallies[i]));
    json_array_append_new(kinds, tally_figures(&all));
    return json_pack("{s:o}", "kinds", kinds);
}
