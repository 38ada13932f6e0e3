/* What decoding costs behind long histories: `make bench-depth MODEL=FILE`. Arguments: the file,
 * then depths in tokens (2048, 8192, 32768 where none is given).
 *
 * The history is not computed, which would take minutes, but filled with keys and values that a
 * model could have made: what a step reads and multiplies is the same. The KV types take turns,
 * token by token, and the read peak is measured between turns; a share is the bytes that a token
 * must read (weights and KV) over its time, over the larger of the peaks around its turn.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "engine/kv.h"
#include "measure/measure.h"

enum { TURNS = 9, TOKENS = 4 /* of each type in a turn */, MOST_DEPTHS = 8 };

typedef struct rig {
    model *m;
    team *threads;
    forward *forward;
    read_peak *peak;
    kv_cache *kv[KV_TYPES]; /* NULL: the type is not measured, or does not fit the heads */
    kv_slot *slots[KV_TYPES];
    double ms[KV_TYPES][TURNS], share[KV_TYPES][TURNS];
} rig;

static float value_at(size_t i)
{
    return (float)(random_uniform(1, 0, i) * 2 - 1);
}

/* One head's keys (with an offset a channel, as keys have) and values up to `depth`, from `floats`
 * of one position. */
static void fill_head(const model_config *c, const kv_view *v, size_t region, size_t depth,
                      float *floats)
{
    size_t bytes = kv_value_bytes(v->type, c->head_dim), first = region * v->capacity;
    size_t open_bytes = kv_value_bytes(KV_OPEN_TYPE, c->head_dim);
    for (size_t p = 0; p < depth; p++) {
        for (size_t d = 0; d < c->head_dim; d++)
            floats[d] = value_at((p * 31 + region) % 4096 * 256 + d);
        kv_store(v->type, v->values + (first + p) * bytes, floats, c->head_dim);
        for (size_t d = 0; d < c->head_dim; d++)
            floats[d] += (float)(d % 5);
        if (!kv_groups_keys(v->type)) {
            kv_store(v->type, v->keys + (first + p) * bytes, floats, c->head_dim);
            continue;
        }
        kv_store(KV_OPEN_TYPE, v->open_keys + (first + p) * open_bytes, floats, c->head_dim);
        size_t group = p / KV_GROUP * KV_GROUP;
        if (p + 1 == group + KV_GROUP)
            kv_close_group(v->type, v->keys + (first + group) * bytes,
                           v->open_keys + (first + group) * open_bytes, c->head_dim);
    }
}

static error_code make_history(rig *r, kv_type type, size_t depth, failure *fail)
{
    const model_config *c = &r->m->config;
    const int32_t nobodys = -1;
    size_t context = depth + TOKENS;
    error_code code = kv_create(&r->kv[type], c, type, context, context, 1, fail);
    float *floats = malloc(c->head_dim * sizeof *floats);
    if (code == OK && floats == NULL)
        code = failure_set(fail, ERR_MEMORY, "no memory for a head");
    if (code == OK) {
        r->slots[type] = kv_acquire(r->kv[type], &nobodys, 1);
        kv_commit(r->kv[type], r->slots[type], context);
        for (size_t i = 0; i < c->n_layers * c->n_kv_heads; i++)
            fill_head(c, &r->slots[type]->view, i, depth, floats);
    }
    free(floats);
    return code;
}

static double decode_ms(rig *r, kv_type type, size_t depth)
{
    double start = clock_ms();
    for (size_t i = 0; i < TOKENS; i++) {
        forward_row row = {1, (uint32_t)(depth + i), &r->slots[type]->view, WANT_LOGITS};
        forward_step(r->forward, r->threads, &row, 1);
    }
    return (clock_ms() - start) / TOKENS;
}

/* A peak is measured after every type, so that the two around a turn are near it. */
static void take_turn(rig *r, size_t depth, size_t turn, double *peak)
{
    for (int type = 0; type < KV_TYPES; type++) {
        if (r->kv[type] == NULL)
            continue;
        double bytes = (double)r->m->weight_bytes +
                       (double)forward_kv_bytes(r->m, (kv_type)type, depth + TOKENS / 2);
        double ms = decode_ms(r, (kv_type)type, depth), after = read_peak_repeat(r->peak);
        r->ms[type][turn] = ms;
        r->share[type][turn] = 100 * bytes / ms / 1e6 / (after > *peak ? after : *peak);
        *peak = after;
    }
}

static void print_depth(const rig *r, size_t depth)
{
    for (int type = 0; type < KV_TYPES; type++) {
        if (r->kv[type] == NULL)
            continue;
        spread ms = spread_of(r->ms[type], TURNS), share = spread_of(r->share[type], TURNS);
        printf("%8zu  %-5s %8.1f MB of KV  %7.2f ms (%.2f to %.2f)  %5.1f %% of the peak "
               "(%.1f to %.1f)\n",
               depth, kv_type_name((kv_type)type),
               (double)forward_kv_bytes(r->m, (kv_type)type, depth) / 1e6, ms.median, ms.low,
               ms.high, share.median, share.low, share.high);
    }
}

static error_code measure_depth(rig *r, size_t depth, failure *fail)
{
    static const kv_type types[] = {KV_F16, KV_Q8_0, KV_Q4};
    error_code code = OK;
    for (size_t i = 0; code == OK && i < sizeof types / sizeof *types; i++)
        if (r->m->config.head_dim % kv_block_values(types[i]) == 0)
            code = make_history(r, types[i], depth, fail);
    double peak;
    if (code == OK)
        code = read_peak_survey(r->peak, &peak, fail);
    for (size_t turn = 0; code == OK && turn < TURNS; turn++)
        take_turn(r, depth, turn, &peak);
    if (code == OK)
        print_depth(r, depth);
    for (int type = 0; type < KV_TYPES; type++) {
        kv_destroy(r->kv[type]);
        r->kv[type] = NULL;
    }
    return code;
}

static error_code run(rig *r, int argc, char **argv, failure *fail)
{
    static const size_t usual[] = {2048, 8192, 32768};
    const model_options options = {.chat_template = "none"};
    error_code code = kernel_init(NULL, fail);
    if (code == OK)
        code = model_load(&r->m, argv[1], &options, fail);
    if (code == OK)
        code = team_create(&r->threads, team_default_size(), fail);
    if (code == OK)
        code = forward_create(&r->forward, r->m, team_size(r->threads), 1, 1, fail);
    if (code == OK)
        code = read_peak_create(&r->peak, r->threads, READ_PEAK_BYTES, fail);
    if (code == OK)
        printf("%s: %.1f MB of weights a token, %d threads\n", argv[1],
               (double)r->m->weight_bytes / 1e6, team_size(r->threads));
    size_t n = argc > 2 ? (size_t)argc - 2 : sizeof usual / sizeof *usual;
    for (size_t i = 0; code == OK && i < n && i < MOST_DEPTHS; i++) {
        size_t depth = argc > 2 ? strtoul(argv[2 + i], NULL, 10) : usual[i];
        code = depth > 0 ? measure_depth(r, depth, fail)
                         : failure_set(fail, ERR_INVALID, "\"%s\" is no depth", argv[2 + i]);
    }
    return code;
}

int main(int argc, char **argv)
{
    static rig r;
    failure fail = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: depth MODEL.gguf [DEPTH...]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    error_code code = run(&r, argc, argv, &fail);
    if (code != OK)
        fprintf(stderr, "bench-depth: %s\n", fail.text);
    read_peak_destroy(r.peak);
    forward_destroy(r.forward);
    team_destroy(r.threads);
    model_destroy(r.m);
    return code == OK ? 0 : 1;
}
