/* What KV in reserved addresses costs and saves: `make bench-kv`. An argument: the threads, else as
 * many as there are cores.
 *
 * Resident memory of 64 slots of 32K tokens beside what their tokens use, before and after it is
 * given back; decoding into pages that are committed on first touch beside pages that were all
 * committed before, token by token in turns; and what copying a prefix costs beside computing it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/bench.h"
#include "engine/kv.h"
#include "engine/sample.h"
#include "measure/measure.h"

enum {
    SLOTS = 64,
    CONTEXT = 32768,
    PROMPT = 4,    /* tokens in the fullest of the 64 slots */
    PAIRS = 20,    /* of decode runs */
    TOKENS = 32,   /* of one of them */
    CHUNK = 128,   /* prompt rows a step */
    COPIED = 1024, /* tokens of a prefix */
};

typedef struct rig {
    model *m;
    team *threads;
    forward *forward;
    kv_cache *kv;
    forward_row rows[CHUNK];
} rig;

static double resident_mb(void)
{
    return (double)memory_resident_bytes() / 1e6;
}

static int32_t token_at(const rig *r, size_t position)
{
    return (int32_t)(random_uniform(1, 0, position) * (double)r->m->config.n_vocab);
}

/* Computes the slot's positions up to n. */
static void prefill(rig *r, kv_slot *slot, size_t n)
{
    while (slot->tokens.length < n) {
        size_t from = slot->tokens.length, rows = n - from < CHUNK ? n - from : CHUNK;
        kv_commit(r->kv, slot, from + rows);
        for (size_t i = 0; i < rows; i++) {
            slot->tokens.ids[from + i] = token_at(r, from + i);
            r->rows[i] = (forward_row){token_at(r, from + i), (uint32_t)(from + i), &slot->view,
                                       WANT_NOTHING};
        }
        forward_step(r->forward, r->threads, r->rows, rows);
        slot->tokens.length += rows;
    }
}

/* What decoding took: CPU time too, which other programs disturb less. */
typedef struct cost {
    double wall_ms, cpu_ms, faults;
} cost;

static cost cost_now(void)
{
    struct timespec cpu;
    struct rusage usage;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    getrusage(RUSAGE_SELF, &usage);
    return (cost){clock_ms(), (double)cpu.tv_sec * 1e3 + (double)cpu.tv_nsec * 1e-6,
                  (double)usage.ru_minflt};
}

static void decode_one(rig *r, kv_slot *slot, size_t position, cost *sum)
{
    cost start = cost_now();
    kv_commit(r->kv, slot, position + 1);
    r->rows[0] = (forward_row){token_at(r, position), (uint32_t)position, &slot->view, WANT_LOGITS};
    forward_step(r->forward, r->threads, r->rows, 1);
    cost end = cost_now();
    sum->wall_ms += end.wall_ms - start.wall_ms;
    sum->cpu_ms += end.cpu_ms - start.cpu_ms;
    sum->faults += end.faults - start.faults;
}

static kv_slot *acquire_empty(rig *r)
{
    const int32_t nobodys = -1;
    return kv_acquire(r->kv, &nobodys, 1);
}

static error_code make_kv(rig *r, kv_type type, size_t context, size_t slots, failure *fail)
{
    kv_destroy(r->kv);
    r->kv = NULL;
    return kv_create(&r->kv, &r->m->config, type, context, context, slots, fail);
}

/* ---- resident memory ------------------------------------------------------------------------ */

static error_code show_resident(rig *r, kv_type type, failure *fail)
{
    const model_config *c = &r->m->config;
    double regions = (double)(2 * c->n_layers * c->n_kv_heads + 1), tokens = 0;
    error_code code = make_kv(r, type, CONTEXT, SLOTS, fail);
    if (code != OK)
        return code;
    kv_slot *slots[SLOTS];
    double before = resident_mb();
    for (size_t i = 0; i < SLOTS; i++) {
        slots[i] = acquire_empty(r);
        prefill(r, slots[i], 1 + i % PROMPT);
        tokens += (double)slots[i]->tokens.length;
    }
    double used = tokens * ((double)forward_kv_bytes(r->m, type, 0) + sizeof(int32_t)) / 1e6;
    double page_each = SLOTS * regions * (double)sysconf(_SC_PAGESIZE) / 1e6;
    double rise = resident_mb() - before;
    kv_usage u = kv_read_usage(r->kv);
    for (size_t i = 0; i < SLOTS; i++)
        kv_release(r->kv, slots[i]);
    kv_evict(r->kv, SIZE_MAX);
    printf("%-5s %6.1f GB reserved; %.0f tokens use %.1f MB, a page a region is %.1f MB: "
           "resident +%.1f MB (counted %.1f), after giving back +%.1f MB\n",
           kv_type_name(type), (double)u.reserved_bytes / 1e9, tokens, used, page_each, rise,
           (double)u.committed_bytes / 1e6, resident_mb() - before);
    return OK;
}

/* ---- decoding ------------------------------------------------------------------------------- */

/* The slot as it was before anything after `depth` was decoded: without those pages. */
static kv_slot *rewind_slot(rig *r, kv_slot *slot, size_t depth)
{
    slot->tokens.length = depth;
    kv_release(r->kv, slot);
    while (kv_work(r->kv, 100))
        ;
    return kv_acquire(r->kv, slot->tokens.ids, depth + 1);
}

/* One run of each, token by token in turns: into pages of first touch (sums[0]) and into pages
 * committed before (sums[1]). */
static error_code decode_both(rig *r, kv_slot *touched, kv_slot *committed, size_t depth,
                              cost sums[2], failure *fail)
{
    const model_config *c = &r->m->config;
    size_t position_bytes = kv_value_bytes(committed->view.type, c->head_dim);
    size_t regions = 2 * c->n_layers * c->n_kv_heads;
    touched = rewind_slot(r, touched, depth);
    committed = rewind_slot(r, committed, depth);
    if (madvise(committed->view.keys, regions * committed->view.capacity * position_bytes,
                MADV_POPULATE_WRITE) != 0)
        return failure_set(fail, ERR_UNSUPPORTED, "MADV_POPULATE_WRITE needs Linux 5.14");
    for (size_t i = 0; i < TOKENS; i++)
        for (size_t turn = 0; turn < 2; turn++) {
            size_t which = (i + turn) % 2;
            decode_one(r, which == 0 ? touched : committed, depth + i, &sums[which]);
        }
    return OK;
}

/* In a pair each slot plays each part once: where the system puts a slot's pages makes a difference
 * of some percent between two slots, whatever is done with them. */
static error_code show_decode(rig *r, kv_type type, size_t depth, failure *fail)
{
    double ms[PAIRS], wall[PAIRS], cpu[PAIRS], faults = 0;
    error_code code = make_kv(r, type, depth + TOKENS + 1, 2, fail);
    if (code != OK)
        return code;
    kv_slot *one = acquire_empty(r);
    prefill(r, one, depth);
    kv_slot *other = kv_acquire(r->kv, one->tokens.ids, depth + 1);
    while (kv_work(r->kv, 100))
        ;
    for (size_t pair = 0; code == OK && pair < PAIRS; pair++) {
        cost sums[2] = {{0, 0, 0}, {0, 0, 0}};
        code = decode_both(r, one, other, depth, sums, fail);
        if (code == OK)
            code = decode_both(r, other, one, depth, sums, fail);
        ms[pair] = sums[1].wall_ms / (2 * TOKENS);
        wall[pair] = sums[0].wall_ms / sums[1].wall_ms;
        cpu[pair] = sums[0].cpu_ms / sums[1].cpu_ms;
        faults += (sums[0].faults - sums[1].faults) / (2 * TOKENS * PAIRS);
    }
    if (code != OK)
        return code;
    spread w = spread_of(wall, PAIRS), c = spread_of(cpu, PAIRS);
    printf("%-5s decode at depth %zu, %d pairs of 2 x %d tokens: committed before %.2f ms a token; "
           "first touch %.1f faults a token, time x %.4f (%.4f to %.4f), CPU time x %.4f "
           "(%.4f to %.4f)\n",
           kv_type_name(type), depth, PAIRS, TOKENS, spread_of(ms, PAIRS).median, faults, w.median,
           w.low, w.high, c.median, c.low, c.high);
    return OK;
}

/* ---- copying -------------------------------------------------------------------------------- */

static error_code show_copy(rig *r, kv_type type, failure *fail)
{
    int32_t prompt[COPIED + 1];
    error_code code = make_kv(r, type, 4 * COPIED, 2, fail);
    if (code != OK)
        return code;
    kv_slot *source = acquire_empty(r);
    double start = clock_ms();
    prefill(r, source, COPIED);
    double computed_ms = clock_ms() - start;
    memcpy(prompt, source->tokens.ids, COPIED * sizeof *prompt);
    prompt[COPIED] = 0;
    kv_slot *copy = kv_acquire(r->kv, prompt, COPIED + 1);
    start = clock_ms();
    while (kv_work(r->kv, 10))
        ;
    double copied_ms = clock_ms() - start;
    if (copy->tokens.length != COPIED)
        return failure_set(fail, ERR_INTERNAL, "%zu tokens were copied", copy->tokens.length);
    kv_release(r->kv, copy);
    size_t bytes = kv_sequence_bytes(r->kv, COPIED);
    start = clock_ms();
    kv_evict(r->kv, 1);
    printf("%-5s prefix of %d tokens, %.1f MB: computed in %.0f ms, copied in %.1f (1/%.0f), "
           "given back in %.1f\n",
           kv_type_name(type), COPIED, (double)bytes / 1e6, computed_ms, copied_ms,
           computed_ms / copied_ms, clock_ms() - start);
    return OK;
}

/* ---- the program ---------------------------------------------------------------------------- */

static error_code run(rig *r, int n_threads, failure *fail)
{
    static const kv_type types[] = {KV_F16, KV_Q8_0};
    char path[BENCH_PATH_SIZE];
    bench_synthetic shape;
    error_code code = kernel_init(NULL, fail);
    if (code == OK)
        code = bench_synthetic_parse("pangu-1b:q4_0", &shape, fail);
    if (code == OK)
        code = bench_synthetic_file(&shape, NULL, path, fail);
    const model_options options = {.chat_template = "none"};
    if (code == OK)
        code = model_load(&r->m, path, &options, fail);
    if (code == OK)
        code = team_create(&r->threads, n_threads, fail);
    if (code == OK)
        code = forward_create(&r->forward, r->m, n_threads, CHUNK, 1, fail);
    for (size_t i = 0; code == OK && i < 2; i++)
        code = show_resident(r, types[i], fail);
    for (size_t i = 0; code == OK && i < 2; i++)
        code = show_copy(r, types[i], fail);
    for (size_t i = 0; code == OK && i < 2; i++)
        code = show_decode(r, types[i], 256, fail);
    if (code == OK)
        code = show_decode(r, KV_F16, 2048, fail);
    return code;
}

int main(int argc, char **argv)
{
    static rig r;
    failure fail = {0};
    int n_threads = argc > 1 ? atoi(argv[1]) : (int)sysconf(_SC_NPROCESSORS_ONLN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    error_code code = run(&r, n_threads, &fail);
    if (code != OK)
        fprintf(stderr, "bench-kv: %s\n", fail.text);
    kv_destroy(r.kv);
    forward_destroy(r.forward);
    team_destroy(r.threads);
    model_destroy(r.m);
    return code == OK ? 0 : 1;
}
