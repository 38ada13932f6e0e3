/* What a draft model gains and costs, beside no drafts and prompt lookup: `make bench-draft`.
 *
 *   draft_model forced LARGE SMALL TEXTS WORDS TOKENS TURNS
 *   draft_model free LARGE SMALL REQUESTS TOKENS TURNS
 *
 * forced: synthetic shapes, whose guesses mean nothing: the replies are forced, and the guesses are
 * right with a probability that is set (0.5, 0.7, 0.9); everything is computed. Word problems, one
 * stream. free: a trained pair answers requests ({"prompt": ...} a line), greedily and one after
 * the other; how often the guesses are right is what it is. Settings take turns; the prompts of the
 * large model stay in the prefix cache, those of the small one are read for every reply.
 */
#include <unistd.h>

#include "base/clock.h"
#include "engine/engine.h"
#include "lookup_texts.h"

enum { MAX_TURNS = 9, MAX_REQUESTS = 48, SETTINGS = 5, CONTEXT = 2048, LONG_PROMPT = 200 };

typedef struct setting {
    const char *name;
    lookup_setting lookup;
    double agreement;
} setting;

static const setting forced_settings[] = {{"off", {.mode = LOOKUP_OFF}, 0},
                                          {"auto", {.mode = LOOKUP_AUTO}, 0},
                                          {"draft, 0.5 right", {.mode = LOOKUP_DRAFT}, 0.5},
                                          {"draft, 0.7 right", {.mode = LOOKUP_DRAFT}, 0.7},
                                          {"draft, 0.9 right", {.mode = LOOKUP_DRAFT}, 0.9}};
static const setting free_settings[] = {{"off", {.mode = LOOKUP_OFF}, 0},
                                        {"auto", {.mode = LOOKUP_AUTO}, 0},
                                        {"draft", {.mode = LOOKUP_DRAFT}, 0}};

typedef struct totals {
    double ms;
    size_t tokens, drafted, accepted;
    uint64_t hash; /* of the replies, or of what was sampled while they were forced */
} totals;

static void add_reply(totals *t, sequence *s, double start_ms)
{
    sequence_poll_result p = {0};
    token_list reply = {0};
    while (sequence_poll(s, &p, NULL, &reply) == OK && p.state == SEQUENCE_RUNNING)
        usleep(300);
    if (p.state == SEQUENCE_FAILED)
        must(p.failure.code, &p.failure);
    t->ms += clock_ms() - start_ms;
    t->tokens += p.stats.reply_tokens;
    t->drafted += p.stats.drafted;
    t->accepted += p.stats.accepted;
    t->hash = t->hash * 31 + token_hash(reply.ids, reply.length) + p.stats.sampled_hash;
    token_list_free(&reply);
    sequence_release(s);
}

static totals run(engine *e, const text *texts, size_t n, size_t n_tokens, bool forced,
                  const setting *how)
{
    totals t = {0};
    for (size_t i = 0; i < n; i++) {
        failure fail;
        sequence *s;
        double start_ms = clock_ms();
        size_t reply = texts[i].tokens.length - texts[i].n_prompt;
        sequence_request r = {.prompt = texts[i].tokens.ids,
                              .n_prompt = texts[i].n_prompt,
                              .max_tokens = forced ? 0 : n_tokens,
                              .forced = texts[i].tokens.ids + texts[i].n_prompt,
                              .n_forced = !forced            ? 0
                                          : reply < n_tokens ? reply
                                                             : n_tokens,
                              .forced_agreement = how->agreement,
                              .sampling = sampling_defaults(),
                              .lookup = how->lookup};
        r.sampling.temperature = 0;
        must(engine_submit(e, &r, &s, &fail), &fail);
        add_reply(&t, s, start_ms);
    }
    return t;
}

static void compare(engine *e, const text *texts, size_t n, size_t n_tokens, bool forced,
                    size_t turns)
{
    const setting *how = forced ? forced_settings : free_settings;
    size_t n_settings = forced ? SETTINGS : sizeof free_settings / sizeof free_settings[0];
    double ms[SETTINGS][MAX_TURNS], ratio[SETTINGS][MAX_TURNS];
    totals t[SETTINGS];
    run(e, texts, n, 1, forced, &how[0]); /* fills the prefix cache */
    for (size_t turn = 0; turn < turns; turn++)
        for (size_t i = 0; i < n_settings; i++) {
            size_t which = (i + turn) % n_settings;
            t[which] = run(e, texts, n, n_tokens, forced, &how[which]);
            ms[which][turn] = t[which].ms;
        }
    for (size_t i = 0; i < n_settings; i++) {
        for (size_t turn = 0; turn < turns; turn++)
            ratio[i][turn] = ms[0][turn] / ms[i][turn];
        spread r = spread_of(ratio[i], turns);
        printf(
            "%-17s %6.1f tokens/s  x %.3f (%.3f to %.3f)  drafted %zu accepted %zu  answers %s\n",
            how[i].name, 1000 * (double)t[i].tokens / spread_of(ms[i], turns).median, r.median,
            r.low, r.high, t[i].drafted, t[i].accepted,
            t[i].hash == t[0].hash ? "the same" : "DIFFER");
        if (t[i].hash != t[0].hash)
            exit(1);
    }
}

/* Prompts of a trained pair, as its chat template would have them; long ones are left out. */
static size_t load_requests(const char *path, const model *m, text *out)
{
    size_t n = 0;
    FILE *file = fopen(path, "r");
    failure fail;
    if (file == NULL)
        must(failure_set(&fail, ERR_IO, "cannot read the requests in %s", path), &fail);
    for (json_t *line;
         n < MAX_REQUESTS && (line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL)) != NULL;) {
        const json_t *prompt = json_object_get(line, "prompt");
        chat_message message = {.role = "user",
                                .content = json_string_value(prompt),
                                .content_length = json_string_length(prompt)};
        chat_text rendered;
        chat_text_init(&rendered, 1 << 20);
        const chat_input input = {.messages = &message, .n_messages = 1, .generation_prompt = true};
        must(chat_render(m->chat, &input, &rendered, &fail), &fail);
        must(chat_encode(m->tokenizer, &rendered, &out[n].tokens, &fail), &fail);
        chat_text_free(&rendered);
        out[n].n_prompt = out[n].tokens.length;
        if (out[n].n_prompt < LONG_PROMPT)
            n++;
        else
            token_list_free(&out[n].tokens);
        json_decref(line);
    }
    fclose(file);
    return n;
}

static engine *open_pair(conductor *c, const model *large, const model *small)
{
    failure fail;
    engine *e;
    engine_options o = engine_defaults();
    o.slots = 1;
    o.parked = MAX_REQUESTS;
    o.context = CONTEXT < large->config.context_length ? CONTEXT : 0;
    must(conductor_add(c, large, &o, &e, &fail), &fail);
    must(engine_set_draft_model(e, small, &fail), &fail);
    must(conductor_start(c, &fail), &fail);
    return e;
}

int main(int argc, char **argv)
{
    failure fail;
    conductor *c;
    bool forced = argc == 8 && strcmp(argv[1], "forced") == 0;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!forced && (argc != 7 || strcmp(argv[1], "free") != 0)) {
        fprintf(stderr, "usage: draft_model forced LARGE SMALL TEXTS WORDS TOKENS TURNS\n"
                        "       draft_model free LARGE SMALL REQUESTS TOKENS TURNS\n");
        return 2;
    }
    size_t n_tokens = strtoul(argv[argc - 2], NULL, 10), turns = strtoul(argv[argc - 1], NULL, 10);
    turns = turns < MAX_TURNS ? turns : MAX_TURNS;
    must(kernel_init(NULL, &fail), &fail);
    model *large = load_model(argv[2]), *small = load_model(argv[3]);
    must(conductor_create(&c, (int)sysconf(_SC_NPROCESSORS_ONLN), &fail), &fail);
    engine *e = open_pair(c, large, small);
    if (forced) {
        tokenizer *t = load_words(argv[5]);
        compare(e, load_texts(argv[4], t)[WORD].texts, 2, n_tokens, true, turns);
        tokenizer_destroy(t);
    } else {
        static text requests[MAX_REQUESTS];
        size_t n = load_requests(argv[4], large, requests);
        printf("%zu requests\n", n);
        compare(e, requests, n, n_tokens, false, turns);
    }
    conductor_destroy(c);
    model_destroy(large);
    model_destroy(small);
    return 0;
}
