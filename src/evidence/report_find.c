/* report_find.c: what a page, table or picture looks up in the results. */
#include <string.h>

#include "evidence/report_internal.h"

const char *report_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

double report_number(const json_t *object, const char *group, const char *key)
{
    const json_t *inner = group != NULL ? json_object_get(object, group) : object;
    return json_number_value(json_object_get(inner, key));
}

report_scenarios report_find_scenarios(const json_t *runs)
{
    report_scenarios s = {.n = 0};
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const char *name = report_text(json_array_get(runs, i), "scenario");
        size_t k = 0;
        while (k < s.n && strcmp(s.names[k], name) != 0)
            k++;
        if (k == s.n && s.n < REPORT_MAX_SCENARIOS)
            s.names[s.n++] = name;
    }
    return s;
}

const json_t *report_find(const json_t *runs, const char *scenario, const char *policy)
{
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (strcmp(report_text(r, "scenario"), scenario) == 0 &&
            strcmp(report_text(r, "policy"), policy) == 0)
            return r;
    }
    return NULL;
}

void report_escape(buffer *out, const char *text)
{
    for (; *text != '\0'; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity != NULL)
            buffer_add_text(out, entity);
        else
            buffer_add(out, text, 1);
    }
}
