/* test_forward.c: a step that pauses gives what an undisturbed one gives, while other steps of the
 * same model run in its pauses. Uses the demo pair. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/kv.h"
#include "model/forward.h"

enum { ROWS = 48, POSITIONS = 64, MOST_PAUSES = 100000 };

static const char *const models[] = {"models/demo/small.gguf", "models/demo/large.gguf"};

typedef struct fixture {
    model *m;
    team *threads;
    forward *step, *urgent;
    kv_cache *kv;
    kv_slot *slots[2];
    forward_row rows[ROWS];
    size_t n_vocab;
} fixture;

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

static void make_fixture(fixture *x, const char *path, int n_threads)
{
    failure fail;
    const model_options options = {0};
    must(model_load(&x->m, path, &options, &fail), &fail);
    must(team_create(&x->threads, n_threads, &fail), &fail);
    must(forward_create(&x->step, x->m, n_threads, ROWS, ROWS, &fail), &fail);
    must(forward_create(&x->urgent, x->m, n_threads, 2, 2, &fail), &fail);
    must(kv_create(&x->kv, &x->m->config, KV_F16, POSITIONS, POSITIONS, 2, &fail), &fail);
    int32_t token = 0;
    for (size_t i = 0; i < 2; i++)
        x->slots[i] = kv_acquire(x->kv, &token, 1);
    x->n_vocab = x->m->config.n_vocab;
    for (size_t i = 0; i < ROWS; i++)
        x->rows[i] = (forward_row){(int32_t)((7 * i + 3) % x->n_vocab), (uint32_t)i,
                                   &x->slots[0]->view, i % 5 == 0 ? WANT_LOGITS : WANT_NOTHING};
}

static void free_fixture(fixture *x)
{
    for (size_t i = 0; i < 2; i++)
        kv_release(x->kv, x->slots[i]);
    kv_destroy(x->kv);
    forward_destroy(x->urgent);
    forward_destroy(x->step);
    team_destroy(x->threads);
    model_destroy(x->m);
}

typedef struct disturber {
    atomic_bool pause, end;
} disturber;

/* Wants a pause again and again, at no particular place. */
static void *disturb(void *context)
{
    disturber *d = context;
    while (!atomic_load(&d->end)) {
        atomic_store(&d->pause, true);
        usleep(1);
    }
    return NULL;
}

static void check_pauses(const char *path, int n_threads)
{
    fixture x;
    make_fixture(&x, path, n_threads);
    enum { OUTPUTS = (ROWS + 4) / 5 };
    size_t bytes = OUTPUTS * x.n_vocab * sizeof(float);
    float *expected = malloc(bytes);
    assert_non_null(expected);
    forward_step(x.step, x.threads, x.rows, ROWS);
    memcpy(expected, forward_logits(x.step, 0), bytes);

    const forward_row other[2] = {{1, 0, &x.slots[1]->view, WANT_LOGITS},
                                  {2, 1, &x.slots[1]->view, WANT_LOGITS}};
    disturber d;
    atomic_init(&d.pause, true); /* the first pause comes before the first piece */
    atomic_init(&d.end, false);
    size_t pauses = 0;
    forward_begin(x.step, x.rows, ROWS);
    assert_false(forward_run(x.step, x.threads, &d.pause));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, disturb, &d), 0);
    do {
        forward_step(x.urgent, x.threads, other, 2);
        atomic_store(&d.pause, false);
    } while (!forward_run(x.step, x.threads, &d.pause) && ++pauses < MOST_PAUSES);
    atomic_store(&d.end, true);
    pthread_join(thread, NULL);
    assert_memory_equal(expected, forward_logits(x.step, 0), bytes);
    printf("%s, %d threads: %zu pauses\n", path, n_threads, pauses + 1);
    free(expected);
    free_fixture(&x);
}

static void test_pauses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads++)
            check_pauses(models[i], n_threads);
}

/* Random choices of one output in four, half of them within few groups of rows. */
typedef struct choices {
    uint32_t *bits; /* of each output, n_words */
    size_t n_words;
    size_t absent; /* the output that has none; SIZE_MAX: all have one */
} choices;

static const uint32_t *choose(void *context, size_t index)
{
    const choices *c = context;
    return index == c->absent ? NULL : c->bits + index * c->n_words;
}

static void fill_choices(choices *c, size_t outputs, size_t n_vocab)
{
    for (size_t i = 0; i < outputs * c->n_words; i++)
        c->bits[i] = 0;
    for (size_t i = 0; i < 40; i++) {
        size_t token = (i * i * 97 + i) % n_vocab;
        c->bits[i % outputs * c->n_words + token / 32] |= 1u << token % 32;
    }
    for (size_t output = 0; output < outputs; output++) /* the vocabulary's last one, too */
        c->bits[output * c->n_words + (n_vocab - 1) / 32] |= 1u << (n_vocab - 1) % 32;
}

static void check_chosen(const fixture *x, const choices *c, size_t outputs, const float *expected)
{
    for (size_t i = 0; i < outputs * x->n_vocab; i++) {
        size_t output = i / x->n_vocab, token = i % x->n_vocab;
        const uint32_t *bits = c->bits + output * c->n_words;
        if (c->absent < outputs || (bits[token / 32] >> token % 32 & 1) != 0)
            assert_memory_equal(forward_logits(x->step, output) + token, expected + i,
                                sizeof(float));
    }
}

/* Logits that were chosen have the bits that they have among all, and the others are not computed;
 * if one output wants all, so do the others. */
static void check_choices(const char *path, int n_threads)
{
    fixture x;
    make_fixture(&x, path, n_threads);
    enum { OUTPUTS = (ROWS + 4) / 5 };
    size_t bytes = OUTPUTS * x.n_vocab * sizeof(float), head = matrix_bytes(x.m->output);
    choices c = {.n_words = (x.n_vocab + 31) / 32};
    float *expected = malloc(bytes);
    c.bits = malloc(OUTPUTS * c.n_words * sizeof *c.bits);
    assert_non_null(expected);
    assert_non_null(c.bits);
    forward_step(x.step, x.threads, x.rows, ROWS);
    assert_int_equal(forward_skipped_bytes(x.step), 0);
    memcpy(expected, forward_logits(x.step, 0), bytes);
    fill_choices(&c, OUTPUTS, x.n_vocab);
    for (size_t pass = 0; pass < 2; pass++) {
        c.absent = pass == 0 ? SIZE_MAX : 3;
        memset(forward_logits(x.step, 0), 0xff, bytes);
        forward_begin(x.step, x.rows, ROWS);
        forward_choose_logits(x.step, choose, &c);
        assert_true(forward_run(x.step, x.threads, NULL));
        check_chosen(&x, &c, OUTPUTS, expected);
        size_t skipped = forward_skipped_bytes(x.step);
        size_t most = 41 * MATRIX_ROW_GROUP < x.n_vocab ? x.n_vocab - 41 * MATRIX_ROW_GROUP : 0;
        assert_true(pass == 1 ? skipped == 0 : skipped < head);
        assert_true(pass == 1 ||
                    skipped >= (size_t)((double)head * (double)most / (double)x.n_vocab));
    }
    forward_step(x.step, x.threads, x.rows, ROWS); /* a choice is one step's */
    assert_memory_equal(forward_logits(x.step, 0), expected, bytes);
    free(c.bits);
    free(expected);
    free_fixture(&x);
}

static void test_choices(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        for (int n_threads = 1; n_threads <= 3; n_threads++)
            check_choices(models[i], n_threads);
}

static void test_nothing_to_do(void **state)
{
    (void)state;
    fixture x;
    make_fixture(&x, models[0], 2);
    atomic_bool pause;
    atomic_init(&pause, true);
    forward_begin(x.step, x.rows, 0);
    assert_true(forward_run(x.step, x.threads, &pause));
    free_fixture(&x);
}

int main(void)
{
    failure fail;
    if (kernel_init(NULL, &fail) != OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pauses),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_nothing_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
