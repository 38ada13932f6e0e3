/* Broken GGUF files, thousands of them, always the same ones: opening must succeed or say why not,
 * and what was opened must be safe to read to its last byte. Crashes, leaks and reads outside the
 * file show under make SANITIZE=address,undefined; a hang ends by the alarm. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "gguf_writer.h"
#include "model/gguf.h"

#define LIMIT ((size_t)1 << 22)

typedef struct sample {
    char *bytes; /* the sound file */
    size_t length;
    size_t header; /* bytes before the data section */
    int fd;        /* a file in memory that holds a changed copy */
    char path[32];
    size_t opened, refused;
} sample;

static uint64_t random_state;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* ---- reading everything ---------------------------------------------------------------------- */

static volatile uint64_t sink;

/* Where the mapping being read begins and ends: it is padded to a page, so that a read past the
 * file's end would not always be caught otherwise. */
static uintptr_t mapping_begin, mapping_end;

static void read_bytes(const void *data, size_t length)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < length; i++)
        sum += ((const unsigned char *)data)[i];
    sink += sum;
}

static void read_mapped(const void *data, size_t length)
{
    uintptr_t begin = (uintptr_t)data;
    assert_true(begin >= mapping_begin && begin <= mapping_end && length <= mapping_end - begin);
    read_bytes(data, length);
}

static void read_key(const gguf *file, size_t index)
{
    char text[256];
    gguf_key_render(file, index, text, 8 + index % 100);
    assert_true(strlen(text) < 8 + index % 100);
    gguf_string name = gguf_key_at(file, index), value;
    if (name.length >= sizeof text || memchr(name.data, 0, name.length) != NULL)
        return;
    memcpy(text, name.data, name.length);
    text[name.length] = '\0';
    assert_true(gguf_has(file, text));
    uint64_t u;
    double d;
    bool b;
    const gguf_string *items;
    size_t count;
    float *floats;
    int32_t *ints;
    gguf_u64(file, text, &u);
    gguf_f64(file, text, &d);
    gguf_bool(file, text, &b);
    if (gguf_text(file, text, &value))
        read_mapped(value.data, value.length);
    if (gguf_text_array(file, text, &items, &count))
        for (size_t i = 0; i < count; i++)
            read_mapped(items[i].data, items[i].length);
    if (gguf_f32_array(file, text, &floats, &count, NULL) == OK) {
        read_bytes(floats, count * sizeof *floats);
        free(floats);
    }
    if (gguf_i32_array(file, text, &ints, &count, NULL) == OK) {
        read_bytes(ints, count * sizeof *ints);
        free(ints);
    }
}

static void read_all(const gguf *file)
{
    if (gguf_key_count(file) > 0) {
        /* The first key's name stands behind magic, version, two counts and its own length. */
        mapping_begin = (uintptr_t)gguf_key_at(file, 0).data - 32;
        mapping_end = mapping_begin + gguf_file_bytes(file);
    } else {
        mapping_begin = 0;
        mapping_end = UINTPTR_MAX;
    }
    for (size_t i = 0; i < gguf_key_count(file); i++)
        read_key(file, i);
    for (size_t i = 0; i < gguf_tensor_count(file); i++) {
        const gguf_tensor *t = gguf_tensor_at(file, i);
        read_mapped(t->data, t->bytes);
        read_mapped(t->name.data, t->name.length);
        assert_int_equal(t->dims[0] % t->type->block_values, 0);
    }
}

/* ---- trying one broken file ------------------------------------------------------------------ */

static void try_open(sample *s)
{
    gguf *file;
    failure fail = {0};
    error_code code = gguf_open(&file, s->path, &fail);
    if (code == OK) {
        read_all(file);
        gguf_close(file);
        s->opened++;
        return;
    }
    assert_null(file);
    assert_int_equal(code, fail.code);
    assert_true(strlen(fail.text) > strlen(s->path) + 2);
    s->refused++;
}

static void put(sample *s, size_t at, const void *bytes, size_t length)
{
    if (at < s->length)
        assert_true(
            pwrite(s->fd, bytes, at + length > s->length ? s->length - at : length, (off_t)at) > 0);
}

static void restore(sample *s, size_t at, size_t length)
{
    put(s, at, s->bytes + at, length);
}

static void truncations(sample *s)
{
    for (size_t length = 0; length < s->length; length += length < s->header ? 1 : 997) {
        assert_int_equal(ftruncate(s->fd, (off_t)length), 0);
        try_open(s);
    }
    assert_int_equal(s->opened, 0);
    assert_int_equal(ftruncate(s->fd, (off_t)s->length), 0);
    restore(s, 0, s->length);
    try_open(s);
    assert_int_equal(s->opened, 1);
}

static void bit_flips(sample *s)
{
    for (size_t at = 0; at < s->header; at++) {
        bool all = s->header < 4096;
        for (unsigned bit = all ? 0 : (unsigned)(at % 8); bit < 8; bit += all ? 1 : 8) {
            char changed = (char)(s->bytes[at] ^ (1 << bit));
            put(s, at, &changed, 1);
            try_open(s);
        }
        restore(s, at, 1);
    }
}

/* Counts, lengths, offsets and types that are absurd, at every place where one might stand. */
static void absurd_numbers(sample *s)
{
    const uint64_t values[] = {0,          1,
                               2,          9,
                               s->length,  s->length - 1,
                               UINT32_MAX, (uint64_t)INT64_MAX,
                               UINT64_MAX, UINT64_MAX - s->header,
                               1ULL << 61, 1ULL << 32};
    const size_t n_values = sizeof values / sizeof *values;
    bool all = s->header < 4096;
    for (size_t at = 4; at + 8 <= s->header; at++)
        for (size_t v = all ? 0 : at % n_values; v < n_values; v += all ? 1 : n_values) {
            put(s, at, &values[v], 8);
            try_open(s);
            restore(s, at, 8);
            put(s, at, &values[v], 4);
            try_open(s);
            restore(s, at, 4);
        }
}

static void many_changes(sample *s)
{
    random_state = 0x9e3779b97f4a7c15ULL;
    for (int round = 0; round < 2000; round++) {
        size_t n = 1 + next_random() % 6;
        for (size_t i = 0; i < n; i++) {
            uint64_t bytes = next_random();
            put(s, next_random() % s->header, &bytes, 1 + next_random() % 8);
        }
        try_open(s);
        restore(s, 0, s->header);
    }
}

static void break_in_every_way(sample *s)
{
    s->fd = memfd_create("gguf", 0);
    assert_true(s->fd >= 0);
    snprintf(s->path, sizeof s->path, "/proc/self/fd/%d", s->fd);
    restore(s, 0, s->length);
    truncations(s);
    bit_flips(s);
    absurd_numbers(s);
    many_changes(s);
    restore(s, 0, s->header);
    try_open(s);
    printf("%zu opened, %zu refused\n", s->opened, s->refused);
    assert_true(s->opened > 0 && s->refused > 0);
    close(s->fd);
}

/* ---- the samples ----------------------------------------------------------------------------- */

static void put_array(buffer *b, const char *name, uint32_t element, uint64_t count,
                      size_t value_bytes)
{
    put_key(b, name, 9);
    put_u32(b, element);
    put_u64(b, count);
    put_zeros(b, 1, count * value_bytes);
}

/* Every type of key, and tensors of several types and shapes. */
static void small_file(void **state)
{
    (void)state;
    static const size_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    buffer b;
    buffer_init(&b, LIMIT);
    put_header(&b, 3, 4, 25);
    for (uint32_t type = 0; type <= 12; type++) {
        char name[16];
        if (value_bytes[type] == 0)
            continue;
        snprintf(name, sizeof name, "scalar.%u", type);
        put_key(&b, name, type);
        put_zeros(&b, 1, value_bytes[type]);
        snprintf(name, sizeof name, "array.%u", type);
        put_array(&b, name, type, 3, value_bytes[type]);
    }
    put_key_u32(&b, "general.alignment", 64);
    put_key_text(&b, "general.architecture", "llama");
    put_key(&b, "tokens", 9);
    put_u32(&b, 8);
    put_u64(&b, 2);
    put_string(&b, "first");
    put_string(&b, "");
    put_tensor(&b, "a", 1, (uint64_t[]){16}, 0, 0);
    put_tensor(&b, "b", 2, (uint64_t[]){32, 3}, 8, 64);
    put_tensor(&b, "c", 4, (uint64_t[]){2, 2, 2, 2}, 1, 192);
    put_tensor(&b, "d", 1, (uint64_t[]){256}, 14, 256);
    put_zeros(&b, 64, 0);
    sample s = {.bytes = b.data, .header = b.length};
    put_zeros(&b, 64, 256 + 210);
    s.bytes = b.data;
    s.length = b.length;
    break_in_every_way(&s);
    buffer_free(&b);
}

static void golden_model(void **state)
{
    (void)state;
    FILE *f = fopen("tests/golden/data/qwen3.Q4_0.gguf", "rb");
    assert_non_null(f);
    buffer b;
    buffer_init(&b, LIMIT);
    assert_int_equal(buffer_read_fd(&b, fileno(f), NULL), OK);
    fclose(f);
    gguf *file;
    assert_int_equal(gguf_open(&file, "tests/golden/data/qwen3.Q4_0.gguf", NULL), OK);
    size_t data_bytes = 0;
    for (size_t i = 0; i < gguf_tensor_count(file); i++)
        data_bytes += (gguf_tensor_at(file, i)->bytes + 31) / 32 * 32;
    gguf_close(file);
    sample s = {.bytes = b.data, .length = b.length, .header = b.length - data_bytes};
    break_in_every_way(&s);
    buffer_free(&b);
}

int main(void)
{
    alarm(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_file),
        cmocka_unit_test(golden_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
