/* What prompt lookup gains on this machine's clock, beside what bench/lookup.c
 * judges: `make bench-lookup-wall`.
 *
 *   lookup_wall MODEL TEXTS WORDS TOKENS TURNS [STREAMS…]
 *
 * Every reply is forced: the model computes and verifies all of it, only the
 * choice is given. Off, auto, and the published setting (look-ahead 2) take
 * turns on the same texts, of which a stream takes the next when one has ended,
 * the first TOKENS tokens of each reply; prompts stay in the prefix cache, so
 * that what is timed is decoding. What the model itself would have sampled is
 * compared: it must be the same with lookup and without.
 */
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "lookup_texts.h"

enum {
    MAX_STREAMS = 8,
    TEXTS = 16,
    MAX_TURNS = 9,
    LONGEST_PROMPT = 1000,
    SETTINGS = 3,
    CONTEXT = 2048
};

static const lookup_setting settings[SETTINGS] = {
    {.mode = LOOKUP_OFF}, {.mode = LOOKUP_AUTO}, {LOOKUP_FIXED, 2, LOOKUP_CLASSES - 1}};

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

static void show_cell(engine *e, const text_kind *kind, uint32_t prior, size_t n_streams,
                      size_t n_tokens, size_t turns)
{
    const text *texts[TEXTS];
    double ms[SETTINGS][MAX_TURNS], ratio[SETTINGS][MAX_TURNS];
    outcome o[SETTINGS];
    size_t room = engine_context(e) - n_tokens;
    size_t n = choose_texts(kind, texts, TEXTS, room < LONGEST_PROMPT ? room : LONGEST_PROMPT);
    run(e, texts, n, 1, settings[0]); /* fills the prefix cache */
    for (size_t turn = 0; turn < turns; turn++)
        for (size_t i = 0; i < SETTINGS; i++) {
            size_t which = (i + turn) % SETTINGS;
            lookup_setting setting = settings[which];
            setting.prior += setting.mode == LOOKUP_AUTO ? prior : 0;
            o[which] = run(e, texts, n, n_tokens, setting);
            ms[which][turn] = o[which].ms;
        }
    for (size_t i = 0; i < SETTINGS; i++)
        for (size_t turn = 0; turn < turns; turn++)
            ratio[i][turn] = ms[0][turn] / ms[i][turn];
    bool same = o[0].sampled_hash == o[1].sampled_hash && o[0].sampled_hash == o[2].sampled_hash;
    spread a = spread_of(ratio[1], turns), p = spread_of(ratio[2], turns);
    printf("%-6s %zu streams  off %7.0f ms  auto x %.3f (%.3f to %.3f)  paper x "
           "%.3f (%.3f to "
           "%.3f)  drafted %zu accepted %zu  sampled %s\n",
           kind->name, n_streams, spread_of(ms[0], turns).median, a.median, a.low, a.high, p.median,
           p.low, p.high, o[1].drafted, o[1].accepted, same ? "the same" : "DIFFER");
    if (!same)
        exit(1);
}

static void show_kind(const model *m, const text_kind *kind, uint32_t prior, size_t n_streams,
                      size_t n_tokens, size_t turns)
{
    failure fail;
    conductor *c;
    engine *e;
    engine_options o = engine_defaults();
    o.slots = n_streams;
    o.parked = TEXTS; /* the prompts of all texts stay in KV */
    o.context = CONTEXT < m->config.context_length ? CONTEXT : 0;
    must(conductor_create(&c, (int)sysconf(_SC_NPROCESSORS_ONLN), &fail), &fail);
    must(conductor_add(c, m, &o, &e, &fail), &fail);
    must(conductor_start(c, &fail), &fail);
    show_cell(e, kind, prior, n_streams, n_tokens, turns);
    conductor_destroy(c);
}

int main(int argc, char **argv)
{
    failure fail;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 6) {
        fprintf(stderr, "usage: lookup_wall MODEL TEXTS WORDS TOKENS TURNS [STREAMS...]\n");
        return 2;
    }
    must(kernel_init(NULL, &fail), &fail);
    model *m = load_model(argv[1]);
    tokenizer *t = load_words(argv[3]);
    text_kind *kinds = load_texts(argv[2], t);
    size_t n_tokens = strtoul(argv[4], NULL, 10), turns = strtoul(argv[5], NULL, 10);
    turns = turns < MAX_TURNS ? turns : MAX_TURNS;
    for (int i = 6; i < (argc > 6 ? argc : 9); i++) {
        static const size_t standard[] = {1, 4, 8};
        size_t n = argc > 6 ? strtoul(argv[i], NULL, 10) : standard[i - 6];
        n = n < MAX_STREAMS ? n : MAX_STREAMS;
        for (uint32_t k = 0; k < TEXT_KINDS; k++)
            show_kind(m, &kinds[k], k, n, n_tokens, turns);
    }
    tokenizer_destroy(t);
    model_destroy(m);
    return 0;
}
