/* Heads that decide, on the demo pair: what they say is what the states say, one pass serves both
 * and the answer, a second pass is run only where the first has not decided, and the log can be
 * decided again. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "evidence/redecide.h"
#include "orchestra/calibration_file.h"
#include "orchestra/describe.h"
#include "orchestra/online_limit.h"

#define MODELS                                                                                     \
    "version: 1\nmodels:\n  - {name: small, role: small, path: models/demo/small.gguf}\n"          \
    "  - {name: large, role: large, path: models/demo/large.gguf}\n"
#define LIKELY                                                                                     \
    "policy:\n  name: rules\n  sticky: false\n  rules:\n"                                          \
    "    - {name: poor, below_success: 0.5, model: large}\n"                                       \
    "    - {name: likely, likely: true, model: small}\n"                                           \
    "    - {name: code, intent: code, model: small, lookup: off}\n"

typedef struct stage {
    config *config;
    orchestra *orchestra;
} stage;

static char heads_path[64], log_path[64];

/* ---- a file with heads ----------------------------------------------------------------------- */

/* Both read a little of the state; the bias makes label `favoured` the likelier one by so much. */
static void fill(linear_head *h, size_t n_labels, size_t width, size_t layer, size_t favoured,
                 double by)
{
    assert_int_equal(head_create(h, n_labels, width, NULL), OK);
    h->layer = layer;
    for (size_t i = 0; i < n_labels * width; i++)
        h->weights[i] = (float)(sin((double)i) / 1000);
    h->bias[favoured] = by;
}

static void write_heads(size_t kind_layer, size_t success_layer, double success, limit_goal goal,
                        double limit)
{
    config *c;
    model *small;
    failure fail;
    head_record kind = {.n_fitted = 0};
    head_record right = {.limits = {.goal = goal,
                                    .n = goal != LIMIT_NONE,
                                    .targets = {0.05},
                                    .effects = {{.limit = limit, .n = 100, .n_small = 50}}}};
    const model_options options = {.chat_template = NULL};
    assert_int_equal(config_parse(&c, MODELS, strlen(MODELS), "x", &fail), OK);
    assert_int_equal(model_load(&small, "models/demo/small.gguf", &options, &fail), OK);
    fill(&kind.head, 3, small->config.n_embd, kind_layer, 0, 2);
    fill(&right.head, SUCCESS_LABELS, small->config.n_embd, success_layer, SUCCESS_RIGHT,
         log(success / (1 - success)));
    const calibration_parts parts = {.kind = &kind, .success = &right};
    assert_int_equal(calibration_file_write(heads_path, &parts, c, small, &fail), OK);
    head_record_free(&kind);
    head_record_free(&right);
    model_destroy(small);
    config_free(c);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void open_stage(stage *s, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void open_stage(stage *s, const char *format, ...)
{
    char text[4096];
    failure fail;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (config_parse(&s->config, text, strlen(text), "x", &fail) != OK ||
        orchestra_create(&s->orchestra, s->config, (house_progress){.call = NULL}, &fail) != OK ||
        orchestra_open_log(s->orchestra, &fail) != OK)
        fail_msg("%s", fail.text);
}

static void close_stage(stage *s)
{
    orchestra_destroy(s->orchestra);
    config_free(s->config);
}

static run *ask(stage *s, const char *text, const char *id, bool decide_only)
{
    run *r;
    failure fail;
    chat_message message = {.role = "user", .content = text, .content_length = strlen(text)};
    const request q = {
        .messages = &message, .n_messages = 1, .sampling = sampling_defaults(), .max_tokens = 4};
    const run_options options = {.decide_only = decide_only, .id = id};
    if (orchestra_submit(s->orchestra, &q, &options, (wakeup){.call = NULL}, &r, &fail) != OK)
        fail_msg("%s", fail.text);
    while (run_poll(r, NULL, NULL) != RUN_FINISHED) {
        if (run_poll(r, NULL, NULL) == RUN_FAILED)
            fail_msg("%s", run_failure(r)->text);
        run_wait(r);
    }
    return r;
}

static size_t probes(const stage *s)
{
    orchestra_counts counts;
    orchestra_read_counts(s->orchestra, &counts);
    return counts.probes;
}

static const char question[] =
    "Write a Python function add_numbers(a, b) that returns the sum of a and b.";

/* ---- what they say --------------------------------------------------------------------------- */

/* The states of the question, as the backend gives them; n floats are kept. */
static void read_state(stage *s, uint32_t layer, float *out)
{
    chat_message message = {
        .role = "user", .content = question, .content_length = strlen(question)};
    const request q = {.messages = &message, .n_messages = 1, .sampling = sampling_defaults()};
    backend *small = orchestra_backend(s->orchestra, 0);
    const embedding_request wanted = {.layers = &layer, .n_layers = 1, .pooling = EMBEDDING_LAST};
    prepared_prompt *p;
    embedding_job *job;
    embedding_result result;
    assert_int_equal(backend_prepare(small, &q, &p, NULL), OK);
    assert_int_equal(backend_embed(small, p, &wanted, (wakeup){.call = NULL}, &job, NULL), OK);
    do {
        usleep(1000);
        assert_int_equal(embedding_poll(job, &result), OK);
    } while (result.state == WORK_RUNNING);
    assert_int_equal(result.state, WORK_FINISHED);
    memcpy(out, result.states, backend_state_width(small) * sizeof *out);
    embedding_release(job);
    prompt_destroy(p);
}

/* Whichever of the layers is the deeper one, and both the same. */
static void test_heads_read_their_layers(void **state)
{
    (void)state;
    static const size_t layers[][2] = {{1, 3}, {3, 1}, {2, 2}};
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        stage s;
        float hidden[4096];
        linear_head kind, right;
        double z[3];
        write_heads(layers[i][0], layers[i][1], 0.8, LIMIT_WRONG, 0.7);
        open_stage(&s,
                   MODELS "probe: {kind: learned, calibration: %s}\n"
                          "success: {calibration: %s}\n" LIKELY,
                   heads_path, heads_path);
        run *r = ask(&s, question, "1", true);
        const intent *known = run_intent(r);
        size_t width = backend_state_width(orchestra_backend(s.orchestra, 0));
        fill(&kind, 3, width, layers[i][0], 0, 2);
        fill(&right, 2, width, layers[i][1], SUCCESS_RIGHT, log(0.8 / (1 - 0.8)));
        read_state(&s, (uint32_t)layers[i][0], hidden);
        assert_int_equal(head_apply(&kind, hidden, z, NULL), OK);
        assert_true(known->known && known->calibrated && known->n_labels == 3);
        for (size_t k = 0; k < 3; k++)
            assert_true(known->logits[k] == (float)z[k]);
        assert_true(known->probabilities[0] > known->probabilities[1]);
        read_state(&s, (uint32_t)layers[i][1], hidden);
        assert_int_equal(head_apply(&right, hidden, z, NULL), OK);
        assert_true(run_plan(r)->success == 1 / (1 + exp(z[0] - z[1])));
        assert_int_equal(probes(&s), 1); /* one pass for both */
        json_t *told = decision_json(r);
        assert_true(json_real_value(json_object_get(json_object_get(told, "plan"), "success")) > 0);
        json_decref(told);
        run_release(r);
        head_free(&kind);
        head_free(&right);
        close_stage(&s);
    }
}

/* ---- what they cost -------------------------------------------------------------------------- */

static void test_answer_takes_over_the_pass(void **state)
{
    (void)state;
    stage s;
    write_heads(2, 3, 0.9, LIMIT_WRONG, 0.6);
    open_stage(&s,
               MODELS "probe: {kind: learned, calibration: %s}\n"
                      "success: {calibration: %s}\n" LIKELY,
               heads_path, heads_path);
    run *r = ask(&s, question, "1", false);
    const receipt *cost = run_receipt(r);
    assert_string_equal(run_plan(r)->rule, "likely");
    assert_int_equal(cost->probe.prompt_tokens, cost->reply.prompt_tokens);
    assert_int_equal(cost->reply.cached_tokens, cost->reply.prompt_tokens - 1);
    run_release(r);
    close_stage(&s);
}

static void test_second_pass_only_where_needed(void **state)
{
    (void)state;
    stage s;
    run *r;
    const char *both = MODELS "success: {calibration: %s}\n"
                              "probe: {window_head: 200, window_tail: 60}\n" LIKELY;
    /* Unlikely: the first rule decides, and nobody asks for the intent. */
    write_heads(2, 2, 0.2, LIMIT_WRONG, 0.6);
    open_stage(&s, both, heads_path);
    r = ask(&s, question, "1", true);
    assert_string_equal(run_plan(r)->rule, "poor");
    assert_int_equal(run_plan(r)->fallback, FALLBACK_SUCCESS);
    assert_false(run_intent(r)->known);
    assert_int_equal(probes(&s), 1);
    run_release(r);
    close_stage(&s);
    /* In between: the label tokens are asked, and find the first pass's prefix. */
    write_heads(2, 2, 0.6, LIMIT_WRONG, 0.9);
    open_stage(&s, both, heads_path);
    r = ask(&s, question, "1", true);
    assert_string_equal(run_plan(r)->rule, "code");
    assert_true(run_intent(r)->known);
    assert_true(!isnan(run_plan(r)->success));
    assert_int_equal(probes(&s), 2);
    assert_true(run_receipt(r)->probe.cached_tokens + 8 > run_plan(r)->prompt_tokens);
    run_release(r);
    close_stage(&s);
}

static void test_kept_with_the_intent(void **state)
{
    (void)state;
    stage s;
    write_heads(2, 2, 0.9, LIMIT_WRONG, 0.6);
    open_stage(&s,
               MODELS "probe: {kind: learned, calibration: %s, cache: 4}\n"
                      "success: {calibration: %s}\n" LIKELY,
               heads_path, heads_path);
    run *first = ask(&s, question, "1", true), *again = ask(&s, question, "2", true);
    assert_int_equal(probes(&s), 1);
    assert_true(run_intent(again)->cached);
    assert_true(run_plan(again)->success == run_plan(first)->success);
    assert_string_equal(run_plan(again)->rule, "likely");
    run_release(first);
    run_release(again);
    close_stage(&s);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void test_too_long_for_states(void **state)
{
    (void)state;
    stage s;
    char text[4000];
    memset(text, 'a', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2)
        text[i] = ' ';
    text[sizeof text - 1] = '\0';
    write_heads(2, 2, 0.9, LIMIT_WRONG, 0.6);
    open_stage(&s, MODELS "success: {calibration: %s}\n" LIKELY, heads_path);
    chat_message message = {.role = "user", .content = text, .content_length = strlen(text)};
    const request q = {.messages = &message, .n_messages = 1, .sampling = sampling_defaults()};
    run *r;
    failure fail;
    error_code code = orchestra_submit(s.orchestra, &q, &(run_options){.decide_only = true},
                                       (wakeup){.call = NULL}, &r, &fail);
    assert_int_equal(probes(&s), 0);
    if (code == OK) {
        assert_string_equal(run_plan(r)->rule, "long_context");
        assert_true(isnan(run_plan(r)->success));
        run_release(r);
    } else
        assert_int_equal(code, ERR_CONTEXT); /* nor does the large model hold it */
    close_stage(&s);
}

static void test_limit_that_moves(void **state)
{
    (void)state;
    stage s;
    failure fail;
    online_limit_lesson lesson;
    write_heads(2, 2, 0.75, LIMIT_WRONG, 0.7);
    open_stage(&s,
               MODELS "probe: {kind: learned, calibration: %s}\n"
                      "success: {calibration: %s, online: {step: 0.2}}\n"
                      "decisions: {file: %s}\n" LIKELY,
               heads_path, heads_path, log_path);
    online_limit *doubt = routing_online_doubt(orchestra_routing(s.orchestra));
    assert_non_null(doubt);
    run *r = ask(&s, question, "a", true);
    assert_string_equal(run_plan(r)->rule, "likely");
    run_release(r);
    /* It was wrong: by 0.2 · (1 - 0.05) more is asked for. */
    assert_int_equal(online_limit_tell(doubt, "a", 1 - SUCCESS_RIGHT, &lesson, &fail), OK);
    assert_true(lesson.misrouted && fabs(1 - lesson.limit - 0.89) < 1e-9);
    r = ask(&s, question, "b", true);
    assert_string_equal(run_plan(r)->rule, "code");
    run_release(r);
    close_stage(&s);
    redecided again;
    if (redecide_log(log_path, &again, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(again.decisions, 2);
    if (again.same != 2)
        fail_msg("%s", again.first);
}

static void refused(const char *text, const char *what)
{
    stage s = {.config = NULL};
    failure fail;
    assert_int_equal(config_parse(&s.config, text, strlen(text), "x", &fail), OK);
    error_code code =
        orchestra_create(&s.orchestra, s.config, (house_progress){.call = NULL}, &fail);
    assert_int_equal(code, ERR_CONFIG);
    if (strstr(fail.text, what) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", fail.text, what);
    config_free(s.config);
}

static void test_refused(void **state)
{
    (void)state;
    char text[2048];
    write_heads(2, 2, 0.75, LIMIT_LOSS, 0.7);
    snprintf(text, sizeof text, MODELS "success: {calibration: %s, online: {step: 0.2}}\n" LIKELY,
             heads_path);
    refused(text, "calibrate with --max-wrong");
    write_heads(2, 2, 0.75, LIMIT_NONE, 0);
    snprintf(text, sizeof text, MODELS "success: {calibration: %s}\n" LIKELY, heads_path);
    refused(text, "the success limit is not known here");
    snprintf(text, sizeof text, MODELS "probe: {calibration: %s}\n", heads_path);
    refused(text, "no part \"probe\"");
    snprintf(text, sizeof text,
             MODELS "probe: {kind: learned, calibration: %s, labels: [{name: code}, {name: b}]}\n",
             heads_path);
    refused(text, "for 3 labels, 2 are needed");
}

static int open_house(void **state)
{
    (void)state;
    failure fail;
    kernel_init(NULL, &fail);
    snprintf(heads_path, sizeof heads_path, "/tmp/a-io-heads-XXXXXX");
    snprintf(log_path, sizeof log_path, "/tmp/a-io-heads-log-XXXXXX");
    close(mkstemp(heads_path));
    close(mkstemp(log_path));
    return 0;
}

static int close_house(void **state)
{
    (void)state;
    unlink(heads_path);
    unlink(log_path);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads_read_their_layers),
        cmocka_unit_test(test_answer_takes_over_the_pass),
        cmocka_unit_test(test_second_pass_only_where_needed),
        cmocka_unit_test(test_kept_with_the_intent),
        cmocka_unit_test(test_too_long_for_states),
        cmocka_unit_test(test_limit_that_moves),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
