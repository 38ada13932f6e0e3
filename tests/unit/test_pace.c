/* What a step is expected to take, learned from steps of a machine whose true costs are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>

#include "engine/pace.h"
#include "engine/sample.h"

/* A machine: like pangu-1b Q4_0 on the one of docs/speed.md. */
typedef struct machine {
    double read_ms, kv_ms, row_ms, pair_ms; /* of all weights; of a byte of KV; of a row; a pair */
    double noise;                           /* of a step's time, to both sides */
    double held_up;                         /* every tenth step takes so many times its time */
    uint64_t seed;
} machine;

static const machine typical = {12.0, 2e-8, 1.4, 4.6e-4, 0, 1, 1};

static const model shape = {
    .config = {.n_layers = 26,
               .n_embd = 1536,
               .n_ff = 6144,
               .n_heads = 12,
               .n_kv_heads = 6,
               .head_dim = 128},
    .weight_bytes = 650000000,
};

static double true_ms(const machine *m, const step_work *w)
{
    return w->kv_bytes * m->kv_ms + fmax(m->read_ms, (double)w->rows * m->row_ms) +
           w->pairs * m->pair_ms;
}

static double run_ms(machine *m, const step_work *w)
{
    uint64_t n = m->seed++;
    double swing = 1 + m->noise * (2 * random_uniform(1, 0, n) - 1);
    return true_ms(m, w) * swing * (random_uniform(1, 1, n) < 0.1 ? m->held_up : 1);
}

static step_work decode(size_t rows)
{
    return (step_work){.rows = rows, .kv_bytes = 32e6 * (double)rows};
}

/* The step with the largest piece of a prompt at this depth that is expected to end in time. */
static step_work fill(const pace *p, size_t decoding, size_t depth, double ms)
{
    step_work w = decode(decoding), next = w;
    do {
        w = next;
        next = step_work_add_prompt(w, depth, 1);
    } while (pace_predict(p, &next) <= ms && next.prompt_rows <= 512);
    return w.prompt_rows < 8 ? step_work_add_prompt(decode(decoding), depth, 8) : w;
}

typedef struct prefilled {
    size_t steps;
    double ms, longest_ms;
} prefilled;

/* A prompt beside four decoding sequences, as the step loop does it. */
static prefilled run_prompt(pace *p, machine *m, size_t n, double budget_ms)
{
    prefilled out = {0};
    for (size_t depth = 0; depth < n;) {
        step_work w = fill(p, 4, depth, budget_ms);
        double ms = run_ms(m, &w);
        out.longest_ms = fmax(out.longest_ms, true_ms(m, &w));
        out.ms += ms;
        out.steps++;
        depth += w.prompt_rows;
        pace_learn(p, &w, ms);
    }
    return out;
}

static pace start(machine *m)
{
    pace p;
    pace_init(&p, &shape);
    const step_work prompt = step_work_add_prompt((step_work){0}, 0, 16), one = {.rows = 1};
    pace_learn(&p, &prompt, run_ms(m, &prompt));
    for (int i = 0; i < 10; i++) {
        const step_work four = decode(4);
        pace_learn(&p, &one, run_ms(m, &one));
        pace_learn(&p, &four, run_ms(m, &four));
    }
    return p;
}

static void test_nothing_known(void **state)
{
    (void)state;
    pace p;
    pace_init(&p, &shape);
    const step_work w = step_work_add_prompt(decode(1), 100, 32);
    assert_true(pace_predict(&p, &w) == 0);
    pace_learn(&p, &(step_work){.rows = 1}, 12.0);
    assert_true(pace_predict(&p, &w) > 12.0 && pace_predict(&p, &w) < 12.0 * 33);
}

/* A prompt's rows see all before them, themselves too. */
static void test_pairs(void **state)
{
    (void)state;
    step_work w = step_work_add_prompt((step_work){0}, 0, 3);
    assert_true(w.pairs == 1 + 2 + 3);
    w = step_work_add_prompt(w, 10, 2);
    assert_true(w.pairs == 6 + 11 + 12);
    assert_int_equal(w.rows, 5);
    assert_int_equal(w.prompt_rows, 5);
}

/* Steps keep to the budget and use it, from the prompt's start to its end. */
static void test_fills_the_budget(void **state)
{
    (void)state;
    machine m = typical;
    pace p = start(&m);
    prefilled got = run_prompt(&p, &m, 8192, 100);
    assert_true(got.longest_ms < 120);
    assert_true(got.ms / (double)got.steps > 90);
}

/* Noise on both sides, and steps that something else holds up: what is expected stays near what is
 * true, and does not creep away from it over thousands of steps. */
static void test_noise_does_not_ratchet(void **state)
{
    (void)state;
    machine m = typical;
    m.noise = 0.15;
    m.held_up = 3;
    pace p = start(&m);
    for (int i = 0; i < 8; i++) {
        prefilled got = run_prompt(&p, &m, 8192, 100);
        assert_true(got.longest_ms < 150);
        const step_work w = step_work_add_prompt(decode(4), 4096, 24);
        double ratio = pace_predict(&p, &w) / true_ms(&m, &w);
        assert_true(ratio > 0.85 && ratio < 1.25);
    }
}

/* Memory and processor become slower, and fast again. */
static void test_follows_the_machine(void **state)
{
    (void)state;
    machine m = typical, slow = typical;
    pace p = start(&m);
    slow.read_ms *= 1.6;
    slow.row_ms *= 1.6;
    slow.pair_ms *= 1.6;
    run_prompt(&p, &slow, 2048, 100);
    assert_true(run_prompt(&p, &slow, 2048, 100).longest_ms < 125);
    run_prompt(&p, &m, 2048, 100);
    prefilled got = run_prompt(&p, &m, 2048, 100);
    assert_true(got.ms / (double)got.steps > 85 && got.longest_ms < 125);
}

/* Steps that the weights limit say nothing of a row's cost, but that it is no more. */
static void test_few_rows(void **state)
{
    (void)state;
    machine m = typical;
    m.row_ms = 0.2; /* sixty rows in the time of a read */
    pace p = start(&m);
    for (int i = 0; i < 2000; i++) {
        const step_work w = step_work_add_prompt(decode(1), 0, 8);
        pace_learn(&p, &w, run_ms(&m, &w) * (i % 2 == 0 ? 1.1 : 0.9));
    }
    prefilled got = run_prompt(&p, &m, 4096, 100);
    assert_true(got.longest_ms < 150 && got.ms / (double)got.steps > 60);
}

/* Quick replies: the budget. Slower ones: ten times their own step, and never more than four
 * budgets. */
static void test_prompts_beside_replies(void **state)
{
    (void)state;
    machine m = typical;
    pace p = start(&m);
    const step_work none = {0}, four = decode(4);
    double own_ms = pace_predict(&p, &four);
    assert_true(own_ms > 0 && pace_mixed_ms(&p, &none, 100) == 100);
    assert_true(pace_mixed_ms(&p, &four, 20 * own_ms) == 21 * own_ms);
    assert_true(fabs(pace_mixed_ms(&p, &four, 5 * own_ms) / own_ms - 10) < 1e-9);
    assert_true(pace_mixed_ms(&p, &four, own_ms) == 5 * own_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompts_beside_replies),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_fills_the_budget),
        cmocka_unit_test(test_noise_does_not_ratchet),
        cmocka_unit_test(test_follows_the_machine),
        cmocka_unit_test(test_few_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
