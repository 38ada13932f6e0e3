/* What prompt lookup gains on real texts, judged in step-model time: `make bench-lookup`.
 *
 *   lookup table MODEL            measures T(n), the cost of a step of n rows: one line a row count
 *   lookup judge TABLE TEXTS WORDS
 *
 * TABLE is the file that `table` wrote, TEXTS what lookup_texts.py wrote, WORDS a GGUF file with a
 * vocabulary, MODEL a file or a synthetic shape and type (pangu-1b:q4_0).
 *
 * The judge runs the engine's own drafting and choice of lengths (lookup.c, speculate.c) over the
 * texts, as if the model had sampled them, and adds up T(rows) over all decode steps, so that
 * noise cannot decide. Texts are taken one after the other by each of 1, 4 or 8 streams. Prefill is
 * left out: it is the same with and without lookup. `fixed` is the best length of 1 to 16 for that
 * very cell, `paper` the published setting (look-ahead 2).
 */
#include <unistd.h>

#include "engine/conductor.h"
#include "engine/speculate.h"
#include "lookup_texts.h"

enum {
    MAX_STREAMS = 8,
    MAX_ROWS = 48,
    TURNS = 5,
    DRAFT_ROWS = URGENT_SLOTS + 2 * LOOKUP_MAX_DRAFT, /* as the engine has room for */
};

/* ---- T(n) ----------------------------------------------------------------------------------- */

typedef struct cost_table {
    double ms[MAX_ROWS + 1];
} cost_table;

static const size_t measured_rows[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,
                                       10, 12, 14, 16, 20, 24, 32, 40, MAX_ROWS};
#define N_MEASURED (sizeof measured_rows / sizeof measured_rows[0])

/* Medians of a few turns through all sizes, so that a slow moment of the machine slows all of them.
 */
static void measure_table(const char *spec)
{
    failure fail;
    team *threads;
    subject *s;
    double ms[N_MEASURED][TURNS];
    must(kernel_init(NULL, &fail), &fail);
    model *m = load_model(spec);
    must(team_create(&threads, (int)sysconf(_SC_NPROCESSORS_ONLN), &fail), &fail);
    subject_options o = {.threads = threads, .positions = 512};
    must(subject_create(&s, m, &o, &fail), &fail);
    for (size_t turn = 0; turn <= TURNS; turn++)
        for (size_t i = 0; i < N_MEASURED; i++) {
            double one = subject_run(s, &(speed_test){SPEED_STEP, measured_rows[i], 256});
            if (turn > 0) /* the first one warms up */
                ms[i][turn - 1] = one;
        }
    for (size_t i = 0; i < N_MEASURED; i++)
        printf("%zu %.4f\n", measured_rows[i], spread_of(ms[i], TURNS).median);
    subject_destroy(s);
    team_destroy(threads);
    model_destroy(m);
}

/* Sizes between two measured ones lie on the line between them. */
static cost_table read_table(const char *path)
{
    cost_table t = {{0}};
    FILE *file = fopen(path, "r");
    size_t n, last = 0;
    double ms;
    while (file != NULL && fscanf(file, "%zu %lf", &n, &ms) == 2 && n > last && n <= MAX_ROWS) {
        for (size_t i = last + 1; i <= n; i++)
            t.ms[i] = t.ms[last] + (ms - t.ms[last]) * (double)(i - last) / (double)(n - last);
        last = n;
    }
    if (file == NULL || t.ms[1] <= 0 || t.ms[MAX_ROWS] <= 0) {
        fprintf(stderr, "bench-lookup: %s is no table of step costs\n", path);
        exit(1);
    }
    fclose(file);
    return t;
}

/* ---- one cell ------------------------------------------------------------------------------- */

typedef struct stream {
    const text *text; /* NULL: it has ended */
    size_t at;        /* tokens that are there */
    draft draft;
} stream;

typedef struct result {
    double ms;
    size_t steps, drafted, accepted;
} result;

typedef struct cell {
    const cost_table *truth;
    const text_kind *kind;
    lookup_setting setting;
    size_t next_text;
    step_cost cost; /* what the engine knows of T(n) */
    acceptance pool;
    stream streams[MAX_STREAMS];
    size_t n_streams;
    result result;
} cell;

static void begin_text(cell *c, stream *s)
{
    failure fail;
    if (s->text != NULL)
        draft_free(&s->draft);
    s->text = NULL;
    if (c->next_text == c->kind->n)
        return;
    s->text = &c->kind->texts[c->next_text++];
    s->at = s->text->n_prompt + 1; /* the prefill gave the first token of the reply */
    must(draft_init(&s->draft, &c->setting, &c->pool, s->text->tokens.length, &fail), &fail);
}

/* As step.c takes what was sampled. */
static void take_tokens(cell *c, stream *s)
{
    draft *d = &s->draft;
    const token_list *tokens = &s->text->tokens;
    bool as_drafted = true;
    size_t taken = 0, followed = 0;
    while (as_drafted && taken <= d->n_sent && s->at < tokens->length) {
        as_drafted = draft_foresaw(d, taken, tokens->ids[s->at++]);
        followed += as_drafted ? 1 : 0;
        c->result.accepted += as_drafted && taken < d->n_sent ? 1 : 0;
        taken++;
    }
    draft_learn(d, taken < d->n_found ? taken : d->n_found, followed);
    c->result.drafted += d->n_sent;
    if (s->at == tokens->length)
        begin_text(c, s);
}

/* False: all texts are done. */
static bool run_step(cell *c)
{
    draft *drafts[MAX_STREAMS];
    size_t n = 0;
    for (size_t i = 0; i < c->n_streams; i++) {
        stream *s = &c->streams[i];
        if (s->text == NULL)
            continue;
        draft_find(&s->draft, s->text->tokens.ids, s->at, s->text->tokens.length - s->at - 1);
        drafts[n++] = &s->draft;
    }
    if (n == 0)
        return false;
    drafts_choose(drafts, n, &c->cost, n, DRAFT_ROWS);
    size_t rows = n;
    for (size_t i = 0; i < n; i++)
        rows += drafts[i]->n_sent;
    step_cost_learn(&c->cost, rows, c->truth->ms[rows]);
    c->result.ms += c->truth->ms[rows];
    c->result.steps++;
    for (size_t i = 0; i < c->n_streams; i++)
        if (c->streams[i].text != NULL)
            take_tokens(c, &c->streams[i]);
    return true;
}

static result run_cell(const cost_table *truth, const text_kind *kind, size_t n_streams,
                       lookup_setting setting)
{
    static const size_t measured_at_start[] = {1, 2, 4, 8, LOOKUP_MAX_DRAFT + 1};
    cell c = {.truth = truth, .kind = kind, .setting = setting, .n_streams = n_streams};
    for (size_t i = 0; i < sizeof measured_at_start / sizeof measured_at_start[0]; i++)
        step_cost_learn(&c.cost, measured_at_start[i], truth->ms[measured_at_start[i]]);
    for (size_t i = 0; i < n_streams; i++)
        begin_text(&c, &c.streams[i]);
    while (run_step(&c))
        ;
    return c.result;
}

/* ---- the table ------------------------------------------------------------------------------ */

static void judge_cell(const cost_table *truth, const text_kind *kind, size_t n_streams)
{
    result off = run_cell(truth, kind, n_streams, (lookup_setting){.mode = LOOKUP_OFF});
    result automatic = run_cell(truth, kind, n_streams, (lookup_setting){.mode = LOOKUP_AUTO});
    result paper = run_cell(truth, kind, n_streams, (lookup_setting){LOOKUP_FIXED, 2, 0});
    result fixed = {0};
    uint32_t length = 0;
    for (uint32_t n = 1; n <= LOOKUP_MAX_DRAFT; n++) {
        result r = run_cell(truth, kind, n_streams, (lookup_setting){LOOKUP_FIXED, n, 0});
        if (length == 0 || r.ms < fixed.ms) {
            fixed = r;
            length = n;
        }
    }
    double best = fixed.ms < off.ms ? fixed.ms : off.ms;
    printf("%-6s %zu streams  off %8.0f ms  auto x %.3f  fixed %2u x %.3f  paper x %.3f  "
           "auto over the best %+.1f %%  drafted %zu accepted %zu\n",
           kind->name, n_streams, off.ms, off.ms / automatic.ms, length, off.ms / fixed.ms,
           off.ms / paper.ms, 100 * (best / automatic.ms - 1), automatic.drafted,
           automatic.accepted);
}

static void judge(const char *table, const char *texts, const char *words)
{
    static const size_t streams[] = {1, 4, 8};
    cost_table truth = read_table(table);
    tokenizer *t = load_words(words);
    const text_kind *kinds = load_texts(texts, t);
    printf("T(n), ms: 1 %.2f, 2 %.2f, 4 %.2f, 8 %.2f, 16 %.2f, 32 %.2f, 48 %.2f\n", truth.ms[1],
           truth.ms[2], truth.ms[4], truth.ms[8], truth.ms[16], truth.ms[32], truth.ms[48]);
    for (size_t k = 0; k < TEXT_KINDS; k++)
        for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
            judge_cell(&truth, &kinds[k], streams[i]);
    tokenizer_destroy(t);
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && strcmp(argv[1], "table") == 0)
        measure_table(argv[2]);
    else if (argc == 5 && strcmp(argv[1], "judge") == 0)
        judge(argv[2], argv[3], argv[4]);
    else {
        fprintf(stderr, "usage: lookup table MODEL | lookup judge TABLE TEXTS WORDS\n");
        return 2;
    }
    return 0;
}
