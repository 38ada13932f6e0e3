/* calibrate_shared.c: what the findings of labels and of heads both say, as text and in JSON. */
#include <stdio.h>

#include "cli/calibrate.h"

json_t *calibrate_confusion_json(const calibration_score *s, size_t n_labels)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < n_labels; i++) {
        json_t *row = json_array();
        for (size_t k = 0; k < n_labels; k++)
            json_array_append_new(row, json_integer((json_int_t)s->confusion[i][k]));
        json_array_append_new(rows, row);
    }
    return rows;
}

static json_t *effect_json(const limit_effect *e, const char *quantity)
{
    return json_pack("{s:f, s:I, s:I, s:I, s:f, s:f}", quantity, e->limit, "requests",
                     (json_int_t)e->n, "small", (json_int_t)e->n_small, "misrouted",
                     (json_int_t)e->n_misrouted, "misroute_upper", e->misroute_upper, "large_upper",
                     e->large_upper);
}

json_t *calibrate_limits_json(const chosen_limits *l, const char *quantity)
{
    if (l->n <= 1)
        return l->n == 0 ? json_null() : effect_json(&l->effects[0], quantity);
    json_t *list = json_array();
    for (size_t i = 0; i < l->n; i++)
        json_array_append_new(list, effect_json(&l->effects[i], quantity));
    return list;
}

/* "the small model answers", or of more "1b answers", "1b and those up to 7b answer". */
static void print_who(const config *c, size_t step)
{
    if (c->n_models == 2)
        printf("the small model answers");
    else if (step == 0)
        printf("%s answers", config_role(c, 0));
    else
        printf("%s and those up to %s answer", config_role(c, 0), config_role(c, step));
}

void calibrate_print_limits(const calibrate_report *r, const chosen_limits *l, const char *what,
                            const char *unit)
{
    const config *c = r->config;
    for (size_t i = 0; i < l->n; i++) {
        const limit_effect *e = &l->effects[i];
        double n = (double)e->n;
        printf("  at the limit of %.4f%s: ", e->limit, unit);
        print_who(c, i);
        printf(" %zu of %zu (%.1f %%), %zu of them %s:\n  %.2f %% of all, 95 %%: at most %.2f %%; "
               "%s %.1f %%, 95 %%: at most %.1f %%\n",
               e->n_small, e->n, 100 * (double)e->n_small / n, e->n_misrouted, what,
               100 * (double)e->n_misrouted / n, 100 * e->misroute_upper,
               c->n_models == 2 ? "large model" : "those above", 100 * (1 - (double)e->n_small / n),
               100 * e->large_upper);
    }
}
