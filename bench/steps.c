/* What mixed work costs in the step loop: `make bench-steps`. Arguments: which parts (pace, probes,
 * yields, streams, switch, beside; none: all but the last), then numbers.
 *
 * pace    a long prompt arrives while four replies stream: the gaps between their tokens, and what
 *         the prompt takes beside what it takes alone; with the step budget and without mixing
 * probes  classifications by a small model while a large one prefills: what they wait beside what
 *         they take when nothing runs
 * yields  a prompt with and without the possibility of a pause, in turns
 * streams one reply and eight at once, in turns: tokens a second
 * switch  two models stream in turns: the time from choosing the other one to its step
 * beside FILE [PROMPT [ROUNDS]]
 *         a prompt (512 tokens) alone and beside 1, 4 and 8 replies that stream, in turns: what its
 *         first token takes, and the gaps between the replies' tokens meanwhile
 */
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "engine/engine.h"

enum {
    STREAMS = 4,
    STREAM_PROMPT = 64,
    MANY_STREAMS = 8,
    STREAM_TOKENS = 160,
    MAX_EVENTS = 1 << 16,
    PROBE_PROMPT = 40,
    MAX_PROBES = 200,
    SWITCH_TOKENS = 200,
    MAX_CHUNK = 4096,
    SERVED_CHUNK = 256, /* a configuration's default */
    BESIDE_CASES = 4,
};

static model *small, *large;
static int n_threads;

/* ---- requests ------------------------------------------------------------------------------- */

/* When something came; written by the conductor's thread until the sequence has ended. */
typedef struct diary {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n;
    double ms[MAX_EVENTS];
} diary;

static void write_down(void *context)
{
    diary *d = context;
    pthread_mutex_lock(&d->lock);
    if (d->n < MAX_EVENTS)
        d->ms[d->n++] = clock_ms();
    pthread_cond_signal(&d->changed);
    pthread_mutex_unlock(&d->lock);
}

static diary *new_diary(void)
{
    diary *d = calloc(1, sizeof *d);
    if (d == NULL)
        exit(1);
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->changed, NULL);
    return d;
}

static void wait_for_events(diary *d, size_t n)
{
    pthread_mutex_lock(&d->lock);
    while (d->n < n)
        pthread_cond_wait(&d->changed, &d->lock);
    pthread_mutex_unlock(&d->lock);
}

typedef struct conversation {
    sequence *sequence;
    diary *diary;
    double submitted_ms;
} conversation;

static void must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "bench-steps: %s\n", fail->text);
    exit(1);
}

static conversation start(engine *e, size_t n_prompt, size_t max_tokens, bool classify,
                          unsigned seed)
{
    static const int32_t labels[] = {1000, 1001, 1002};
    failure fail;
    size_t n_vocab = engine_model(e)->config.n_vocab;
    int32_t *prompt = malloc(n_prompt * sizeof *prompt);
    if (prompt == NULL)
        exit(1);
    for (size_t i = 0; i < n_prompt; i++)
        prompt[i] = (int32_t)(random_uniform(seed, 0, i) * (double)n_vocab);
    conversation c = {NULL, new_diary(), clock_ms()};
    sequence_request r = {.prompt = prompt,
                          .n_prompt = n_prompt,
                          .max_tokens = max_tokens,
                          .sampling = sampling_defaults(),
                          .wake = write_down,
                          .wake_context = c.diary};
    r.sampling.temperature = 0;
    r.min_tokens = SIZE_MAX; /* no end */
    if (classify) {
        r.kind = SEQUENCE_CLASSIFICATION;
        r.labels = labels;
        r.n_labels = 3;
    }
    must(engine_submit(e, &r, &c.sequence, &fail), &fail);
    free(prompt);
    return c;
}

static void end(conversation *c)
{
    sequence_release(c->sequence);
    free(c->diary);
}

static double time_to_first(conversation *c)
{
    wait_for_events(c->diary, 1);
    return c->diary->ms[0] - c->submitted_ms;
}

static conductor *open_conductor(const engine_options *o, engine **small_engine,
                                 engine **large_engine)
{
    failure fail;
    conductor *c;
    must(conductor_create(&c, n_threads, &fail), &fail);
    if (small_engine != NULL)
        must(conductor_add(c, small, o, small_engine, &fail), &fail);
    if (large_engine != NULL)
        must(conductor_add(c, large, o, large_engine, &fail), &fail);
    must(conductor_start(c, &fail), &fail);
    return c;
}

/* ---- figures -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *values, size_t n, double part)
{
    qsort(values, n, sizeof *values, by_value);
    size_t at = (size_t)(part * (double)n);
    return n == 0 ? 0 : values[at < n ? at : n - 1];
}

/* ---- pace ----------------------------------------------------------------------------------- */

static double prefill_alone(const engine_options *o, size_t n_prompt)
{
    engine *e;
    conductor *c = open_conductor(o, &e, NULL);
    conversation p = start(e, n_prompt, 1, false, 99);
    double ms = time_to_first(&p);
    end(&p);
    conductor_destroy(c);
    return ms;
}

static void show_pace(const char *name, const engine_options *o, size_t n_prompt, double alone_ms)
{
    static double gaps[STREAMS * MAX_EVENTS];
    engine *e;
    size_t n = 0;
    conversation s[STREAMS];
    conductor *c = open_conductor(o, &e, NULL);
    for (unsigned i = 0; i < STREAMS; i++)
        s[i] = start(e, STREAM_PROMPT, 0, false, i);
    for (unsigned i = 0; i < STREAMS; i++)
        wait_for_events(s[i].diary, 32);
    conversation p = start(e, n_prompt, 1, false, 99);
    double ms = time_to_first(&p), end_ms = p.submitted_ms + ms;
    for (unsigned i = 0; i < STREAMS; i++) {
        wait_for_events(s[i].diary, s[i].diary->n + 2);
        for (size_t k = 1; k < s[i].diary->n; k++)
            if (s[i].diary->ms[k] > p.submitted_ms && s[i].diary->ms[k - 1] < end_ms)
                gaps[n++] = s[i].diary->ms[k] - s[i].diary->ms[k - 1];
    }
    engine_status status;
    engine_read_status(e, &status);
    printf("pace    %-14s prefill of %zu in %.0f ms, %.3f of alone (%.0f); %zu gaps of %d streams: "
           "median %.1f, p99 %.1f, longest %.1f ms (T(4) %.1f, a prompt row %.2f)\n",
           name, n_prompt, ms, ms / alone_ms, alone_ms, n, STREAMS, quantile(gaps, n, 0.5),
           quantile(gaps, n, 0.99), quantile(gaps, n, 1), status.step_ms[4], status.prefill_row_ms);
    end(&p);
    for (unsigned i = 0; i < STREAMS; i++)
        end(&s[i]);
    conductor_destroy(c);
}

static void measure_pace(size_t n_prompt, size_t budget_ms)
{
    engine_options o = engine_defaults();
    o.slots = STREAMS + 1;
    o.step_budget_ms = (double)budget_ms;
    double alone_ms = prefill_alone(&o, n_prompt);
    show_pace("budget", &o, n_prompt, alone_ms);
    o.step_budget_ms = 1e9;
    o.prefill_chunk = n_prompt < MAX_CHUNK ? n_prompt : MAX_CHUNK;
    show_pace("without mixing", &o, n_prompt, alone_ms);
}

/* ---- probes --------------------------------------------------------------------------------- */

static double run_probe(engine *e, unsigned seed)
{
    conversation p = start(e, PROBE_PROMPT, 0, true, 1000 + seed);
    double ms = time_to_first(&p);
    end(&p);
    return ms;
}

static void show_probes(size_t chunk, size_t n_prompt, size_t n_probes)
{
    double alone[MAX_PROBES], beside[MAX_PROBES];
    engine *s, *l;
    engine_options o = engine_defaults();
    o.prefill_chunk = chunk;
    conductor *c = open_conductor(&o, &s, &l);
    for (unsigned i = 0; i < n_probes; i++)
        alone[i] = run_probe(s, i);
    double alone_ms = quantile(alone, n_probes, 0.5);
    size_t n = 0;
    conversation p = start(l, n_prompt, 1, false, 99);
    while (n < n_probes) {
        usleep((useconds_t)(random_uniform(7, 0, n) * 400e3)); /* at no particular place */
        beside[n] = run_probe(s, 500 + (unsigned)n);
        if (p.diary->n > 0)
            break;
        n++;
    }
    double prefill_ms = time_to_first(&p);
    engine_status status;
    engine_read_status(l, &status);
    printf("probes  chunk %zu: %zu probes during a prefill of %zu in %.0f ms, %zu pauses: "
           "alone %.1f ms; longer by: median %.1f, p95 %.1f, most %.1f ms\n",
           chunk, n, n_prompt, prefill_ms, status.pauses, alone_ms,
           quantile(beside, n, 0.5) - alone_ms, quantile(beside, n, 0.95) - alone_ms,
           quantile(beside, n, 1) - alone_ms);
    end(&p);
    conductor_destroy(c);
}

/* ---- yields --------------------------------------------------------------------------------- */

/* One prompt with pauses allowed over one without. Both engines are made anew for each pair, in
 * turns of order: where the system puts their memory makes a difference of a few percent. */
static double yields_ratio(size_t n_prompt, unsigned pair)
{
    double ms[2];
    engine *e[2];
    failure fail;
    conductor *c;
    engine_options o = engine_defaults();
    must(conductor_create(&c, n_threads, &fail), &fail);
    for (unsigned i = 0; i < 2; i++) {
        unsigned which = (pair / 2 + i) % 2;
        o.yields = which == 0;
        must(conductor_add(c, small, &o, &e[which], &fail), &fail);
    }
    must(conductor_start(c, &fail), &fail);
    for (unsigned turn = 0; turn < 2; turn++) {
        unsigned which = (pair + turn) % 2;
        conversation p = start(e[which], n_prompt, 1, false, pair);
        ms[which] = time_to_first(&p);
        end(&p);
    }
    conductor_destroy(c);
    return ms[0] / ms[1];
}

static void measure_yields(size_t n_prompt, size_t pairs)
{
    double ratios[MEASURE_MAX_RUNS];
    pairs = pairs < MEASURE_MAX_RUNS ? pairs : MEASURE_MAX_RUNS;
    for (unsigned pair = 0; pair < pairs; pair++)
        ratios[pair] = yields_ratio(n_prompt, pair);
    double low = quantile(ratios, pairs, 0.25), high = quantile(ratios, pairs, 0.75);
    printf(
        "yields  prefill of %zu, %zu pairs: with yields %.4f of without (quartiles %.4f, %.4f)\n",
        n_prompt, pairs, quantile(ratios, pairs, 0.5), low, high);
}

/* ---- streams -------------------------------------------------------------------------------- */

/* All tokens a second, while every one of the replies streams. */
static double stream_speed(engine *e, size_t n, unsigned seed)
{
    conversation s[MANY_STREAMS];
    double begin_ms = 0, end_ms = INFINITY;
    size_t tokens = 0;
    for (unsigned i = 0; i < n; i++)
        s[i] = start(e, STREAM_PROMPT, STREAM_TOKENS, false, seed + i);
    for (size_t i = 0; i < n; i++) {
        wait_for_events(s[i].diary, STREAM_TOKENS);
        begin_ms = fmax(begin_ms, s[i].diary->ms[0]);
        end_ms = fmin(end_ms, s[i].diary->ms[STREAM_TOKENS - 1]);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < STREAM_TOKENS; k++)
            tokens += s[i].diary->ms[k] > begin_ms && s[i].diary->ms[k] <= end_ms ? 1 : 0;
        end(&s[i]);
    }
    return (double)tokens / (end_ms - begin_ms) * 1000;
}

static void measure_streams(size_t rounds)
{
    double one[MEASURE_MAX_RUNS], many[MEASURE_MAX_RUNS], ratios[MEASURE_MAX_RUNS];
    engine *e;
    engine_options o = engine_defaults();
    o.slots = MANY_STREAMS;
    rounds = rounds < MEASURE_MAX_RUNS ? rounds : MEASURE_MAX_RUNS;
    conductor *c = open_conductor(&o, &e, NULL);
    for (unsigned i = 0; i < rounds; i++) {
        one[i] = stream_speed(e, 1, 100 * i);
        many[i] = stream_speed(e, MANY_STREAMS, 100 * i + 10);
        ratios[i] = many[i] / one[i];
    }
    printf("streams depth %d to %d, %zu rounds: one %.1f tokens/s, %d together %.1f; %.2f times "
           "(%.2f to %.2f)\n",
           STREAM_PROMPT, STREAM_PROMPT + STREAM_TOKENS, rounds, quantile(one, rounds, 0.5),
           MANY_STREAMS, quantile(many, rounds, 0.5), quantile(ratios, rounds, 0.5),
           quantile(ratios, rounds, 0), quantile(ratios, rounds, 1));
    conductor_destroy(c);
}

/* ---- beside --------------------------------------------------------------------------------- */

/* What the prompt took; the gaps of the streams between whose tokens some of it was computed. */
static double prompt_beside(engine *e, size_t n_prompt, size_t streams, unsigned seed, double *gaps,
                            size_t *n_gaps)
{
    conversation s[MANY_STREAMS];
    for (unsigned i = 0; i < streams; i++)
        s[i] = start(e, STREAM_PROMPT, 0, false, seed + 1 + i);
    for (size_t i = 0; i < streams; i++)
        wait_for_events(s[i].diary, 16);
    conversation p = start(e, n_prompt, 1, false, seed);
    double ms = time_to_first(&p), end_ms = p.submitted_ms + ms;
    for (size_t i = 0; i < streams; i++) {
        diary *d = s[i].diary;
        wait_for_events(d, d->n + 2);
        for (size_t k = 1; k < d->n && *n_gaps < MAX_EVENTS; k++)
            if (d->ms[k] > p.submitted_ms && d->ms[k - 1] < end_ms)
                gaps[(*n_gaps)++] = d->ms[k] - d->ms[k - 1];
        end(&s[i]);
    }
    end(&p);
    return ms;
}

static void measure_beside(const char *path, size_t n_prompt, size_t rounds)
{
    static const size_t cases[BESIDE_CASES] = {0, 1, 4, MANY_STREAMS};
    static double gaps[BESIDE_CASES][MAX_EVENTS];
    double ms[BESIDE_CASES][MEASURE_MAX_RUNS], ratios[BESIDE_CASES][MEASURE_MAX_RUNS];
    size_t n_gaps[BESIDE_CASES] = {0};
    failure fail;
    engine *e;
    engine_options o = engine_defaults();
    o.slots = MANY_STREAMS + 1;
    o.prefill_chunk = SERVED_CHUNK;
    must(model_load(&large, path, &(model_options){.chat_template = "none"}, &fail), &fail);
    conductor *c = open_conductor(&o, NULL, &e);
    for (unsigned round = 0; round < rounds; round++)
        for (size_t i = 0; i < BESIDE_CASES; i++) {
            unsigned seed = 100 * round + 20 * (unsigned)i;
            ms[i][round] = prompt_beside(e, n_prompt, cases[i], seed, gaps[i], &n_gaps[i]);
            ratios[i][round] = ms[i][round] / ms[0][round];
        }
    for (size_t i = 0; i < BESIDE_CASES; i++) {
        printf("beside  %zu streams: the first token of %zu after %.0f ms (%.0f to %.0f), %.3f of "
               "alone (%.3f to %.3f)",
               cases[i], n_prompt, quantile(ms[i], rounds, 0.5), quantile(ms[i], rounds, 0),
               quantile(ms[i], rounds, 1), quantile(ratios[i], rounds, 0.5),
               quantile(ratios[i], rounds, 0), quantile(ratios[i], rounds, 1));
        if (n_gaps[i] > 0)
            printf("; %zu gaps: median %.1f, p99 %.1f, longest %.1f ms", n_gaps[i],
                   quantile(gaps[i], n_gaps[i], 0.5), quantile(gaps[i], n_gaps[i], 0.99),
                   quantile(gaps[i], n_gaps[i], 1));
        printf("\n");
    }
    conductor_destroy(c);
}

/* ---- switch --------------------------------------------------------------------------------- */

static void measure_switch(void)
{
    static double us[2 * SWITCH_TOKENS];
    engine *e[2];
    size_t n = 0;
    engine_options o = engine_defaults();
    conductor *c = open_conductor(&o, &e[0], &e[1]);
    conversation s[2];
    for (unsigned i = 0; i < 2; i++)
        s[i] = start(e[i], 16, SWITCH_TOKENS, false, i);
    for (size_t k = 2; k < SWITCH_TOKENS; k++)
        for (unsigned i = 0; i < 2; i++) {
            engine_status status;
            wait_for_events(s[i].diary, k);
            engine_read_status(e[i], &status);
            us[n++] = status.switch_ms * 1000;
        }
    printf("switch  %zu of two streaming models: median %.1f us, p99 %.1f us (the paper: 2400)\n",
           n, quantile(us, n, 0.5), quantile(us, n, 0.99));
    for (unsigned i = 0; i < 2; i++)
        end(&s[i]);
    conductor_destroy(c);
}

/* ---- the program ---------------------------------------------------------------------------- */

static model *load(const char *spec)
{
    failure fail;
    char path[BENCH_PATH_SIZE];
    bench_synthetic shape;
    model *m;
    must(bench_synthetic_parse(spec, &shape, &fail), &fail);
    must(bench_synthetic_file(&shape, NULL, path, &fail), &fail);
    must(model_load(&m, path, &(model_options){.chat_template = "none"}, &fail), &fail);
    return m;
}

static size_t number(int argc, char **argv, int at, size_t otherwise)
{
    return argc > at ? (size_t)strtoul(argv[at], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
    failure fail;
    const char *part = argc > 1 ? argv[1] : "all";
    bool all = strcmp(part, "all") == 0;
    n_threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(kernel_init(NULL, &fail), &fail);
    if (strcmp(part, "beside") == 0 && argc > 2) {
        size_t rounds = number(argc, argv, 4, 5);
        measure_beside(argv[2], number(argc, argv, 3, 512),
                       rounds < MEASURE_MAX_RUNS ? rounds : MEASURE_MAX_RUNS);
        model_destroy(large);
        return 0;
    }
    small = load("pangu-1b:q4_0");
    if (all || strcmp(part, "pace") == 0)
        measure_pace(number(argc, argv, 2, 8192),
                     number(argc, argv, 3, (size_t)engine_defaults().step_budget_ms));
    if (all || strcmp(part, "yields") == 0)
        measure_yields(number(argc, argv, 2, 512), number(argc, argv, 3, 40));
    if (all || strcmp(part, "streams") == 0)
        measure_streams(number(argc, argv, 2, 7));
    if (all || strcmp(part, "probes") == 0 || strcmp(part, "switch") == 0)
        large = load("pangu-7b:q4_0");
    if (all || strcmp(part, "switch") == 0)
        measure_switch();
    if (all || strcmp(part, "probes") == 0) {
        show_probes(64, number(argc, argv, 2, 4096), number(argc, argv, 3, 50));
        show_probes(512, number(argc, argv, 2, 4096), number(argc, argv, 3, 50));
    }
    model_destroy(small);
    model_destroy(large);
    return 0;
}
