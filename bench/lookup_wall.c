/* What prompt lookup gains on this machine's clock, beside what bench/lookup.c
 * judges: `make bench-lookup-wall`.
 *
 *   lookup_wall MODEL TEXTS WORDS JUDGED TOKENS TURNS MOST LONGEST [STREAMS…]
 *
 * Every reply is forced: the model computes and verifies all of it, only the
 * choice is given. Off, auto, the published setting (look-ahead 2) and the fixed
 * length that JUDGED (what bench/lookup.c printed) names as the best of the cell
 * take turns on the same texts: MOST of them, with prompts of LONGEST tokens at
 * most, the first TOKENS tokens of each reply. A stream takes the next when one
 * has ended; prompts stay in the prefix cache, so that what is timed is decoding.
 * What the model itself would have sampled is compared: it must be the same with
 * lookup and without.
 */
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "lookup_texts.h"

enum { MAX_STREAMS = 8, TEXTS = 16, MAX_TURNS = 41, CONTEXT = 2048 };

enum { OFF, AUTO, PAPER, BEST, SETTINGS };
static const char *const names[SETTINGS] = {"off", "auto", "paper", "fixed"};

typedef struct outcome {
    double ms;
    size_t drafted, accepted;
    uint64_t sampled_hash; /* of all streams */
} outcome;

static sequence *submit(engine *e, const text *t, size_t n_tokens, lookup_setting setting)
{
    failure fail;
    sequence *s;
    size_t reply = t->tokens.length - t->n_prompt;
    sequence_request r = {.prompt = t->tokens.ids,
                          .n_prompt = t->n_prompt,
                          .forced = t->tokens.ids + t->n_prompt,
                          .n_forced = reply < n_tokens ? reply : n_tokens,
                          .sampling = sampling_defaults(),
                          .lookup = setting};
    r.sampling.temperature = 0;
    must(engine_submit(e, &r, &s, &fail), &fail);
    return s;
}

/* All texts; the engine has as many places as there are streams. */
static outcome run(engine *e, const text *const *texts, size_t n, size_t n_tokens,
                   lookup_setting setting)
{
    sequence *s[TEXTS];
    outcome o = {.ms = clock_ms()};
    for (size_t i = 0; i < n; i++)
        s[i] = submit(e, texts[i], n_tokens, setting);
    for (size_t i = 0; i < n; i++) {
        sequence_poll_result p = {0};
        while (sequence_poll(s[i], &p, NULL, NULL) == OK && p.state == SEQUENCE_RUNNING)
            usleep(1000);
        if (p.state == SEQUENCE_FAILED)
            must(p.failure.code, &p.failure);
        o.drafted += p.stats.drafted;
        o.accepted += p.stats.accepted;
        o.sampled_hash = o.sampled_hash * 31 + p.stats.sampled_hash;
        sequence_release(s[i]);
    }
    o.ms = clock_ms() - o.ms;
    return o;
}

static size_t choose_texts(const text_kind *kind, const text **out, size_t n, size_t longest)
{
    size_t found = 0;
    for (size_t i = 0; i < kind->n && found < n; i++)
        if (kind->texts[i].n_prompt <= longest)
            out[found++] = &kind->texts[i];
    return found;
}

/* The best fixed length of the cell, in step-model time. */
static uint32_t read_best(const char *judged, const char *kind, size_t n_streams)
{
    char line[512], name[8];
    size_t n;
    uint32_t length;
    FILE *file = fopen(judged, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "%7s %zu streams off %*f ms auto x %*f fixed %u", name, &n, &length) ==
                3 &&
            n == n_streams && strcmp(name, kind) == 0) {
            fclose(file);
            return length;
        }
    fprintf(stderr, "bench-lookup: %s says nothing of %s, %zu streams\n", judged, kind, n_streams);
    exit(1);
}

typedef struct cell {
    const text_kind *kind;
    size_t n_streams, n_tokens, turns, most_texts, longest;
    lookup_setting settings[SETTINGS];
} cell;

/* In turns of off over it. */
static void show_setting(const cell *c, size_t which, const outcome *o,
                         double ms[SETTINGS][MAX_TURNS])
{
    double ratio[MAX_TURNS];
    for (size_t turn = 0; turn < c->turns; turn++)
        ratio[turn] = ms[OFF][turn] / ms[which][turn];
    spread r = spread_of(ratio, c->turns);
    printf("  %s", names[which]);
    if (which == BEST)
        printf(" %u", c->settings[BEST].length);
    printf(" x %.3f (%.3f to %.3f) %zu of %zu", r.median, r.low, r.high, o->accepted, o->drafted);
}

static void show_cell(engine *e, const cell *c)
{
    const text *texts[TEXTS];
    double ms[SETTINGS][MAX_TURNS];
    outcome o[SETTINGS];
    size_t room = engine_context(e) - c->n_tokens;
    size_t n = choose_texts(c->kind, texts, c->most_texts, room < c->longest ? room : c->longest);
    run(e, texts, n, 1, c->settings[OFF]); /* fills the prefix cache */
    bool same = true;
    for (size_t turn = 0; turn < c->turns; turn++)
        for (size_t i = 0; i < SETTINGS; i++) {
            size_t which = (i + turn) % SETTINGS;
            o[which] = run(e, texts, n, c->n_tokens, c->settings[which]);
            ms[which][turn] = o[which].ms;
            same = same && o[which].sampled_hash == o[OFF].sampled_hash;
        }
    printf("%-6s %zu streams, %zu texts, %zu turns  off %7.1f ms", c->kind->name, c->n_streams, n,
           c->turns, spread_of(ms[OFF], c->turns).median);
    for (size_t i = AUTO; i < SETTINGS; i++)
        show_setting(c, i, &o[i], ms);
    printf("  sampled %s\n", same ? "the same" : "DIFFER");
    if (!same)
        exit(1);
}

static void run_cell(const model *m, const cell *c)
{
    failure fail;
    conductor *threads;
    engine *e;
    engine_options o = engine_defaults();
    o.slots = c->n_streams;
    o.parked = TEXTS;    /* the prompts of all texts stay in KV */
    o.context = CONTEXT; /* what a model was trained for limits what it says, which is given */
    must(conductor_create(&threads, (int)sysconf(_SC_NPROCESSORS_ONLN), &fail), &fail);
    must(conductor_add(threads, m, &o, &e, &fail), &fail);
    must(conductor_start(threads, &fail), &fail);
    show_cell(e, c);
    conductor_destroy(threads);
}

static size_t at_most(const char *number, size_t most)
{
    size_t n = strtoul(number, NULL, 10);
    return n < most ? n : most;
}

int main(int argc, char **argv)
{
    failure fail;
    static const size_t standard[] = {1, 4, 8};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 9) {
        fprintf(
            stderr,
            "usage: lookup_wall MODEL TEXTS WORDS JUDGED TOKENS TURNS MOST LONGEST [STREAMS...]\n");
        return 2;
    }
    must(kernel_init(NULL, &fail), &fail);
    model *m = load_model(argv[1]);
    tokenizer *t = load_words(argv[3]);
    text_kind *kinds = load_texts(argv[2], t);
    for (int i = 9; i < (argc > 9 ? argc : 12); i++) {
        cell c = {.n_streams = argc > 9 ? at_most(argv[i], MAX_STREAMS) : standard[i - 9],
                  .n_tokens = strtoul(argv[5], NULL, 10),
                  .turns = at_most(argv[6], MAX_TURNS),
                  .most_texts = at_most(argv[7], TEXTS),
                  .longest = strtoul(argv[8], NULL, 10)};
        for (uint32_t k = 0; k < TEXT_KINDS; k++) {
            c.kind = &kinds[k];
            c.settings[AUTO] = (lookup_setting){LOOKUP_AUTO, 0, k};
            c.settings[PAPER] = (lookup_setting){LOOKUP_FIXED, 2, LOOKUP_CLASSES - 1};
            c.settings[BEST] = (lookup_setting){
                LOOKUP_FIXED, read_best(argv[4], c.kind->name, c.n_streams), LOOKUP_CLASSES - 1};
            run_cell(m, &c);
        }
    }
    tokenizer_destroy(t);
    model_destroy(m);
    return 0;
}
