/* report_internal.h: what the pages and their pictures share. Inside the room only. */
#ifndef EVIDENCE_REPORT_INTERNAL_H
#define EVIDENCE_REPORT_INTERNAL_H

#include <jansson.h>

#include "base/buffer.h"

#define REPORT_MAX_SCENARIOS 16

typedef struct report_scenarios {
    const char *names[REPORT_MAX_SCENARIOS];
    size_t n;
} report_scenarios;

/* In the order of their first run. */
report_scenarios report_find_scenarios(const json_t *runs);
const json_t *report_find(const json_t *runs, const char *scenario, const char *policy);
const char *report_text(const json_t *object, const char *key); /* "" when it is none */
/* `group` NULL: of the object itself. 0 when it is no number. */
double report_number(const json_t *object, const char *group, const char *key);
/* With &, <, > and " as entities. */
void report_escape(buffer *out, const char *text);

/* Colours and fonts, for a page as for a picture alone. */
extern const char report_style[];

/* One picture a scenario side by side: each policy a point, the line between the static models. */
void report_scatter(buffer *out, const json_t *runs);

/* Horizontal bars, one a run of the scenario; `parts` of a bar follow one another, or, nested, lie
 * over one another. */
typedef struct report_bars {
    const char *title, *unit, *group;
    const char *parts[5]; /* keys within `group`; NULL ends the list */
    double scale;         /* figures are multiplied by it */
    bool nested;
} report_bars;

void report_draw_bars(buffer *out, const json_t *runs, const char *scenario,
                      const report_bars *bars);

#endif
