/* What a decision costs, and what of it is lost when the small model answers: `make bench-probe`.
 * Arguments: demo, a model's file or a synthetic shape (pangu-1b:q4_0), then the number of requests
 * of each length, then the window's head and tail, or "learned" for a learned probe (whose weights
 * are 0: they cost what others do).
 *
 * For queries of 64, 256, 296 and 1024 tokens, no two of which begin alike, in turns:
 *   decide   the decision alone: its phases
 *   cold     the small model's first token without any probe
 *   routed   decision and first token together
 * The answer costs more by routed - cold: once with probe.reuse on, where it finds the probe's
 * prefill, once with it off. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/random.h"
#include "cli/bench.h"
#include "kernel/kernel.h"
#include "orchestra/calibration_file.h"
#include "orchestra/orchestra.h"

enum { MAX_REQUESTS = 500, LENGTHS = 4 };

static const size_t lengths[LENGTHS] = {64, 256, 296, 1024};

static void must(error_code code, const failure *fail)
{
    if (code == OK)
        return;
    fprintf(stderr, "bench-probe: %s\n", fail->text);
    exit(1);
}

/* ---- models --------------------------------------------------------------------------------- */

static void find_model(const char *what, char path[BENCH_PATH_SIZE])
{
    failure fail;
    bench_synthetic shape;
    if (strcmp(what, "demo") == 0 || access(what, R_OK) == 0) {
        snprintf(path, BENCH_PATH_SIZE, "%s", what[0] == 'd' ? "models/demo/small.gguf" : what);
        return;
    }
    must(bench_synthetic_parse(what, &shape, &fail), &fail);
    must(bench_synthetic_file(&shape, NULL, path, &fail), &fail);
}

/* The large model answers nothing here: the smallest one stands for it. */
static config *parse(const char *path, const char *probe)
{
    failure fail;
    config *c;
    char text[BENCH_PATH_SIZE + 1024];
    snprintf(text, sizeof text,
             "version: 1\nmodels:\n"
             "  - {name: small, role: small, path: '%s', slots: 2}\n"
             "  - {name: large, role: large, path: models/demo/small.gguf, slots: 1}\n"
             "probe:\n%s"
             "policy:\n  name: rules\n  sticky: false\n"
             "  rules: [{name: probed, above_entropy: -1, max_entropy: 100, model: small, "
             "lookup: off}]\n",
             path, probe);
    must(config_parse(&c, text, strlen(text), "bench-probe", &fail), &fail);
    return c;
}

#define LABELS "  labels: [{name: a}, {name: b}, {name: c}]\n"

/* A head for the model, in a file of its own, and the configuration that names it. */
static config *configured_learned(const char *path)
{
    failure fail;
    model *small;
    head_record kind = {.n_fitted = 0};
    const model_options options = {.context = 0};
    char file[] = "/tmp/bench-probe-XXXXXX", probe[256];
    config *plain = parse(path, LABELS);
    close(mkstemp(file));
    must(model_load(&small, path, &options, &fail), &fail);
    must(head_create(&kind.head, 3, small->config.n_embd, &fail), &fail);
    kind.head.layer = small->config.n_layers;
    const calibration_parts parts = {.kind = &kind};
    must(calibration_file_write(file, &parts, plain, small, &fail), &fail);
    head_record_free(&kind);
    model_destroy(small);
    config_free(plain);
    snprintf(probe, sizeof probe, "  kind: learned\n  calibration: %s\n" LABELS, file);
    return parse(path, probe);
}

static config *configured(const char *what, const char *head, const char *tail)
{
    char path[BENCH_PATH_SIZE], probe[512], window[128] = "";
    find_model(what, path);
    if (head != NULL && strcmp(head, "learned") == 0)
        return configured_learned(path);
    if (head != NULL && tail != NULL)
        snprintf(window, sizeof window, "  window_head: %s\n  window_tail: %s\n", head, tail);
    snprintf(probe, sizeof probe, "  template: '{conversation} Intent:'\n%s" LABELS, window);
    return parse(path, probe);
}

/* ---- requests ------------------------------------------------------------------------------- */

static unsigned texts_made;

/* A text of so many tokens (or one or two more) that begins like no other. */
static void make_text(buffer *out, backend *b, size_t tokens)
{
    failure fail;
    size_t n = 0;
    unsigned seed = ++texts_made;
    buffer_clear(out);
    for (size_t i = 0; n < tokens; i++) {
        unsigned number = (unsigned)(1e6 * random_uniform(seed, 0, i));
        buffer_add_format(out, i % 4 == 3 ? "%u\n" : "%c%u ",
                          i % 4 == 3 ? number : 'A' + number % 26, number % 1000);
        request q = {.prompt = out->data, .prompt_length = out->length};
        if (out->length > tokens || n + 8 > tokens)
            must(backend_count_tokens(b, &q, &n, &fail), &fail);
    }
}

typedef struct sample {
    double wall_ms; /* submission → first token, or → the decision */
    receipt cost;
} sample;

static sample perform(orchestra *o, const buffer *text, const char *pinned, bool decide_only)
{
    failure fail;
    run *r;
    request q = {.prompt = text->data,
                 .prompt_length = text->length,
                 .sampling = sampling_defaults(),
                 .max_tokens = 1};
    q.sampling.temperature = 0;
    run_options options = {.model = pinned, .decide_only = decide_only};
    double start = clock_ms();
    must(orchestra_submit(o, &q, &options, (wakeup){.call = NULL}, &r, &fail), &fail);
    run_state state;
    while ((state = run_poll(r, NULL, NULL)) != RUN_FINISHED && state != RUN_FAILED)
        run_wait(r);
    sample s = {.wall_ms = clock_ms() - start, .cost = *run_receipt(r)};
    if (state == RUN_FAILED)
        must(run_failure(r)->code, run_failure(r));
    run_release(r);
    return s;
}

/* ---- figures -------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *values, size_t n, double part)
{
    static double sorted[MAX_REQUESTS];
    memcpy(sorted, values, n * sizeof *values);
    qsort(sorted, n, sizeof *sorted, by_value);
    size_t at = (size_t)(part * (double)n);
    return sorted[at < n ? at : n - 1];
}

static void show_phase(const char *name, const double *values, size_t n)
{
    printf("   %-9s p50 %8.2f   p95 %8.2f ms\n", name, quantile(values, n, 0.5),
           quantile(values, n, 0.95));
}

enum { TEMPLATE, PREFILL, DECIDE, WAIT, TOTAL, PHASES };

/* Of queries of one length; medians stand for p50. */
typedef struct figures {
    double phases[PHASES][MAX_REQUESTS], cold[MAX_REQUESTS], routed[MAX_REQUESTS],
        extra[MAX_REQUESTS], cached[MAX_REQUESTS], answer[MAX_REQUESTS];
    size_t probe_tokens;
} figures;

static void measure_length(orchestra *o, size_t tokens, size_t n, figures *f)
{
    backend *b = orchestra_backend(o, 0);
    buffer texts[3];
    for (size_t i = 0; i < 3; i++)
        buffer_init(&texts[i], 1 << 20);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < 3; k++)
            make_text(&texts[k], b, tokens);
        sample c = perform(o, &texts[0], "small", false);
        sample d = perform(o, &texts[1], NULL, true);
        sample r = perform(o, &texts[2], NULL, false);
        const overhead *v = &d.cost.overhead;
        f->phases[TEMPLATE][i] = v->template_ms;
        f->phases[PREFILL][i] = v->prefill_ms;
        f->phases[DECIDE][i] = v->decide_ms;
        f->phases[WAIT][i] = v->total_ms - v->template_ms - v->prefill_ms - v->decide_ms;
        f->phases[TOTAL][i] = v->total_ms;
        f->cold[i] = c.wall_ms;
        f->routed[i] = r.wall_ms;
        f->extra[i] = r.wall_ms - c.wall_ms;
        f->cached[i] = (double)r.cost.reply.cached_tokens;
        f->answer[i] = r.cost.reply.prefill_ms;
        f->probe_tokens = d.cost.probe.prompt_tokens;
    }
    for (size_t i = 0; i < 3; i++)
        buffer_free(&texts[i]);
}

static void show_first_token(const char *name, const figures *f, size_t n, double whole)
{
    double more = quantile(f->extra, n, 0.5);
    printf(
        "   reuse %-3s first token: without a probe %.2f, routed %.2f (of that the answer's own "
        "prefill %.2f; cache_n %.0f)\n"
        "             extra time when the small model answers: p50 %.2f, p95 %.2f ms: %.1f %% of "
        "the probe's cold cost\n",
        name, quantile(f->cold, n, 0.5), quantile(f->routed, n, 0.5), quantile(f->answer, n, 0.5),
        quantile(f->cached, n, 0.5), more, quantile(f->extra, n, 0.95), 100 * more / whole);
}

static void show_length(size_t tokens, size_t n, const figures *on, const figures *off)
{
    static const char *const names[PHASES] = {"template", "prefill", "decide", "waiting", "total"};
    printf("query of %zu tokens, %zu of each kind in turns; the probe reads %zu tokens\n", tokens,
           n, on->probe_tokens);
    for (size_t k = 0; k < PHASES; k++)
        show_phase(names[k], on->phases[k], n);
    double whole = quantile(on->phases[TOTAL], n, 0.5);
    show_first_token("on", on, n, whole);
    show_first_token("off", off, n, whole);
}

static bool fits(size_t tokens, size_t context)
{
    return tokens + 16 < context;
}

/* Everything with reuse on, then everything with it off: two engines at once would share the cores.
 * Returns the small model's context. */
static size_t measure(const char *what, const char *head, const char *tail, bool reuse, size_t n,
                      figures f[LENGTHS])
{
    failure fail;
    config *c = configured(what, head, tail);
    c->probe.reuse = reuse;
    orchestra *o;
    must(orchestra_create(&o, c, (house_progress){.call = NULL}, &fail), &fail);
    if (reuse && c->probe.kind == CONFIG_PROBE_LEARNED)
        printf("== %s, learned\n", what);
    else if (reuse)
        printf("== %s, window %u + %u tokens\n", what, c->probe.window_head, c->probe.window_tail);
    size_t context = backend_context(orchestra_backend(o, 0));
    for (size_t i = 0; i < LENGTHS; i++)
        if (fits(lengths[i], context))
            measure_length(o, lengths[i], n, &f[i]);
    orchestra_destroy(o);
    if (c->probe.calibration != NULL)
        unlink(c->probe.calibration);
    config_free(c);
    return context;
}

int main(int argc, char **argv)
{
    static figures on[LENGTHS], off[LENGTHS];
    failure fail;
    const char *what = argc > 1 ? argv[1] : "demo";
    const char *head = argc > 3 ? argv[3] : NULL, *tail = argc > 4 ? argv[4] : NULL;
    size_t n = argc > 2 ? strtoul(argv[2], NULL, 10) : 20;
    n = n < 1 ? 1 : n > MAX_REQUESTS ? MAX_REQUESTS : n;
    setvbuf(stdout, NULL, _IOLBF, 0);
    must(kernel_init(NULL, &fail), &fail);
    measure(what, head, tail, true, n, on);
    size_t context = measure(what, head, tail, false, n, off);
    for (size_t i = 0; i < LENGTHS; i++)
        if (fits(lengths[i], context))
            show_length(lengths[i], n, &on[i], &off[i]);
        else
            printf("query of %zu tokens: does not fit this small model, so there is no probe\n",
                   lengths[i]);
    return 0;
}
