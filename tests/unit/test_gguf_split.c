/* Models split over several files: a set holds what the whole file holds and answers bit for bit as
 * it does; a set that is not whole, or not a set, is refused with the part that is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "cli/cli.h"
#include "engine/kv.h"
#include "model/forward.h"
#include "model/gguf_write.h"

#define LARGE "models/demo/large.gguf"
#define SMALL "models/demo/small.gguf"
#define FLOAT_MODEL "tests/golden/data/llama.BF16.gguf"
#define FIELD "../shared/field/shard-00001-of-00003.gguf"
#define PATH_SIZE 96

static char folder[32];

static void must(error_code code, const failure *fail)
{
    if (code != OK)
        fail_msg("%s", fail->text);
}

/* ---- splitting ------------------------------------------------------------------------------- */

/* What the parts say of themselves: the truth by default. */
typedef struct split {
    size_t parts;
    size_t empty; /* so many parts at the beginning hold no tensors */
    size_t liar;  /* part (from 1) that says the next three; 0: none */
    uint32_t number, count, tensors;
    bool repeats; /* the last part has the first tensor once more */
} split;

static const char *part_name(size_t number, size_t parts)
{
    static char path[2][PATH_SIZE];
    static size_t turn;
    char *name = path[turn++ % 2];
    snprintf(name, PATH_SIZE, "%s/m-%05zu-of-%05zu.gguf", folder, number, parts);
    return name;
}

static void write_part(const gguf *whole, const split *s, size_t part)
{
    gguf_writer *w;
    failure fail;
    bool lies = part == s->liar, repeats = s->repeats && part == s->parts;
    size_t n = gguf_tensor_count(whole), full = s->parts - s->empty;
    size_t turn = part > s->empty ? part - s->empty - 1 : 0;
    size_t from = n * turn / full, to = part > s->empty ? n * (turn + 1) / full : 0;
    must(gguf_writer_create(&w, part_name(part, s->parts), &fail), &fail);
    for (size_t i = 0; part == 1 && i < gguf_key_count(whole); i++)
        gguf_writer_copy_key(w, whole, i);
    gguf_writer_u32(w, "split.no", lies ? s->number : (uint32_t)part - 1);
    gguf_writer_u32(w, "split.count", lies ? s->count : (uint32_t)s->parts);
    gguf_writer_u32(w, "split.tensors.count", lies ? s->tensors : (uint32_t)n + s->repeats);
    for (size_t i = from; i < to + repeats; i++) {
        const gguf_tensor *t = gguf_tensor_at(whole, i < to ? i : 0);
        gguf_writer_tensor(w, t->name, t->n_dims, t->dims, t->type);
    }
    must(gguf_writer_begin(w, &fail), &fail);
    for (size_t i = from; i < to + repeats; i++) {
        const gguf_tensor *t = gguf_tensor_at(whole, i < to ? i : 0);
        must(gguf_writer_data(w, t->data, t->bytes, &fail), &fail);
    }
    must(gguf_writer_finish(w, &fail), &fail);
    gguf_writer_destroy(w);
}

static void write_set(const char *path, split s)
{
    gguf *whole;
    failure fail;
    must(gguf_open(&whole, path, &fail), &fail);
    for (size_t part = 1; part <= s.parts; part++)
        write_part(whole, &s, part);
    gguf_close(whole);
}

static void remove_set(size_t parts)
{
    for (size_t part = 1; part <= parts; part++)
        unlink(part_name(part, parts));
}

/* ---- the same model -------------------------------------------------------------------------- */

/* All but its first byte. */
static void assert_fetched(const gguf *file, const gguf_tensor *t)
{
    failure fail;
    uint8_t *copy = malloc(t->bytes);
    assert_non_null(copy);
    must(gguf_fetch(file, (const char *)t->data + 1, copy, t->bytes - 1, &fail), &fail);
    assert_memory_equal((const char *)t->data + 1, copy, t->bytes - 1);
    free(copy);
}

static void assert_same_tensors(const gguf *a, const gguf *b)
{
    assert_int_equal(gguf_tensor_count(a), gguf_tensor_count(b));
    for (size_t i = 0; i < gguf_tensor_count(a); i++) {
        const gguf_tensor *x = gguf_tensor_at(a, i);
        char name[128];
        assert_true(x->name.length < sizeof name);
        memcpy(name, x->name.data, x->name.length);
        name[x->name.length] = '\0';
        const gguf_tensor *y = gguf_tensor_find(b, name);
        assert_non_null(y);
        assert_ptr_equal(x->type, y->type);
        assert_memory_equal(x->dims, y->dims, sizeof x->dims);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
        assert_fetched(b, y);
    }
}

static void test_holds_the_same(void **state)
{
    (void)state;
    static const split ways[] = {
        {.parts = 1}, {.parts = 2}, {.parts = 3, .empty = 1}, {.parts = 7}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        gguf *whole, *set;
        failure fail;
        uint64_t bytes = 0, count;
        struct stat st;
        write_set(LARGE, ways[i]);
        must(gguf_open(&whole, LARGE, &fail), &fail);
        must(gguf_open(&set, part_name(1, ways[i].parts), &fail), &fail);
        assert_same_tensors(whole, set);
        assert_int_equal(gguf_part_count(set), ways[i].parts);
        for (size_t part = 1; part <= ways[i].parts; part++) {
            assert_string_equal(gguf_part_path(set, part - 1), part_name(part, ways[i].parts));
            assert_int_equal(stat(part_name(part, ways[i].parts), &st), 0);
            bytes += (uint64_t)st.st_size;
        }
        assert_int_equal(gguf_file_bytes(set), bytes);
        assert_true(gguf_u64(set, "qwen2.block_count", &count));
        gguf_drop_pages(set);
        assert_same_tensors(whole, set);
        gguf_close(whole);
        gguf_close(set);
        remove_set(ways[i].parts);
    }
}

/* While it is read. */
static void test_becomes_shorter(void **state)
{
    (void)state;
    gguf *set;
    failure fail;
    write_set(LARGE, (split){.parts = 2});
    must(gguf_open(&set, part_name(1, 2), &fail), &fail);
    const gguf_tensor *last = gguf_tensor_at(set, gguf_tensor_count(set) - 1);
    uint8_t *copy = malloc(last->bytes);
    assert_non_null(copy);
    assert_int_equal(truncate(part_name(2, 2), 100), 0);
    assert_int_equal(gguf_fetch(set, last->data, copy, last->bytes, &fail), ERR_IO);
    assert_non_null(strstr(fail.text, "became shorter"));
    free(copy);
    gguf_close(set);
    remove_set(2);
}

enum { POSITIONS = 40 };

static float *logits_of(const char *path, size_t *n_vocab)
{
    failure fail;
    model *m;
    team *threads;
    forward *f;
    kv_cache *kv;
    forward_row rows[POSITIONS];
    const model_options options = {0};
    must(model_load(&m, path, &options, &fail), &fail);
    must(team_create(&threads, 2, &fail), &fail);
    must(forward_create(&f, m, 2, POSITIONS, POSITIONS, &fail), &fail);
    must(kv_create(&kv, &m->config, KV_F16, POSITIONS, POSITIONS, 1, &fail), &fail);
    int32_t first = 3;
    kv_slot *slot = kv_acquire(kv, &first, 1);
    *n_vocab = m->config.n_vocab;
    for (size_t i = 0; i < POSITIONS; i++)
        rows[i] =
            (forward_row){(int32_t)((7 * i + 3) % *n_vocab), (uint32_t)i, &slot->view, WANT_LOGITS};
    forward_step(f, threads, rows, POSITIONS);
    size_t bytes = POSITIONS * *n_vocab * sizeof(float);
    float *copy = malloc(bytes);
    assert_non_null(copy);
    memcpy(copy, forward_logits(f, 0), bytes);
    kv_release(kv, slot);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(threads);
    model_destroy(m);
    return copy;
}

static void test_answers_the_same(void **state)
{
    (void)state;
    size_t n_whole, n_set;
    write_set(LARGE, (split){.parts = 5});
    float *whole = logits_of(LARGE, &n_whole), *set = logits_of(part_name(1, 5), &n_set);
    assert_int_equal(n_whole, n_set);
    assert_memory_equal(whole, set, POSITIONS * n_whole * sizeof *whole);
    free(whole);
    free(set);
    remove_set(5);
}

/* Written by another program: llama.cpp's gguf-split. */
static void test_field_set(void **state)
{
    (void)state;
    if (access(FIELD, R_OK) != 0) {
        printf("  skipped: no %s\n", FIELD);
        skip();
    }
    gguf *whole, *set;
    failure fail;
    must(gguf_open(&whole, SMALL, &fail), &fail);
    must(gguf_open(&set, FIELD, &fail), &fail);
    assert_int_equal(gguf_part_count(set), 3);
    assert_same_tensors(whole, set);
    gguf_close(whole);
    gguf_close(set);
}

static int quantize(const char *input, const char *output)
{
    char words[4][PATH_SIZE] = {"quantize", "", "", "q8_0"};
    snprintf(words[1], PATH_SIZE, "%s", input);
    snprintf(words[2], PATH_SIZE, "%s", output);
    return command_quantize(4, (char *[]){words[0], words[1], words[2], words[3], NULL});
}

static void read_file(buffer *b, const char *path)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    buffer_init(b, (size_t)1 << 26);
    assert_int_equal(buffer_read_fd(b, fileno(f), NULL), OK);
    fclose(f);
}

/* Quantizing makes one file of a set; it never writes over a part. */
static void test_quantized(void **state)
{
    (void)state;
    char whole[PATH_SIZE], joined[PATH_SIZE];
    buffer a, b;
    snprintf(whole, sizeof whole, "%s/whole.gguf", folder);
    snprintf(joined, sizeof joined, "%s/joined.gguf", folder);
    write_set(FLOAT_MODEL, (split){.parts = 3});
    assert_int_equal(quantize(FLOAT_MODEL, whole), 0);
    assert_int_equal(quantize(part_name(1, 3), joined), 0);
    assert_int_equal(quantize(part_name(1, 3), part_name(2, 3)), 2);
    read_file(&a, whole);
    read_file(&b, joined);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.data, b.data, a.length);
    buffer_free(&a);
    buffer_free(&b);
    unlink(whole);
    unlink(joined);
    remove_set(3);
}

/* ---- what is no set -------------------------------------------------------------------------- */

static void expect_refusal(const char *path, error_code code, const char *text)
{
    gguf *file = NULL;
    failure fail = {0};
    error_code got = gguf_open(&file, path, &fail);
    if (got != code || strstr(fail.text, text) == NULL)
        fail_msg("expected %d \"%s\", got %d \"%s\"", code, text, got, fail.text);
    assert_null(file);
    assert_non_null(strstr(fail.text, folder));
}

static void test_false_parts(void **state)
{
    (void)state;
    static const struct {
        split set;
        const char *says;
    } cases[] = {
        {{.parts = 3, .liar = 2, .number = 1, .count = 4, .tensors = 1},
         "m-00002-of-00003.gguf: key 'split.count' is 4, in the first part 3"},
        {{.parts = 3, .liar = 3, .number = 1, .count = 3, .tensors = 1},
         "m-00003-of-00003.gguf: key 'split.no' is 1; part 3 of 3 has 2"},
        {{.parts = 3, .liar = 2, .number = 0, .count = 1, .tensors = 1},
         "m-00002-of-00003.gguf: key 'split.count' is 1, in the first part 3"},
        {{.parts = 2, .liar = 1, .number = 0, .count = 2, .tensors = 7},
         "tensors; key 'split.tensors.count' says 7"},
        {{.parts = 2, .liar = 1, .number = 2, .count = 2, .tensors = 7},
         "key 'split.no' is 2, but 'split.count' only 2"},
        {{.parts = 2, .liar = 1, .number = 0, .count = 4000000000, .tensors = 7},
         "key 'split.count' is not a whole number from 0 to 99999"},
        {{.parts = 3, .repeats = true}, "stands in two parts of the model"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_set(SMALL, cases[i].set);
        expect_refusal(part_name(1, cases[i].set.parts), ERR_FORMAT, cases[i].says);
        remove_set(cases[i].set.parts);
    }
}

static void test_names(void **state)
{
    (void)state;
    char elsewhere[PATH_SIZE];
    snprintf(elsewhere, sizeof elsewhere, "%s/first.gguf", folder);
    write_set(SMALL, (split){.parts = 3});
    expect_refusal(part_name(2, 3), ERR_UNSUPPORTED,
                   "part 2 of 3 of a split model; name its first part, m-00001-of-00003.gguf");
    assert_int_equal(rename(part_name(3, 3), elsewhere), 0);
    expect_refusal(part_name(1, 3), ERR_NOT_FOUND, "part 3 of 3: ");
    expect_refusal(part_name(1, 3), ERR_NOT_FOUND, "/m-00003-of-00003.gguf: cannot open");
    expect_refusal(elsewhere, ERR_UNSUPPORTED, "name its first part, which has split.no 0");
    assert_int_equal(rename(part_name(1, 3), elsewhere), 0);
    expect_refusal(elsewhere, ERR_UNSUPPORTED, "its name must end in -00001-of-00003.gguf");
    unlink(elsewhere);
    remove_set(3);
}

static void test_broken_part(void **state)
{
    (void)state;
    write_set(SMALL, (split){.parts = 2});
    assert_int_equal(truncate(part_name(2, 2), 5000), 0);
    expect_refusal(part_name(1, 2), ERR_FORMAT, "part 2 of 2: ");
    FILE *f = fopen(part_name(2, 2), "wb");
    assert_non_null(f);
    fwrite("GGUF\0\0\0\3", 1, 8, f);
    fclose(f);
    expect_refusal(part_name(1, 2), ERR_UNSUPPORTED, "a big-endian GGUF file");
    remove_set(2);
}

int main(void)
{
    failure fail;
    strcpy(folder, "/tmp/a-io-split-XXXXXX");
    if (kernel_init(NULL, &fail) != OK || mkdtemp(folder) == NULL)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_holds_the_same),
        cmocka_unit_test(test_becomes_shorter),
        cmocka_unit_test(test_answers_the_same),
        cmocka_unit_test(test_field_set),
        cmocka_unit_test(test_quantized),
        cmocka_unit_test(test_false_parts),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_broken_part),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(folder) == 0 ? failed : 1;
}
