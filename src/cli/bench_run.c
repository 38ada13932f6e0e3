/* bench_run.c: loads the models of `a-io bench`, one after the other or together, and has their
 * tests measured. */
#include "cli/bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/model_file.h"
#include "cli/progress.h"
#include "cli/token_file.h"
#include "model/forward.h"

enum { MAX_MEMBERS = BENCH_MAX_TESTS * KV_TYPES };

/* A model in memory. */
typedef struct loaded {
    bench_model *out;
    model *m;
    bool synthetic;
    bench_plan plan;
    token_list prompt;
    subject *subjects[KV_TYPES]; /* in the order of --kv */
} loaded;

/* What is in memory at once. */
typedef struct stage {
    const bench_options *o;
    bench_report *report;
    bench_set *set;
    team *threads;
    bench_timeline *timeline; /* or NULL */
    read_peak *peak;
    loaded models[BENCH_MAX_MODELS];
    size_t n_models;
    bool knows_memory;
    size_t memory_peak;
    /* The group being measured. */
    speed_member members[MAX_MEMBERS];
    const bench_model *owners[MAX_MEMBERS];
    size_t n_members;
} stage;

/* ---- progress ------------------------------------------------------------------------------- */

static void show_loading(void *context, double fraction)
{
    const bench_model *m = context;
    char text[400];
    snprintf(text, sizeof text, "%s: loading, %.0f %%", m->name, 100 * fraction);
    progress_line(text);
}

static void show_filling(void *context, size_t done, size_t all)
{
    const bench_model *m = context;
    char text[400];
    snprintf(text, sizeof text, "%s %s: filling the KV, %zu of %zu tokens", m->name, m->type, done,
             all);
    progress_line(text);
}

static void show_run(void *context, size_t member, size_t turn, size_t attempt)
{
    const stage *s = context;
    const speed_test *test = &s->members[member].test;
    const bench_model *m = s->owners[member];
    char text[400];
    snprintf(text, sizeof text, "%s %s, KV %s: %s of %zu at depth %zu, run %zu%s", m->name, m->type,
             kv_type_name(subject_kv_type(s->members[member].subject)), speed_kind_name(test->kind),
             test->n, test->depth, turn + 1,
             attempt > 0 ? ", repeated: memory was not steady" : "");
    progress_line(text);
}

/* ---- loading -------------------------------------------------------------------------------- */

error_code bench_find_file(const bench_options *o, const bench_source *source,
                           char path[BENCH_PATH_SIZE], failure *fail)
{
    char *found;
    if (source->path == NULL)
        return bench_synthetic_file(&source->synthetic, o->synthetic_folder, path, fail);
    error_code code = model_file_find(source->path, NULL, &found, fail);
    if (code != OK)
        return code;
    int length = snprintf(path, BENCH_PATH_SIZE, "%s", found);
    free(found);
    return length < BENCH_PATH_SIZE
               ? OK
               : failure_set(fail, ERR_INVALID, "the model's path is too long: %.60s…",
                             source->path);
}

/* What a packed model holds is about what its file does. */
static error_code check_room(const char *path, failure *fail)
{
    struct stat status;
    size_t available = memory_available_bytes();
    if (stat(path, &status) != 0 || available == 0)
        return OK; /* loading says what is wrong */
    size_t needed = (size_t)status.st_size + READ_PEAK_BYTES;
    if (needed <= available)
        return OK;
    return failure_set(fail, ERR_MEMORY,
                       "--together: no room for %s beside the models before it: it and the read "
                       "peak need %.1f GB, %.1f GB are left",
                       path, (double)needed / 1e9, (double)available / 1e9);
}

/* Of the weights that a step of one row reads: of the embedding one row, unless it is the output
 * head too, and of experts those that a token meets. */
static size_t source_bytes(const model *m)
{
    const gguf_tensor *embedding = gguf_tensor_find(m->file, "token_embd.weight");
    bool tied = gguf_tensor_find(m->file, "output.weight") == NULL;
    size_t all = 0, experts = 0;
    for (size_t i = 0; i < gguf_tensor_count(m->file); i++) {
        const gguf_tensor *t = gguf_tensor_at(m->file, i);
        if (memmem(t->name.data, t->name.length, "_exps.", 6) != NULL)
            experts += t->bytes;
        else if (t != embedding || tied)
            all += t->bytes;
    }
    size_t n = m->config.n_experts;
    return all + (n > 0 ? experts / n * m->config.n_experts_used : 0);
}

static error_code load(const bench_options *o, loaded *l, const char *path, failure *fail)
{
    bench_model *out = l->out;
    const model_options options = {.chat_template = "none",
                                   .head = o->head,
                                   .progress = show_loading,
                                   .progress_context = out};
    double start = clock_ms();
    error_code code = model_load(&l->m, path, &options, fail);
    progress_line("");
    if (code != OK)
        return code;
    out->load_ms = clock_ms() - start;
    utf8_printable(path, strlen(path), out->file, sizeof out->file);
    snprintf(out->type, sizeof out->type, "%s", measure_main_type(l->m->file)->name);
    out->weight_bytes = l->m->weight_bytes;
    out->source_bytes = source_bytes(l->m);
    out->file_bytes = gguf_file_bytes(l->m->file);
    for (size_t i = 0; i < o->n_kv; i++)
        out->kv_token_bytes[o->kv[i]] = forward_kv_bytes(l->m, o->kv[i], 0);
    out->context = l->m->config.context_length;
    return OK;
}

/* ---- the tests of a model ------------------------------------------------------------------- */

static bool has_steps(const bench_plan *plan)
{
    for (size_t i = 0; i < plan->n; i++)
        if (plan->tests[i].kind == SPEED_STEP)
            return true;
    return false;
}

/* Random weights were trained for no length: tests that were asked for may then go past the context
 * that the shape is known by, so that the full one can be the depth of a test. */
static error_code choose_tests(const bench_options *o, loaded *l, failure *fail)
{
    const bench_model *m = l->out;
    error_code code = bench_plan_parse(&l->plan, o->tests == NULL ? BENCH_STANDARD_TESTS : o->tests,
                                       o->depths, fail);
    if (code != OK)
        return code;
    size_t positions = bench_plan_positions(&l->plan);
    if (positions <= m->context || (o->tests != NULL && l->synthetic))
        return OK;
    if (o->tests != NULL)
        return failure_set(fail, ERR_CONTEXT,
                           "%s: the tests need %zu tokens, the model's context has %zu; give "
                           "shorter --tests or a smaller --depth",
                           m->name, positions, m->context);
    size_t gone = bench_plan_cut(&l->plan, m->context);
    fprintf(stderr, "%s: %zu tests are longer than its context of %zu tokens and left out\n",
            m->name, gone, m->context);
    if (l->plan.n == 0)
        return failure_set(fail, ERR_CONTEXT, "%s: no test is left", m->name);
    return OK;
}

/* The loaded model has let go of its file. */
static error_code measure_rate(const loaded *l, team *threads, failure *fail)
{
    gguf *file;
    error_code code = gguf_open(&file, gguf_path(l->m->file), fail);
    if (code == OK)
        code = measure_multiply_rate(file, measure_main_type(file), threads, &l->out->multiply_rate,
                                     fail);
    gguf_close(file);
    return code;
}

static error_code make_subjects(const bench_options *o, team *threads, loaded *l, failure *fail)
{
    error_code code = OK;
    size_t positions = bench_plan_positions(&l->plan);
    if (o->timeline_path != NULL && positions <= TIMELINE_TOKENS)
        positions = TIMELINE_TOKENS + 1;
    if (o->prompt_path != NULL)
        code = token_file_read(o->prompt_path, l->m->config.n_vocab, &l->prompt, fail);
    if (code == OK && has_steps(&l->plan))
        code = measure_rate(l, threads, fail);
    for (size_t i = 0; code == OK && i < o->n_kv; i++) {
        const subject_options options = {.threads = threads,
                                         .kv = o->kv[i],
                                         .positions = positions,
                                         .prompt = l->prompt.ids,
                                         .n_prompt = l->prompt.length,
                                         .multiply_rate = l->out->multiply_rate,
                                         .filling = show_filling,
                                         .filling_context = l->out};
        code = subject_create(&l->subjects[i], l->m, &options, fail);
    }
    return code;
}

static error_code stage_model(stage *s, const bench_source *source, failure *fail)
{
    loaded *l = &s->models[s->n_models++];
    *l = (loaded){.out = &s->report->models[s->report->n_models++],
                  .synthetic = source->path == NULL};
    l->out->set = s->set;
    s->set->n_models = s->n_models;
    char path[BENCH_PATH_SIZE];
    const char *name = source->path == NULL ? source->synthetic.shape : source->path;
    utf8_printable(name, strlen(name), l->out->name, sizeof l->out->name);
    error_code code = bench_find_file(s->o, source, path, fail);
    if (code == OK && s->n_models > 1)
        code = check_room(path, fail);
    if (code == OK)
        code = load(s->o, l, path, fail);
    if (code == OK)
        code = choose_tests(s->o, l, fail);
    if (code == OK)
        code = make_subjects(s->o, s->threads, l, fail);
    s->set->steps = s->set->steps || has_steps(&l->plan);
    return code;
}

static void clear_stage(stage *s)
{
    read_peak_destroy(s->peak);
    for (size_t i = 0; i < s->n_models; i++) {
        loaded *l = &s->models[i];
        for (size_t j = 0; j < KV_TYPES; j++)
            subject_destroy(l->subjects[j]);
        token_list_free(&l->prompt);
        model_destroy(l->m);
    }
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* Every model's and every KV's same test stand beside one another. */
static error_code add_members(stage *s, const speed_test *test, failure *fail)
{
    for (size_t i = 0; i < s->n_models; i++) {
        const loaded *l = &s->models[i];
        if (!bench_plan_has(&l->plan, test))
            continue;
        for (size_t j = 0; j < s->o->n_kv; j++) {
            if (s->n_members == MAX_MEMBERS)
                return failure_set(fail, ERR_INVALID, "more than %d tests in turns", MAX_MEMBERS);
            s->members[s->n_members] = (speed_member){.subject = l->subjects[j], .test = *test};
            s->owners[s->n_members++] = l->out;
        }
    }
    return OK;
}

static error_code measure_members(stage *s, failure *fail)
{
    bench_report *report = s->report;
    bench_result *grown =
        reallocarray(report->results, report->n_results + s->n_members, sizeof *grown);
    speed_result *speeds = calloc(s->n_members, sizeof *speeds);
    if (grown != NULL)
        report->results = grown;
    if (grown == NULL || speeds == NULL) {
        free(speeds);
        return failure_set(fail, ERR_MEMORY, "no memory for %zu tests", s->n_members);
    }
    const group_options options = {.runs = (size_t)s->o->runs,
                                   .attempts = BENCH_MOST_ATTEMPTS,
                                   .peak = s->peak,
                                   .progress = show_run,
                                   .progress_context = s};
    error_code code = measure_group(s->members, s->n_members, &options, speeds, fail);
    progress_line("");
    for (size_t i = 0; i < s->n_members; i++) {
        bench_result *r = &report->results[report->n_results++];
        *r = (bench_result){s->owners[i], speeds[i]};
        if (code == OK && !s->o->json)
            bench_print_result(r, stdout);
    }
    fflush(stdout);
    free(speeds);
    return code;
}

static error_code measure_groups(stage *s, failure *fail)
{
    bench_plan all; /* of which a model may have left out what is too long for it */
    error_code code = bench_plan_parse(
        &all, s->o->tests == NULL ? BENCH_STANDARD_TESTS : s->o->tests, s->o->depths, fail);
    for (size_t i = 0; code == OK && i < all.n;) {
        size_t end = bench_plan_group_end(&all, i);
        s->n_members = 0;
        for (; code == OK && i < end; i++)
            code = add_members(s, &all.tests[i], fail);
        if (code == OK && s->n_members > 0)
            code = measure_members(s, fail);
    }
    return code;
}

static error_code survey(stage *s, double *gb_s, failure *fail)
{
    progress_line("read peak");
    error_code code = read_peak_survey(s->peak, gb_s, fail);
    progress_line("");
    return code;
}

static void note_memory(stage *s, size_t bytes)
{
    if (s->knows_memory && bytes > s->memory_peak)
        s->memory_peak = bytes;
}

/* The read peak's own memory is left out of the models' peak exactly: while the groups run all of
 * it is resident, from the reset to the reading, so that the peak is higher by just its size. */
static error_code measure_staged(stage *s, failure *fail)
{
    note_memory(s, memory_peak_bytes());
    error_code code = read_peak_create(&s->peak, s->threads, READ_PEAK_BYTES, fail);
    if (code == OK)
        code = survey(s, &s->set->peak_before, fail);
    if (code != OK)
        return code;
    read_peak_variant(s->peak, s->set->peak_variant);
    s->knows_memory = s->knows_memory && memory_peak_reset();
    code = measure_groups(s, fail);
    if (code != OK)
        return code;
    note_memory(s, memory_peak_bytes() - read_peak_bytes(s->peak));
    if (s->knows_memory && s->n_models == 1 && s->o->n_kv == 1)
        s->models[0].out->memory_peak = s->memory_peak;
    code = survey(s, &s->set->peak_after, fail);
    if (code == OK && !s->o->json)
        bench_print_peak(s->set, stdout);
    return code;
}

static error_code draw_models(stage *s, failure *fail)
{
    error_code code = OK;
    for (size_t i = 0; code == OK && s->timeline != NULL && i < s->n_models; i++)
        code = bench_timeline_add(s->timeline, s->models[i].subjects[0], s->models[i].out, fail);
    return code;
}

static error_code measure_set(stage *s, const bench_source *sources, size_t n, failure *fail)
{
    error_code code = OK;
    s->set = &s->report->sets[s->report->n_sets++];
    s->set->n_kv = s->o->n_kv;
    s->knows_memory = memory_peak_reset();
    for (size_t i = 0; code == OK && i < n; i++)
        code = stage_model(s, &sources[i], fail);
    if (code == OK && !s->o->json) {
        putchar('\n');
        for (size_t i = 0; i < n; i++)
            bench_print_model(s->o, s->models[i].out, stdout);
        bench_print_columns(s->set, stdout);
    }
    if (code == OK)
        code = measure_staged(s, fail);
    if (code == OK)
        code = draw_models(s, fail);
    clear_stage(s);
    return code;
}

static error_code measure_all(const bench_options *o, bench_report *report, failure *fail)
{
    team *threads = NULL;
    bench_timeline *timeline = NULL;
    stage *s = malloc(sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu models", o->n_models);
    error_code code = team_create(&threads, (int)o->threads, fail);
    if (code == OK && o->timeline_path != NULL)
        code = bench_timeline_create(&timeline, o->timeline_path, (int)o->threads, fail);
    if (code == OK && !o->json)
        bench_print_heading(o, stdout);
    size_t at_once = o->together ? o->n_models : 1;
    for (size_t i = 0; code == OK && i < o->n_models; i += at_once) {
        memset(s, 0, sizeof *s);
        s->o = o;
        s->report = report;
        s->threads = threads;
        s->timeline = timeline;
        code = measure_set(s, &o->models[i], at_once, fail);
    }
    if (code == OK && timeline != NULL)
        code = bench_timeline_write(timeline, fail);
    bench_timeline_destroy(timeline);
    team_destroy(threads);
    free(s);
    return code;
}

error_code bench_run(const bench_options *options, failure *fail)
{
    bench_plan tests; /* a mistake in --tests is said before a large model is loaded */
    error_code code =
        bench_plan_parse(&tests, options->tests == NULL ? BENCH_STANDARD_TESTS : options->tests,
                         options->depths, fail);
    if (code != OK)
        return code;
    bench_report *report = calloc(1, sizeof *report);
    if (report == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for a report");
    report->options = options;
    code = measure_all(options, report, fail);
    if (code == OK && options->json) {
        code = bench_print_json(report, stdout);
        if (code != OK)
            failure_set(fail, code, "cannot print the results: %s", error_code_text(code));
    }
    for (size_t i = 0; i < report->n_results; i++)
        speed_result_free(&report->results[i].speed);
    free(report->results);
    free(report);
    return code;
}
