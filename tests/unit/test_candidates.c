/* Templates and words for the probe: read from files of both forms, and compared on the demo's
 * small model by the built-in requests. */
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

#include "cli/builtin_requests.h"
#include "cli/compare.h"
#include "orchestra/orchestra.h"

/* ---- files ---------------------------------------------------------------------------------- */

static error_code read_text(probe_candidates *out, const char *text, failure *fail)
{
    char path[] = "/tmp/a-io-candidates-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    error_code code = probe_candidates_read(out, path, fail);
    unlink(path);
    return code;
}

static void expect_two(const char *text)
{
    probe_candidates list;
    failure fail;
    if (read_text(&list, text, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(list.n, 2);
    assert_string_equal(list.items[0].template, "{conversation}Kind \"of\" it:\n");
    assert_int_equal(list.items[0].n_words, 2);
    assert_string_equal(list.items[0].words[1], " b");
    assert_string_equal(list.items[1].words[2], " é");
    probe_candidates_free(&list);
}

static void test_both_forms(void **state)
{
    (void)state;
    expect_two("# candidates\n"
               "- template: \"{conversation}Kind \\\"of\\\" it:\\n\"\n"
               "  labels: [\" a\", \" b\"]\n"
               "- {template: \"{query}\", labels: [\" c\", \" d\", \" é\"]}\n");
    expect_two(
        "\n{\"template\": \"{conversation}Kind \\\"of\\\" it:\\n\", \"labels\": [\" a\", \" b\"]}\n"
        "\n"
        "{\"template\": \"{query}\", \"labels\": [\" c\", \" d\", \" \\u00e9\"]}");
}

static void test_refused_files(void **state)
{
    (void)state;
    static const struct {
        const char *text, *what;
    } cases[] = {
        {"", "lists nothing"},
        {"\n \n", "lists nothing"},
        {"[]", "entries"},
        {"- {template: x}", "labels"},
        {"- {labels: [a, b]}", "template"},
        {"- {template: x, labels: [a]}", "entries"},
        {"- {template: x, labels: [a, b], more: 1}", "line 1"},
        {"{\"template\": \"x\"\n", "line"},
        {"a: &x [*x]", "line"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        probe_candidates list;
        failure fail;
        assert_int_equal(read_text(&list, cases[i].text, &fail), ERR_CONFIG);
        if (strstr(fail.text, cases[i].what) == NULL || strstr(fail.text, "/tmp/a-io-") == NULL)
            fail_msg("case %zu: %s", i, fail.text);
        assert_null(list.items);
    }
    probe_candidates list;
    failure fail;
    assert_int_equal(probe_candidates_read(&list, "/nowhere/at/all", &fail), ERR_NOT_FOUND);
}

/* ---- the built-in requests ------------------------------------------------------------------- */

static void test_builtin(void **state)
{
    (void)state;
    static const char *const labels[] = {"code", "qa", "math"};
    size_t n_other = 0;
    for (size_t i = 0; i < BUILTIN_REQUESTS; i++) {
        const builtin_request *q = &builtin_requests[i];
        assert_string_equal(q->label, labels[i % 3]); /* folds have as many of each */
        assert_in_range(strlen(q->prompt), 10, 400);
        bool plain = true;
        for (const char *at = q->prompt; *at != '\0'; at++)
            plain = plain && (unsigned char)*at < 128;
        n_other += !plain;
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(q->prompt, builtin_requests[j].prompt);
    }
    assert_true(n_other >= 8); /* in other languages than English */
}

/* ---- comparing ------------------------------------------------------------------------------ */

typedef struct house {
    config *config;
    orchestra *orchestra;
    backend *small;
    labelled_requests requests;
} house;

static int open_house(void **state)
{
    static house h;
    failure fail;
    *state = &h;
    kernel_init(NULL, &fail);
    if (config_load(&h.config, "config/demo.yaml", &fail) != OK ||
        orchestra_create(&h.orchestra, h.config, (house_progress){.call = NULL}, &fail) != OK)
        return 1;
    h.small = orchestra_backend(h.orchestra, 0);
    return labelled_builtin(&h.requests, &fail) != OK ||
           labelled_fit(&h.requests, h.small, &fail) != OK;
}

static int close_house(void **state)
{
    house *h = *state;
    labelled_free(&h->requests);
    orchestra_destroy(h->orchestra);
    config_free(h->config);
    return 0;
}

static void judge(comparison *c, house *h)
{
    failure fail;
    if (comparison_ask(c, h->small, &fail) != OK || comparison_judge(c, &fail) != OK)
        fail_msg("%s", fail.text);
}

static void check_scores(const comparison *c)
{
    calibration_sample samples[BUILTIN_REQUESTS];
    double content_free[PROBE_MAX_LABELS];
    for (size_t i = 0; i < c->n_items; i++) {
        const candidate_score *s = &c->items[i].score;
        candidate_samples(c, &c->items[i], samples, content_free);
        double nll = calibration_held_out(CALIBRATION_BIAS, samples, c->n, 3, content_free);
        assert_true(s->nll == nll);
        assert_true(s->mass >= 0 && s->mass <= 1 + 1e-6);
        assert_true(s->nll >= c->items[c->best].score.nll - s->nll_error ||
                    s->nll <= c->items[c->best].score.nll);
    }
}

/* What the model was trained to be asked does better than what it was not, and what is no token is
 * counted. */
static void test_list(void **state)
{
    house *h = *state;
    char *labels[] = {" code", " qa", " math"}, *swapped[] = {" qa", " math", " code"};
    char *strange[] = {" code", " qa", " metamorphosis"};
    probe_candidate items[] = {
        {"{conversation}This is a question about", labels, 3},
        {"{conversation}Intent:", swapped, 3},
        {"{conversation}Intent:", strange, 3},
        {"{conversation}Intent:", labels, 3},
        {"no placeholder", labels, 3},
    };
    const probe_candidates list = {items, 5};
    comparison c;
    choice_score choice;
    failure fail;
    comparison_init(&c, &h->requests, h->requests.n, 256, 60);
    if (comparison_take_list(&c, &list, h->small, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(c.n_refused, 2);
    assert_non_null(strstr(c.refusal.text, "metamorphosis"));
    assert_int_equal(c.n_sheets, 2); /* one template is asked once, whatever the words */
    judge(&c, h);
    check_scores(&c);
    assert_string_equal(candidate_word(&c, &c.items[c.best], 0), " code");
    assert_string_equal(candidate_template(&c, &c.items[c.best]), "{conversation}Intent:");
    assert_true(c.items[c.best].score.mass > 0.9);
    assert_int_equal(comparison_judge_choice(&c, &choice, &fail), OK);
    assert_true(choice.right >= 0.6 && choice.right <= 1);
    comparison_free(&c);
}

static void test_open_template(void **state)
{
    house *h = *state;
    static const char *const code[] = {" code", " metamorphosis", NULL};
    static const char *const qa[] = {" qa", " code", NULL}; /* taken already */
    static const char *const math[] = {" math", NULL}, *const none[] = {"zzzzqqq", NULL};
    const char *const *words[] = {code, qa, math}, *const * unsaid[] = {code, none, math};
    comparison c;
    failure fail;
    comparison_init(&c, &h->requests, h->requests.n, 256, 60);
    assert_int_equal(comparison_take_template(&c, "{conversation}Intent:", words, h->small, &fail),
                     OK);
    assert_int_equal(comparison_take_template(&c, "{conversation}Kind:", unsaid, h->small, &fail),
                     OK);
    assert_int_equal(c.n_sheets, 1);
    assert_int_equal(c.n_refused, 1);
    assert_non_null(strstr(c.refusal.text, "label 'qa'"));
    judge(&c, h);
    assert_int_equal(c.n_items, 1);
    check_scores(&c);
    comparison_free(&c);
}

static void test_wrong_number_of_words(void **state)
{
    house *h = *state;
    char *labels[] = {" code", " qa"};
    probe_candidate item = {"{conversation}Intent:", labels, 2};
    comparison c;
    failure fail;
    comparison_init(&c, &h->requests, h->requests.n, 256, 60);
    const probe_candidates list = {&item, 1};
    assert_int_equal(comparison_take_list(&c, &list, h->small, &fail), ERR_CONFIG);
    assert_non_null(strstr(fail.text, "words for 2 labels; there are 3"));
    comparison_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms),    cmocka_unit_test(test_refused_files),
        cmocka_unit_test(test_builtin),       cmocka_unit_test(test_list),
        cmocka_unit_test(test_open_template), cmocka_unit_test(test_wrong_number_of_words),
    };
    return cmocka_run_group_tests(tests, open_house, close_house);
}
