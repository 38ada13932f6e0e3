/* A pool of replicas: the ring, where prompts belong, who is asked, and what is learned of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/knee_simulation.h"
#include "unit/pool_simulation.h"

static const pool_tried nobody = {.n = 0};

static pool *pool_of(size_t n, const pool_setting *s)
{
    pool *p;
    failure fail;
    assert_int_equal(pool_create(&p, s, &fail), OK);
    for (size_t i = 0, slot; i < n; i++) {
        char name[48];
        snprintf(name, sizeof name, "http://10.0.0.%zu:8000/v1", i);
        assert_int_equal(pool_add(p, name, false, 0, &slot, &fail), OK);
        assert_int_equal(slot, i);
    }
    return p;
}

static pool_place place(uint64_t i)
{
    return (pool_place){.hash = pool_hash_mix(i)};
}

/* ---- the ring -------------------------------------------------------------------------------- */

enum { KEYS = 20000 };

static void owners(const pool *p, size_t out[KEYS][2])
{
    for (size_t i = 0; i < KEYS; i++)
        for (size_t k = 0; k < 2; k++)
            out[i][k] = pool_ring_slot(&p->ring, pool_ring_find(pool_hash_mix(2 * i + k)));
}

/* Of one that comes: its share of either hash, (1 - (1 - 1/(n+1))^2) in the mean. */
static double moved_by_one_more(pool *p, const char *name)
{
    static size_t before[KEYS][2], after[KEYS][2];
    failure fail;
    size_t moved = 0, slot;
    owners(p, before);
    pool_add(p, name, true, 0, &slot, &fail);
    owners(p, after);
    for (size_t i = 0; i < KEYS; i++) {
        for (size_t k = 0; k < 2; k++)
            assert_true(after[i][k] == before[i][k] || after[i][k] == slot);
        moved += before[i][0] != after[i][0] || before[i][1] != after[i][1];
    }
    pool_remove(p, slot);
    owners(p, after);
    assert_memory_equal(before, after, sizeof before);
    return (double)moved / KEYS;
}

static void a_replica_more_moves_few_prefixes(void **state)
{
    (void)state;
    for (size_t n = 2; n <= 32; n *= 2) {
        pool *p = pool_of(n, &(pool_setting){.limit = 8});
        double sum = 0, most = 0, bound = 2.0 / (double)(n + 1);
        for (size_t i = 0; i < 20; i++) {
            char name[48];
            snprintf(name, sizeof name, "http://10.1.0.%zu:8000/v1", i);
            double moved = moved_by_one_more(p, name);
            sum += moved / 20;
            most = fmax(most, moved);
        }
        print_message("%2zu replicas and one more: %.4f move, at most %.4f; 2/(n+1) is %.4f\n", n,
                      sum, most, bound);
        assert_true(sum <= bound);
        assert_true(most <= bound * 1.1); /* RING_POINTS: of 32 a share is known within 2 % */
        pool_destroy(p);
    }
}

static void names_alone_say_where_replicas_are(void **state)
{
    (void)state;
    failure fail;
    pool *p = pool_of(5, &(pool_setting){.limit = 8});
    pool_ring backwards = {.n = 0};
    for (size_t i = 5; i-- > 0;)
        assert_int_equal(pool_ring_add(&backwards, p->replicas[i].history->name, i, &fail), OK);
    for (uint64_t i = 0; i < 1000; i++) {
        uint64_t hash = pool_hash_mix(i);
        assert_int_equal(pool_ring_slot(&p->ring, pool_ring_find(hash)),
                         pool_ring_slot(&backwards, pool_ring_find(hash)));
    }
    assert_int_equal(pool_ring_find(UINT64_MAX), RING_POINTS - 1);
    pool_ring_free(&backwards);
    pool_destroy(p);
}

/* ---- prefixes -------------------------------------------------------------------------------- */

static void pieces_change_no_hash(void **state)
{
    (void)state;
    char text[70000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7 + i / 300);
    pool_prefix whole, pieces;
    pool_prefix_init(&whole);
    pool_prefix_add(&whole, text, sizeof text);
    pool_prefix_mark(&whole);
    pool_prefix_init(&pieces);
    for (size_t at = 0, n = 1; at < sizeof text; at += n, n = n % 611 + 13)
        pool_prefix_add(&pieces, text + at, at + n < sizeof text ? n : sizeof text - at);
    pool_prefix_mark(&pieces);
    assert_int_equal(whole.n, 9); /* 256 … 65536, and its end, which is the last of these */
    assert_int_equal(whole.n, pieces.n);
    assert_memory_equal(whole.marks, pieces.marks, whole.n * sizeof whole.marks[0]);
}

static pool_place place_of_text(pool_heat *h, const char *text, size_t question)
{
    pool_prefix p;
    char more[40];
    int n = snprintf(more, sizeof more, " question %zu", question);
    pool_prefix_init(&p);
    pool_prefix_add(&p, text, strlen(text));
    pool_prefix_add(&p, more, (size_t)n);
    pool_prefix_mark(&p);
    return pool_heat_place(h, &p, 1.0 / 8);
}

/* A document's questions belong together; what everybody's prompt begins with tells nothing. */
static void what_is_rare_stays_together_and_what_is_common_is_told_apart(void **state)
{
    (void)state;
    static pool_heat heat, *h = &heat;
    char system[600], document[2][600];
    memset(system, 's', sizeof system);
    memset(document, 'd', sizeof document);
    system[599] = document[0][599] = document[1][599] = '\0';
    document[1][0] = 'e';
    uint64_t first = place_of_text(h, document[0], 0).hash, before = 0;
    assert_int_not_equal(place_of_text(h, document[1], 0).hash, first);
    for (size_t i = 1; i < 5000; i++) {
        uint64_t hash = place_of_text(h, system, i).hash;
        if (i > 100)
            assert_int_not_equal(hash, before);
        before = hash;
        if (i % 20 == 0)
            assert_int_equal(place_of_text(h, document[0], i).hash, first);
    }
}

/* ---- who is asked ---------------------------------------------------------------------------- */

static void caches_are_kept_and_work_is_shared(void **state)
{
    (void)state;
    static const double exponents[] = {0.8, 1, 1.2}, gaps_ms[] = {10, 3, 1.5};
    static const size_t caches[] = {60, 160};
    for (size_t i = 0; i < 18; i++) {
        simulation s = {.replicas = 8,
                        .prefixes = 1000,
                        .cache = caches[i % 2],
                        .exponent = exponents[i / 6],
                        .hit_ms = 20,
                        .miss_ms = 100,
                        .gap_ms = gaps_ms[i / 2 % 3],
                        .requests = 10000};
        simulation_result ours = simulate(&s);
        s.way = WAY_HASH;
        simulation_result hash = simulate(&s);
        s.way = WAY_LEAST;
        simulation_result least = simulate(&s);
        print_message("Zipf %.1f, every %4.1f ms, cache %3zu: hits %.3f of hashing's %.3f; most / "
                      "mean %.3f, least loaded %.3f\n",
                      s.exponent, s.gap_ms, s.cache, ours.hit_rate, hash.hit_rate, ours.skew,
                      least.skew);
        assert_true(ours.hit_rate >= 0.9 * hash.hit_rate);
        assert_true(ours.skew <= 1.1 * least.skew);
        assert_true(ours.busy_skew <= 1.1 * least.busy_skew);
    }
}

static void one_that_refuses_is_passed_by_and_none_is_asked_twice(void **state)
{
    (void)state;
    pool *p = pool_of(4, &(pool_setting){.limit = 8});
    pool_tried tried = {.n = 0};
    pool_place at = place(1);
    for (size_t i = 0; i < 4; i++) {
        size_t slot = pool_choose(p, &at, &tried, 0);
        assert_int_not_equal(slot, POOL_NONE);
        for (size_t k = 0; k < tried.n; k++)
            assert_int_not_equal(tried.slots[k], slot);
        tried.slots[tried.n++] = slot;
        pool_end(p, slot, POOL_REFUSED, pool_begin(p, slot), 0, 0, 0);
    }
    assert_int_equal(pool_choose(p, &at, &tried, 0), POOL_NONE);
    assert_int_equal(pool_choose_refused(p, &tried, 0), POOL_NONE);
    assert_int_equal(pool_choose(p, &at, &nobody, 1), POOL_NONE); /* for a moment … */
    size_t first = pool_choose_refused(p, &nobody, 1);            /* … but for who has no other */
    assert_int_not_equal(first, POOL_NONE);
    for (size_t i = 0; i < 4; i++)
        assert_true(p->replicas[first].refused_until <= p->replicas[i].refused_until);
    size_t again = pool_choose(p, &at, &nobody, 8);
    assert_int_not_equal(again, POOL_NONE);
    pool_end(p, again, POOL_ANSWERED, pool_begin(p, again), 3, 0, 11);
    assert_true(p->replicas[again].refusals == 0);
    pool_destroy(p);
}

static void a_full_one_is_left_alone_and_a_single_one_never(void **state)
{
    (void)state;
    pool *p = pool_of(2, &(pool_setting){.limit = 2});
    pool_place at = place(1);
    for (size_t i = 0; i < 4; i++) {
        size_t slot = pool_choose(p, &at, &nobody, 0);
        assert_int_not_equal(slot, POOL_NONE);
        pool_begin(p, slot);
    }
    assert_int_equal(pool_choose(p, &at, &nobody, 0), POOL_NONE);
    pool_end(p, 1, POOL_CANCELLED, 1, 0, 0, 0);
    assert_int_equal(pool_choose(p, &at, &nobody, 0), 1);
    pool_destroy(p);
    p = pool_of(1, &(pool_setting){.is_single = true});
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(pool_choose(p, &at, &nobody, 0), 0);
        pool_end(p, 0, i % 2 == 0 ? POOL_GONE : POOL_REFUSED, pool_begin(p, 0), 0, 0, 0);
    }
    pool_destroy(p);
}

static void one_that_leaves_ends_what_it_has(void **state)
{
    (void)state;
    failure fail;
    size_t slot;
    pool *p = pool_of(2, &(pool_setting){.limit = 2});
    size_t with = pool_begin(p, 0);
    pool_remove(p, 0);
    for (uint64_t i = 0; i < 50; i++) {
        pool_place at = place(i);
        assert_int_equal(pool_choose(p, &at, &nobody, 0), 1);
    }
    assert_true(p->replicas[0].is_used);
    assert_int_equal(pool_find(p, "http://10.0.0.0:8000/v1"), POOL_NONE);
    assert_int_equal(pool_add(p, "http://10.0.0.0:8000/v1", true, 0, &slot, &fail), OK);
    assert_int_equal(slot, 2);
    pool_end(p, 0, POOL_ANSWERED, with, 1, 0, 1);
    assert_false(p->replicas[0].is_used);
    pool_destroy(p);
}

/* A replica four times as slow has fewer requests, and the fast ones wait for nobody. */
static void a_slow_one_has_less(void **state)
{
    (void)state;
    pool *p = pool_of(3, &(pool_setting){.limit = 8});
    simulated_heap heap = {.at = calloc(3000, sizeof *heap.at)};
    double now_ms = 0;
    for (size_t i = 0; i < 3000; i++) {
        now_ms += draw_exponential(2, 9, i);
        while (heap.n > 0 && heap.at[0].end_ms <= now_ms) {
            simulated_request r = heap_pop(&heap);
            pool_end(p, r.slot, POOL_ANSWERED, r.began_with, r.end_ms - r.began_ms, 0, r.end_ms);
        }
        pool_place at = place(i);
        size_t slot = pool_choose(p, &at, &nobody, now_ms);
        if (slot == POOL_NONE)
            continue;
        heap_push(&heap, (simulated_request){now_ms + (slot == 0 ? 80 : 20), now_ms, slot,
                                             pool_begin(p, slot)});
    }
    assert_true(p->replicas[0].requests * 3 < 2 * p->replicas[1].requests);
    free(heap.at);
    pool_destroy(p);
}

/* ---- breaker --------------------------------------------------------------------------------- */

static void a_breaker_opens_tries_and_closes(void **state)
{
    (void)state;
    pool_breaker b;
    pool_breaker_init(&b, 1000, false, 0);
    assert_true(pool_breaker_share(&b, 0) >= 1);
    for (int i = 0; i < BREAKER_FAILURES - 1; i++)
        pool_breaker_fail(&b, false, 0.5, 0);
    assert_true(pool_breaker_allows(&b, 0));
    pool_breaker_succeed(&b, 0);
    for (int i = 0; i < BREAKER_FAILURES; i++)
        pool_breaker_fail(&b, false, 0.5, 0);
    assert_false(pool_breaker_allows(&b, BREAKER_FIRST_MS - 1));
    assert_true(pool_breaker_allows(&b, BREAKER_FIRST_MS));
    pool_breaker_begin(&b);
    assert_false(pool_breaker_allows(&b, BREAKER_FIRST_MS)); /* one at a time */
    pool_breaker_forget(&b);
    assert_true(pool_breaker_allows(&b, BREAKER_FIRST_MS));
    pool_breaker_begin(&b);
    pool_breaker_fail(&b, false, 0.5, BREAKER_FIRST_MS);
    assert_false(pool_breaker_allows(&b, 3 * BREAKER_FIRST_MS - 1)); /* twice as long */
    assert_true(pool_breaker_allows(&b, 3 * BREAKER_FIRST_MS));
    pool_breaker_begin(&b);
    pool_breaker_succeed(&b, 5000);
    assert_int_equal(b.state, BREAKER_CLOSED);
    assert_true(pool_breaker_share(&b, 5000) < 0.2);
    assert_true(pool_breaker_share(&b, 5500) > 0.4 && pool_breaker_share(&b, 5500) < 0.7);
    assert_true(pool_breaker_share(&b, 6000) >= 1);
    pool_breaker_fail(&b, true, 0, 7000);
    assert_int_equal(b.state, BREAKER_OPEN); /* nobody there: at once */
}

static void checks_that_fail_open_it_and_one_that_does_not_lets_it_be_tried(void **state)
{
    (void)state;
    pool *p = pool_of(2, &(pool_setting){.limit = 4});
    assert_false(pool_check(p, 0, false, 0));
    assert_true(pool_check(p, 0, false, 1)); /* those that wait go elsewhere … */
    assert_true(pool_check(p, 0, false, 2)); /* … and a trial that came meanwhile */
    assert_int_equal(p->replicas[0].breaker.state, BREAKER_OPEN);
    for (uint64_t i = 0; i < 20; i++) { /* its time has passed, but it is not well */
        pool_place at = place(i);
        assert_int_equal(pool_choose(p, &at, &nobody, 60000), 1);
    }
    assert_false(pool_check(p, 0, true, 3));
    assert_true(pool_breaker_allows(&p->replicas[0].breaker, 3));
    pool_destroy(p);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void a_limit_finds_a_knee_that_moves(void **state)
{
    (void)state;
    static const double knees[] = {16, 40, 12, 64, 6};
    static const double losses[] = {0, 0.005, 0.02}, goals[] = {0.96, 0.96, 0.95};
    const double phase_ms = 120e3;
    for (size_t w = 0; w < 3; w++) {
        pool_limit l;
        size_t good = 0, best = 0;
        pool_limit_init(&l, 0);
        for (size_t i = 0; i < 5; i++) {
            knee k = {knees[i], 100, losses[w]};
            size_t now = knee_goodput(&l, 0, &k, phase_ms, i),
                   most = knee_best_goodput(&k, phase_ms, i);
            print_message("loss %.3f, knee %2.0f: limit %5.1f, %.3f of the best fixed one\n",
                          losses[w], k.knee, l.limit, (double)now / (double)most);
            good += now;
            best += most;
        }
        assert_true((double)good >= goals[w] * (double)best);
    }
}

static void a_refusal_is_believed_and_a_fixed_limit_stays(void **state)
{
    (void)state;
    pool_limit l;
    pool_limit_init(&l, 0);
    pool_limit_refused(&l, 5);
    assert_true(l.limit > 4.9 && l.limit < 5.1);
    pool_limit_refused(&l, 0);
    assert_int_equal(pool_limit_now(&l), 1);
    pool_limit_init(&l, 7);
    pool_limit_refused(&l, 2);
    for (size_t i = 0; i < 1000; i++)
        pool_limit_done(&l, 7, 0, 1e6);
    assert_int_equal(pool_limit_now(&l), 7);
}

static void quantiles_are_those_of_late(void **state)
{
    (void)state;
    pool_delay d = {.total = 0};
    assert_true(isinf(pool_delay_quantile(&d, 0.95)));
    for (int i = 1; i <= 1000; i++)
        pool_delay_add(&d, i);
    double p95 = pool_delay_quantile(&d, 0.95);
    assert_true(p95 > 940 && p95 < 1060);
    for (int i = 0; i < 20000; i++)
        pool_delay_add(&d, i % 10 == 0 ? 1e12 : 2);
    assert_true(pool_delay_quantile(&d, 0.5) < 2.3);
    assert_true(pool_delay_quantile(&d, 0) < 2.3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replica_more_moves_few_prefixes),
        cmocka_unit_test(names_alone_say_where_replicas_are),
        cmocka_unit_test(pieces_change_no_hash),
        cmocka_unit_test(what_is_rare_stays_together_and_what_is_common_is_told_apart),
        cmocka_unit_test(caches_are_kept_and_work_is_shared),
        cmocka_unit_test(one_that_refuses_is_passed_by_and_none_is_asked_twice),
        cmocka_unit_test(a_full_one_is_left_alone_and_a_single_one_never),
        cmocka_unit_test(one_that_leaves_ends_what_it_has),
        cmocka_unit_test(a_slow_one_has_less),
        cmocka_unit_test(a_breaker_opens_tries_and_closes),
        cmocka_unit_test(checks_that_fail_open_it_and_one_that_does_not_lets_it_be_tried),
        cmocka_unit_test(a_limit_finds_a_knee_that_moves),
        cmocka_unit_test(a_refusal_is_believed_and_a_fixed_limit_stays),
        cmocka_unit_test(quantiles_are_those_of_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
