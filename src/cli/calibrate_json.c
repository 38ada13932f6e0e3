/* calibrate_json.c: what the findings of labels and of heads both say in JSON. */
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
