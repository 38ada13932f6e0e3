/* report_draw.c: the pictures, as SVG. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "evidence/arm.h"
#include "evidence/report_internal.h"

/* Each colour is also given plainly: not every renderer of SVG knows variables. */
const char report_style[] =
    ":root{--ink:#1c2430;--soft:#5c6878;--grid:#d8dee6;--paper:#fff;--s:#c2701c;--l:#2b62a8;"
    "--a:#0b7d58;--o:#7a4bb0;--p1:#2b62a8;--p2:#c2701c;--p3:#0b7d58;--p4:#7a4bb0}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e9f0;--soft:#9aa7b8;--grid:#35404e;"
    "--paper:#12171e;--s:#f0a04e;--l:#74a9ee;--a:#3fc794;--o:#b893ea;--p1:#74a9ee;--p2:#f0a04e;"
    "--p3:#3fc794;--p4:#b893ea}}"
    "svg{font:12px system-ui,'DejaVu Sans',sans-serif;fill:#1c2430;fill:var(--ink)}"
    ".paper{fill:#fff;fill:var(--paper)}"
    ".grid{stroke:#d8dee6;stroke:var(--grid);stroke-width:1}.soft{fill:#5c6878;fill:var(--soft)}"
    ".line{stroke:#5c6878;stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4;fill:none}"
    ".leader{stroke:#5c6878;stroke:var(--soft);stroke-width:.8;fill:none}"
    ".small{fill:#c2701c;fill:var(--s)}.large{fill:#2b62a8;fill:var(--l)}"
    ".aio{fill:#0b7d58;fill:var(--a)}.other{fill:#7a4bb0;fill:var(--o)}"
    ".halo{paint-order:stroke;stroke:#fff;stroke:var(--paper);stroke-width:4px;"
    "stroke-linejoin:round}"
    ".b1{fill:#2b62a8;fill:var(--p1)}.b2{fill:#c2701c;fill:var(--p2)}"
    ".b3{fill:#0b7d58;fill:var(--p3)}.b4{fill:#7a4bb0;fill:var(--p4)}";

/* ---- scales ------------------------------------------------------------------------------- */

/* The round step (1, 2, 5 × 10^n) that cuts a range into at most so many. */
static double round_step(double range, int most)
{
    double step = pow(10, floor(log10(range / most)));
    static const double factors[] = {1, 2, 5, 10};
    for (size_t i = 0; i < 4; i++)
        if (range / (step * factors[i]) <= most)
            return step * factors[i];
    return 10 * step;
}

/* ---- accuracy against speed ------------------------------------------------------------------ */

#define PANEL_WIDTH 340
#define PANEL_HEIGHT 320
#define LEFT 46
#define TOP 34
#define PLOT_WIDTH (PANEL_WIDTH - LEFT - 14)
#define PLOT_HEIGHT (PANEL_HEIGHT - TOP - 44)
#define SAME_SPOT 6 /* px between two points' centres: less than a point's width */

typedef struct mark {
    const char *policy, *colour;
    const json_t *run;
} mark;

static const mark known_marks[] = {{"small", "small", NULL},        {"large", "large", NULL},
                                   {"large-lookup", "large", NULL}, {"random", "other", NULL},
                                   {"rules", "aio", NULL},          {"oracle", "other", NULL},
                                   {"adaptive", "aio", NULL}};
#define N_KNOWN (sizeof known_marks / sizeof known_marks[0])
#define MAX_MARKS (N_KNOWN + 2 * CONFIG_MAX_MODELS)

typedef struct box {
    double left, top, right, bottom;
} box;

/* Points that coincide to the eye have one label, with all their names. */
typedef struct spot {
    double x, y; /* of the first of them */
    const char *names[MAX_MARKS];
    size_t n_names;
} spot;

typedef struct panel {
    double x, fastest, low, high; /* left edge; tokens/s; per cent */
    box taken[2 * MAX_MARKS];     /* by points and labels */
    size_t n_taken;
    spot spots[MAX_MARKS];
    size_t n_spots;
    mark marks[MAX_MARKS];
    size_t n_marks;
} panel;

/* Models by name, without lookup: what has no row of arms. */
static bool is_model(const char *policy)
{
    static const char end[] = "-lookup";
    size_t n = strlen(policy);
    return arm_find(policy) == NULL &&
           (n < sizeof end || strcmp(policy + n - (sizeof end - 1), end) != 0);
}

static void list_marks(panel *p, const json_t *runs, const char *scenario)
{
    for (size_t i = 0; i < N_KNOWN; i++) {
        mark m = known_marks[i];
        m.run = report_find(runs, scenario, m.policy);
        if (m.run != NULL)
            p->marks[p->n_marks++] = m;
    }
    for (size_t i = 0; i < json_array_size(runs) && p->n_marks < MAX_MARKS; i++) {
        const json_t *r = json_array_get(runs, i);
        const char *policy = report_text(r, "policy");
        if (is_model(policy) && strcmp(report_text(r, "scenario"), scenario) == 0)
            p->marks[p->n_marks++] = (mark){policy, "small", r};
    }
}

static double at_x(const panel *p, double speed)
{
    return p->x + LEFT + PLOT_WIDTH * speed / p->fastest;
}

static double at_y(const panel *p, double accuracy)
{
    return TOP + PLOT_HEIGHT * (p->high - accuracy) / (p->high - p->low);
}

static panel scale_panel(const json_t *runs, const char *scenario, size_t index)
{
    panel p = {.x = (double)index * PANEL_WIDTH, .low = 100, .high = 0};
    list_marks(&p, runs, scenario);
    for (size_t i = 0; i < p.n_marks; i++) {
        const json_t *r = p.marks[i].run;
        double accuracy = report_number(r, NULL, "accuracy");
        p.fastest = fmax(p.fastest, report_number(r, NULL, "tokens_per_s"));
        p.low = fmin(p.low, accuracy);
        p.high = fmax(p.high, accuracy);
    }
    double room = fmax(2, 0.08 * (p.high - p.low));
    p.low = fmax(0, p.low - room);
    p.high = fmin(102, p.high + room);
    p.fastest = p.fastest > 0 ? 1.12 * p.fastest : 1;
    return p;
}

static void draw_axes(buffer *out, const panel *p, const char *scenario)
{
    double across = round_step(p->fastest, 4), up = round_step(p->high - p->low, 6);
    double lowest = ceil(p->low / up), highest = floor(fmin(100, p->high) / up);
    for (int i = 0; i <= (int)(highest - lowest); i++) {
        double v = (lowest + i) * up;
        buffer_add_format(out,
                          "<path class=\"grid\" d=\"M%.1f %.1fh%d\"/><text class=\"soft\" "
                          "x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>",
                          p->x + LEFT, at_y(p, v), PLOT_WIDTH, p->x + LEFT - 6, at_y(p, v) + 4, v);
    }
    for (int i = 0; i <= (int)(p->fastest / across); i++) {
        double v = i * across;
        buffer_add_format(out,
                          "<path class=\"grid\" d=\"M%.1f %dv%d\"/><text class=\"soft\" "
                          "x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%g</text>",
                          at_x(p, v), TOP, PLOT_HEIGHT, at_x(p, v), TOP + PLOT_HEIGHT + 16, v);
    }
    buffer_add_format(out, "<text x=\"%.1f\" y=\"20\" font-weight=\"600\">", p->x + LEFT);
    report_escape(out, scenario);
    buffer_add_format(
        out,
        "<tspan class=\"soft\" font-weight=\"400\">: right, %%</tspan></text>"
        "<text class=\"soft\" x=\"%.1f\" y=\"%d\" text-anchor=\"end\">tokens/s</text>",
        p->x + PANEL_WIDTH - 14, TOP + PLOT_HEIGHT + 34);
}

static bool overlaps(const box *a, const box *b)
{
    return a->left < b->right && b->left < a->right && a->top < b->bottom && b->top < a->bottom;
}

static bool is_free(const panel *p, const box *b)
{
    if (b->left < p->x + LEFT || b->right > p->x + PANEL_WIDTH || b->top < TOP - 8)
        return false;
    for (size_t i = 0; i < p->n_taken; i++)
        if (overlaps(b, &p->taken[i]))
            return false;
    return true;
}

/* A place beside the point where nothing stands yet; the text's height is 12, a letter's width 7.
 */
static box free_place(panel *p, double x, double y, size_t letters)
{
    double width = 7 * (double)letters;
    box b = {.left = 0};
    for (int distance = 0; distance < 12; distance++) {
        for (int side = 0; side < 4; side++) {
            double shift = (side < 2 ? 1 : -1) * 11.0 * distance;
            double left = side % 2 == 0 ? x + 9 : x - 9 - width;
            b = (box){left, y + shift - 6, left + width, y + shift + 6};
            if (is_free(p, &b))
                return b;
        }
    }
    return b;
}

static bool is_adaptive(const char *policy)
{
    return strcmp(policy, "adaptive") == 0;
}

static void add_name(panel *p, double x, double y, const char *policy)
{
    size_t i = 0;
    while (i < p->n_spots && hypot(p->spots[i].x - x, p->spots[i].y - y) > SAME_SPOT)
        i++;
    if (i == p->n_spots)
        p->spots[p->n_spots++] = (spot){.x = x, .y = y};
    p->spots[i].names[p->spots[i].n_names++] = policy;
}

static void draw_point(buffer *out, panel *p, const mark *m)
{
    double accuracy = report_number(m->run, NULL, "accuracy");
    double speed = report_number(m->run, NULL, "tokens_per_s");
    double x = at_x(p, speed), y = at_y(p, accuracy);
    buffer_add_format(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%g\"><title>",
                      m->colour, x, y, is_adaptive(m->policy) ? 6.5 : 4.5);
    report_escape(out, m->policy);
    buffer_add_format(out, ": %.2f %%, %.0f tokens/s</title></circle>", accuracy, speed);
    p->taken[p->n_taken++] = (box){x - 6, y - 6, x + 6, y + 6};
    add_name(p, x, y, m->policy);
}

/* From a label that does not stand beside its point to that point. */
static void draw_leader(buffer *out, const spot *s, const box *b, bool to_left)
{
    if (fabs((b->top + b->bottom) / 2 - s->y) > 1)
        buffer_add_format(out, "<path class=\"leader\" d=\"M%.1f %.1fL%.1f %.1f\"/>",
                          to_left ? b->right + 2 : b->left - 2, (b->top + b->bottom) / 2, s->x,
                          s->y);
}

static void draw_label(buffer *out, panel *p, const spot *s)
{
    size_t letters = 2 * (s->n_names - 1);
    for (size_t i = 0; i < s->n_names; i++)
        letters += strlen(s->names[i]);
    box b = free_place(p, s->x, s->y, letters);
    bool to_left = b.right < s->x;
    p->taken[p->n_taken++] = b;
    draw_leader(out, s, &b, to_left);
    buffer_add_format(out, "<text class=\"halo\" x=\"%.1f\" y=\"%.1f\"%s>",
                      to_left ? b.right : b.left, b.bottom - 2,
                      to_left ? " text-anchor=\"end\"" : "");
    for (size_t i = 0; i < s->n_names; i++) {
        buffer_add_format(out, "%s<tspan%s>", i > 0 ? ", " : "",
                          is_adaptive(s->names[i]) ? " font-weight=\"600\"" : "");
        report_escape(out, s->names[i]);
        buffer_add_text(out, "</tspan>");
    }
    buffer_add_text(out, "</text>");
}

static void draw_panel(buffer *out, const json_t *runs, const char *scenario, size_t index)
{
    panel p = scale_panel(runs, scenario, index);
    draw_axes(out, &p, scenario);
    const json_t *small = report_find(runs, scenario, "small");
    const json_t *large = report_find(runs, scenario, "large");
    if (small != NULL && large != NULL)
        buffer_add_format(out, "<path class=\"line\" d=\"M%.1f %.1fL%.1f %.1f\"/>",
                          at_x(&p, report_number(small, NULL, "tokens_per_s")),
                          at_y(&p, report_number(small, NULL, "accuracy")),
                          at_x(&p, report_number(large, NULL, "tokens_per_s")),
                          at_y(&p, report_number(large, NULL, "accuracy")));
    for (size_t i = 0; i < p.n_marks; i++)
        draw_point(out, &p, &p.marks[i]);
    for (size_t i = p.n_spots; i-- > 0;)
        draw_label(out, &p, &p.spots[i]);
}

void report_scatter(buffer *out, const json_t *runs)
{
    report_scenarios s = report_find_scenarios(runs);
    buffer_add_format(out,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %zu %d\" "
                      "width=\"%zu\" height=\"%d\" role=\"img\"><title>Accuracy against tokens a "
                      "second</title>",
                      s.n * PANEL_WIDTH, PANEL_HEIGHT, s.n * PANEL_WIDTH, PANEL_HEIGHT);
    buffer_add_format(out,
                      "<style>%s</style><rect class=\"paper\" width=\"100%%\" "
                      "height=\"100%%\"/>",
                      report_style);
    for (size_t i = 0; i < s.n; i++)
        draw_panel(out, runs, s.names[i], i);
    buffer_add_text(out, "</svg>\n");
}

/* ---- bars --------------------------------------------------------------------------------- */

#define BAR_LEFT 172
#define BAR_WIDTH 420
#define BAR_STEP 22

static double length_of(const json_t *r, const report_bars *b)
{
    double sum = 0, most = 0;
    for (size_t i = 0; b->parts[i] != NULL; i++) {
        double value = b->scale * report_number(r, b->group, b->parts[i]);
        sum += value;
        most = fmax(most, value);
    }
    return b->nested ? most : sum;
}

static void draw_parts(buffer *out, const json_t *r, const report_bars *b, double unit, int y)
{
    double from = 0;
    size_t n = 0;
    while (b->parts[n] != NULL)
        n++;
    /* Nested: the longest first, so that the shorter ones lie over it. */
    for (size_t k = 0; k < n; k++) {
        size_t i = b->nested ? n - 1 - k : k;
        double value = b->scale * report_number(r, b->group, b->parts[i]);
        buffer_add_format(out,
                          "<rect class=\"b%zu\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"14\" "
                          "rx=\"2\"><title>%s %.3g</title></rect>",
                          i % 4 + 1, BAR_LEFT + unit * from, y, fmax(0.5, unit * value),
                          b->parts[i], value);
        if (!b->nested)
            from += value;
    }
}

static void draw_legend(buffer *out, const report_bars *b)
{
    buffer_add_format(out, "<text x=\"0\" y=\"15\" font-weight=\"600\">%s", b->title);
    buffer_add_format(out, "<tspan class=\"soft\" font-weight=\"400\">, %s</tspan></text>",
                      b->unit);
    for (size_t i = 0; b->parts[1] != NULL && b->parts[i] != NULL; i++)
        buffer_add_format(out,
                          "<rect class=\"b%zu\" x=\"%zu\" y=\"6\" width=\"10\" height=\"10\" "
                          "rx=\"2\"/><text class=\"soft\" x=\"%zu\" y=\"15\">%s</text>",
                          i % 4 + 1, 300 + 90 * i, 314 + 90 * i, b->parts[i]);
}

static bool is_of(const json_t *r, const char *scenario)
{
    return strcmp(report_text(r, "scenario"), scenario) == 0 &&
           json_object_get(r, "chosen") == NULL;
}

void report_draw_bars(buffer *out, const json_t *runs, const char *scenario, const report_bars *b)
{
    double longest = 0;
    int n = 0, y = 26;
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (!is_of(r, scenario))
            continue;
        longest = fmax(longest, length_of(r, b));
        n++;
    }
    buffer_add_format(out,
                      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 %d\" "
                      "width=\"680\" role=\"img\">",
                      26 + n * BAR_STEP);
    draw_legend(out, b);
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *r = json_array_get(runs, i);
        if (!is_of(r, scenario))
            continue;
        double length = length_of(r, b), unit = longest > 0 ? BAR_WIDTH / longest : 0;
        buffer_add_format(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">", BAR_LEFT - 8,
                          y + 12);
        report_escape(out, report_text(r, "policy"));
        buffer_add_text(out, "</text>");
        draw_parts(out, r, b, unit, y);
        buffer_add_format(out, "<text class=\"soft\" x=\"%.1f\" y=\"%d\">%.*f</text>",
                          BAR_LEFT + unit * length + 6, y + 12, length < 10 ? 2 : 0, length);
        y += BAR_STEP;
    }
    buffer_add_text(out, "</svg>\n");
}
