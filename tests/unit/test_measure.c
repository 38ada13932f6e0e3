/* The measuring room. Speeds are not asserted, only that what is measured is what was asked: the
 * same tokens for every number of rows and threads, and the right bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "kernel/kernel.h"
#include "measure/measure.h"
#include "model/forward.h"
#include "sanitized.h"

#define SMALL_MODEL "models/demo/small.gguf"
#define SMALL_PEAK ((size_t)16 << 20) /* bytes: enough for the code, not for a figure */

static failure fail;

static void expect_ok(error_code code)
{
    if (code != OK)
        fail_msg("%s", fail.text);
}

/* ---- statistics ----------------------------------------------------------------------------- */

static void spread_is_low_median_high(void **state)
{
    (void)state;
    const double odd[] = {5, 1, 4}, even[] = {8, 2, 4, 6}, one[] = {3};
    spread s = spread_of(odd, 3);
    assert_true(s.low == 1 && s.median == 4 && s.high == 5);
    s = spread_of(even, 4);
    assert_true(s.low == 2 && s.median == 5 && s.high == 8);
    s = spread_of(one, 1);
    assert_true(s.low == 3 && s.median == 3 && s.high == 3);
    assert_true(odd[0] == 5);
}

static void hash_is_fnv_1a(void **state)
{
    (void)state;
    assert_true(token_hash(NULL, 0) == 0xcbf29ce484222325u);
    const int32_t ids[] = {0x626f6f66, 0x61627261};
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *c = "foobarba"; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    assert_true(token_hash(ids, 2) == hash);
    const int32_t swapped[] = {0x61627261, 0x626f6f66};
    assert_true(token_hash(swapped, 2) != hash);
}

/* ---- memory --------------------------------------------------------------------------------- */

/* Thread sanitizer keeps a shadow of all that is touched. */
#if SANITIZES_THREADS
#define EXACT_MEMORY false
#else
#define EXACT_MEMORY true
#endif

/* The survey's memory is there as a whole, and goes. */
static void read_peak_is_measured(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n++) {
        team *t;
        read_peak *p;
        double gb_s = 0;
        char variant[READ_PEAK_VARIANT_SIZE];
        expect_ok(team_create(&t, n, &fail));
        expect_ok(read_peak_create(&p, t, SMALL_PEAK, &fail));
        assert_true(read_peak_bytes(p) >= SMALL_PEAK);
        assert_true(read_peak_bytes(p) < SMALL_PEAK + (size_t)n * (2 << 20));
        size_t without = memory_resident_bytes();
        for (int again = 0; again < 2; again++) {
            expect_ok(read_peak_survey(p, &gb_s, &fail));
            assert_true(gb_s > 0.01);
            assert_true(read_peak_repeat(p) > 0.01);
            read_peak_variant(p, variant);
            assert_non_null(strstr(variant, " pages"));
            size_t with = memory_resident_bytes();
            assert_true(with >= without + read_peak_bytes(p));
            assert_true(!EXACT_MEMORY || with < without + read_peak_bytes(p) + (2 << 20));
        }
        read_peak_destroy(p);
        assert_true(!EXACT_MEMORY || memory_resident_bytes() < without + (2 << 20));
        team_destroy(t);
    }
    read_peak_destroy(NULL);
}

static void memory_is_known(void **state)
{
    (void)state;
    assert_true(memory_resident_bytes() > 1 << 20);
    assert_true(memory_available_bytes() > 1 << 20);
    assert_true(memory_peak_bytes() >= memory_resident_bytes() / 2);
}

/* ---- tests of a model ----------------------------------------------------------------------- */

typedef struct fixture {
    model *m;
    team *threads;
    subject *s;
} fixture;

static void open_subject(fixture *f, int n_threads, size_t positions, const int32_t *prompt,
                         size_t n_prompt)
{
    const model_options options = {.chat_template = "none"};
    *f = (fixture){0};
    expect_ok(kernel_init(NULL, &fail));
    expect_ok(model_load(&f->m, SMALL_MODEL, &options, &fail));
    expect_ok(team_create(&f->threads, n_threads, &fail));
    const subject_options o = {.threads = f->threads,
                               .kv = KV_F16,
                               .positions = positions,
                               .prompt = prompt,
                               .n_prompt = n_prompt};
    expect_ok(subject_create(&f->s, f->m, &o, &fail));
}

static void close_subject(fixture *f)
{
    subject_destroy(f->s);
    team_destroy(f->threads);
    model_destroy(f->m);
}

static uint64_t answer(fixture *f, speed_test test)
{
    token_list tokens = {0};
    assert_true(subject_run(f->s, &test) > 0);
    expect_ok(subject_answer(f->s, &test, &tokens));
    assert_true(tokens.length > 0);
    uint64_t hash = token_hash(tokens.ids, tokens.length);
    token_list_free(&tokens);
    return hash;
}

/* Steps of n rows give what decoding gives, after any other test, for every n and thread. */
static void answers_do_not_depend_on_rows(void **state)
{
    (void)state;
    uint64_t expected[2] = {0, 0};
    const size_t depths[2] = {0, 40};
    for (int n_threads = 1; n_threads <= 2; n_threads++) {
        fixture f;
        open_subject(&f, n_threads, 256, NULL, 0);
        for (size_t d = 0; d < 2; d++) {
            uint64_t decoded = answer(&f, (speed_test){SPEED_DECODE, STEP_TOKENS, depths[d]});
            if (expected[d] == 0)
                expected[d] = decoded;
            assert_true(decoded == expected[d]);
            for (size_t n = 1; n <= STEP_TOKENS + 1; n += n < 8 ? 1 : 4)
                assert_true(answer(&f, (speed_test){SPEED_STEP, n, depths[d]}) == expected[d]);
            assert_true(answer(&f, (speed_test){SPEED_STEP, STEP_MAX_ROWS, depths[d]}) ==
                        expected[d]);
            answer(&f, (speed_test){SPEED_PREFILL, 200, 0});
            assert_true(answer(&f, (speed_test){SPEED_DECODE, STEP_TOKENS, depths[d]}) ==
                        expected[d]);
        }
        close_subject(&f);
    }
    assert_true(expected[0] != expected[1]);
}

/* A prefill's token is the first one that decoding after one token less gives. */
static void prefill_and_probe_answer_alike(void **state)
{
    (void)state;
    const int32_t prompt[] = {5, 6, 7, 300, 12};
    fixture f;
    open_subject(&f, 2, 300, prompt, 5);
    uint64_t prefilled = answer(&f, (speed_test){SPEED_PREFILL, 150, 0});
    assert_true(prefilled == answer(&f, (speed_test){SPEED_PROBE, 150, 0}));
    assert_true(prefilled == answer(&f, (speed_test){SPEED_DECODE, 1, 149}));
    close_subject(&f);
}

static void bytes_are_weights_and_kv(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 1, 600, NULL, 0);
    double weights = (double)f.m->weight_bytes;
    double token = (double)forward_kv_bytes(f.m, KV_F16, 0);
    speed_test test = {SPEED_DECODE, 3, 10}; /* reads 11, 12 and 13 positions */
    assert_true(subject_bytes(f.s, &test) == weights + 12 * token);
    assert_true((double)subject_kv_bytes(f.s, &test) == 13 * token);
    test = (speed_test){SPEED_STEP, 4, 10};
    assert_true(subject_bytes(f.s, &test) == weights + 14 * token);
    test = (speed_test){SPEED_PREFILL, 1, 0};
    assert_true(subject_bytes(f.s, &test) == weights + token);
    test = (speed_test){SPEED_PREFILL, 600, 0}; /* several chunks, one reading of the head */
    assert_true(subject_bytes(f.s, &test) > 4 * (weights - (double)matrix_bytes(f.m->output)));
    close_subject(&f);
}

static void wrong_prompts_are_refused(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 1, 16, NULL, 0);
    const int32_t prompt[] = {1, (int32_t)f.m->config.n_vocab};
    const subject_options o = {
        .threads = f.threads, .kv = KV_F16, .positions = 16, .prompt = prompt, .n_prompt = 2};
    subject *s;
    assert_int_equal(subject_create(&s, f.m, &o, &fail), ERR_INVALID);
    assert_null(s);
    close_subject(&f);
}

typedef struct turns {
    size_t n[16];
    size_t count;
} turns;

static void note_turn(void *context, size_t member, size_t run, size_t attempt)
{
    turns *t = context;
    if (attempt == 0 && t->count < 16)
        t->n[t->count++] = member * 100 + run;
}

static void groups_take_turns_between_peaks(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 1, 128, NULL, 0);
    const speed_member members[] = {{.subject = f.s, .test = {SPEED_STEP, 1, 8}},
                                    {.subject = f.s, .test = {SPEED_STEP, 2, 8}}};
    speed_result results[2] = {0};
    turns t = {0};
    read_peak *peak;
    double gb_s;
    expect_ok(read_peak_create(&peak, f.threads, SMALL_PEAK, &fail));
    expect_ok(read_peak_survey(peak, &gb_s, &fail));
    const group_options o = {
        .runs = 3, .attempts = 2, .peak = peak, .progress = note_turn, .progress_context = &t};
    expect_ok(measure_group(members, 2, &o, results, &fail));
    const size_t order[] = {0, 100, 1, 101, 2, 102};
    assert_int_equal(t.count, 6);
    assert_memory_equal(t.n, order, sizeof order);
    for (size_t i = 0; i < 2; i++) {
        const speed_result *r = &results[i];
        assert_int_equal(r->n_runs, 3);
        assert_true(r->ms.low > 0 && r->ms.low <= r->ms.median && r->ms.median <= r->ms.high);
        assert_true(speed_gb_s(r) > 0 && r->share.median > 0);
        assert_true(speed_tokens_per_s(r) == (double)r->test.n / r->ms.median * 1e3);
        assert_int_equal(r->tokens.length, STEP_TOKENS);
        size_t unsteady = 0;
        for (size_t run = 0; run < 3; run++) {
            const speed_run *one = &r->runs[run];
            assert_true(one->ms >= r->ms.low && one->ms <= r->ms.high);
            assert_true(one->peak_before > 0 && one->peak_after > 0);
            assert_int_equal(one->attempts == 2 || speed_run_steady(one), true);
            unsteady += speed_run_steady(one) ? 0 : 1;
        }
        assert_int_equal(r->n_unsteady, unsteady);
    }
    /* Nothing but the peak stands between two runs, and neighbours share it. */
    if (results[0].runs[1].attempts == 1 && results[1].runs[1].attempts == 1)
        assert_true(results[0].runs[1].peak_after == results[1].runs[1].peak_before);
    assert_memory_equal(results[0].tokens.ids, results[1].tokens.ids,
                        STEP_TOKENS * sizeof(int32_t));
    for (size_t i = 0; i < 2; i++)
        speed_result_free(&results[i]);
    read_peak_destroy(peak);
    close_subject(&f);
}

/* Fewer runs of one of them, the others' turns unchanged; peaks around whole turns, no answers. */
static void only_times_are_taken_in_fewer_runs(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 1, 128, NULL, 0);
    const speed_member members[] = {{.subject = f.s, .test = {SPEED_STEP, 1, 8}},
                                    {.subject = f.s, .test = {SPEED_STEP, 2, 8}, .runs = 2}};
    speed_result results[2] = {0};
    turns t = {0};
    read_peak *peak;
    double gb_s;
    expect_ok(read_peak_create(&peak, f.threads, SMALL_PEAK, &fail));
    expect_ok(read_peak_survey(peak, &gb_s, &fail));
    const group_options o = {.runs = 3,
                             .attempts = 1,
                             .only_times = true,
                             .peak = peak,
                             .progress = note_turn,
                             .progress_context = &t};
    expect_ok(measure_group(members, 2, &o, results, &fail));
    const size_t order[] = {0, 100, 1, 101, 2};
    assert_int_equal(t.count, 5);
    assert_memory_equal(t.n, order, sizeof order);
    assert_int_equal(results[0].n_runs, 3);
    assert_int_equal(results[1].n_runs, 2);
    assert_true(results[1].to_one.median > 0);
    for (size_t i = 0; i < 2; i++) {
        assert_true(results[i].ms.low > 0);
        assert_int_equal(results[i].tokens.length, 0);
        for (size_t run = 0; run < results[i].n_runs; run++) {
            const speed_run *one = &results[i].runs[run], *first = &results[0].runs[run];
            assert_true(one->peak_before > 0 && one->peak_after > 0);
            assert_true(one->peak_before == first->peak_before);
            assert_true(one->peak_after == first->peak_after);
        }
    }
    assert_true(results[0].runs[0].peak_after == results[0].runs[1].peak_before);
    for (size_t i = 0; i < 2; i++)
        speed_result_free(&results[i]);
    read_peak_destroy(peak);
    close_subject(&f);
}

static void note_filling(void *context, size_t done, size_t all)
{
    size_t *filled = context;
    assert_true(done < all);
    if (done == 0)
        filled[0]++;
    filled[1] = all;
}

/* Two KV types of one model in turns: filled once each, compared turn by turn. */
static void subjects_take_turns(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 2, 64, NULL, 0);
    subject *s[2];
    size_t filled[2][2] = {{0}};
    const kv_type types[2] = {KV_F32, KV_F16};
    for (size_t i = 0; i < 2; i++) {
        const subject_options o = {.threads = f.threads,
                                   .kv = types[i],
                                   .positions = 64,
                                   .multiply_rate = 1e9,
                                   .filling = note_filling,
                                   .filling_context = filled[i]};
        expect_ok(subject_create(&s[i], f.m, &o, &fail));
    }
    const speed_member members[] = {{.subject = s[0], .test = {SPEED_STEP, 1, 40}},
                                    {.subject = s[1], .test = {SPEED_STEP, 1, 40}},
                                    {.subject = s[0], .test = {SPEED_STEP, 4, 40}},
                                    {.subject = s[1], .test = {SPEED_STEP, 4, 40}}};
    speed_result r[4];
    read_peak *peak;
    double gb_s;
    expect_ok(read_peak_create(&peak, f.threads, SMALL_PEAK, &fail));
    expect_ok(read_peak_survey(peak, &gb_s, &fail));
    const group_options o = {.runs = 3, .attempts = 1, .peak = peak};
    expect_ok(measure_group(members, 4, &o, r, &fail));
    for (size_t i = 0; i < 4; i++) {
        const size_t one = i % 2, first = i / 2 * 2;
        double to_one[3], speedup[3], over_bound[3];
        for (size_t run = 0; run < 3; run++) {
            double ms = r[i].runs[run].ms;
            double bytes_ms = r[i].bytes / speed_run_peak(&r[i].runs[run]) / 1e6;
            double rows_ms = (double)r[i].test.n * subject_multiply_adds(s[one]) / 1e9 * 1e3;
            to_one[run] = ms / r[one].runs[run].ms;
            speedup[run] = r[first].runs[run].ms / ms;
            over_bound[run] = ms / (bytes_ms > rows_ms ? bytes_ms : rows_ms);
        }
        assert_int_equal(r[i].kv, types[i % 2]);
        assert_true(r[i].to_one.median == spread_of(to_one, 3).median);
        assert_true(r[i].speedup.median == (i == first ? 0 : spread_of(speedup, 3).median));
        assert_true(r[i].over_bound.median == spread_of(over_bound, 3).median);
    }
    for (size_t i = 0; i < 4; i++)
        speed_result_free(&r[i]);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(filled[i][0], 1);
        assert_int_equal(filled[i][1], 40);
        subject_destroy(s[i]);
    }
    read_peak_destroy(peak);
    close_subject(&f);
}

/* A step of one row multiplies every weight once: the matrices' values are what their bytes say. */
static void multiplications_are_counted(void **state)
{
    (void)state;
    fixture f;
    open_subject(&f, 1, 16, NULL, 0);
    const tensor_type_info *type = measure_main_type(f.m->file);
    assert_int_equal(type->type, TENSOR_Q8_0);
    double values = (double)f.m->weight_bytes * type->block_values / type->block_bytes;
    double counted = subject_multiply_adds(f.s);
    assert_true(counted > 0.9 * values && counted < 1.1 * values);
    double rate = 0;
    gguf *file;
    expect_ok(gguf_open(&file, gguf_path(f.m->file), &fail));
    expect_ok(measure_multiply_rate(file, type, f.threads, &rate, &fail));
    assert_true(rate > 1e6);
    assert_int_equal(
        measure_multiply_rate(file, tensor_type_find(TENSOR_Q2_K), f.threads, &rate, &fail),
        ERR_UNSUPPORTED);
    gguf_close(file);
    close_subject(&f);
}

static void runs_are_judged_by_their_neighbours(void **state)
{
    (void)state;
    const speed_result r = {.bytes = 90e6};
    const speed_run steady = {.ms = 2, .peak_before = 50, .peak_after = 45};
    assert_true(speed_run_steady(&steady));
    assert_true(speed_run_peak(&steady) == 50);
    assert_true(speed_run_share(&r, &steady) == 0.9);
    const speed_run slower = {.ms = 2, .peak_before = 44.9, .peak_after = 50};
    assert_true(!speed_run_steady(&slower));
    assert_true(speed_run_share(&r, &slower) == 0.9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spread_is_low_median_high),
        cmocka_unit_test(hash_is_fnv_1a),
        cmocka_unit_test(read_peak_is_measured),
        cmocka_unit_test(memory_is_known),
        cmocka_unit_test(answers_do_not_depend_on_rows),
        cmocka_unit_test(prefill_and_probe_answer_alike),
        cmocka_unit_test(bytes_are_weights_and_kv),
        cmocka_unit_test(wrong_prompts_are_refused),
        cmocka_unit_test(groups_take_turns_between_peaks),
        cmocka_unit_test(only_times_are_taken_in_fewer_runs),
        cmocka_unit_test(subjects_take_turns),
        cmocka_unit_test(multiplications_are_counted),
        cmocka_unit_test(runs_are_judged_by_their_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
