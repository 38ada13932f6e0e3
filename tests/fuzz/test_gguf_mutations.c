/* Broken GGUF files, thousands of them, always the same ones: opening must succeed or say why not,
 * and what was opened must be safe to read to its last byte. Crashes, leaks and reads outside the
 * file show under make SANITIZE=address,undefined; a hang ends by the alarm. */
#include "fuzz/mutations.h"

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
    if (gguf_key_count(file) > 0 && gguf_part_count(file) == 1) {
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
    buffer_init(&b, 1 << 16);
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
    sample s = {.try_file = try_open, .header = b.length};
    put_zeros(&b, 64, 256 + 210);
    s.bytes = b.data;
    s.length = b.length;
    break_in_every_way(&s);
    buffer_free(&b);
}

static void golden_model(void **state)
{
    (void)state;
    sample s = {.try_file = try_open};
    buffer b;
    read_sample(&s, &b, "tests/golden/data/qwen3.Q4_0.gguf");
    break_in_every_way(&s);
    buffer_free(&b);
}

/* ---- split models ---------------------------------------------------------------------------- */

static char first_part[64];

static void try_set(sample *s)
{
    gguf *file;
    failure fail = {0};
    if (gguf_open(&file, first_part, &fail) != OK) {
        s->refused++;
        return;
    }
    read_all(file);
    gguf_close(file);
    s->opened++;
}

static size_t build_part(buffer *b, uint32_t number, const char *tensor)
{
    buffer_init(b, 1 << 16);
    put_header(b, 3, 1, 3);
    put_key_u32(b, "split.no", number);
    put_key_u32(b, "split.count", 2);
    put_key_u32(b, "split.tensors.count", 2);
    put_tensor(b, tensor, 1, (uint64_t[]){16}, 0, 0);
    put_zeros(b, 32, 0);
    size_t header = b->length;
    put_zeros(b, 32, 64);
    return header;
}

/* A sound part beside one that is broken in every way, in each order. */
static void split_model(void **state)
{
    (void)state;
    for (uint32_t broken = 0; broken < 2; broken++) {
        char folder[] = "/tmp/a-io-set-XXXXXX", names[2][64], path[64];
        assert_non_null(mkdtemp(folder));
        for (int i = 0; i < 2; i++)
            snprintf(names[i], sizeof names[i], "%s/m-%05d-of-00002.gguf", folder, i + 1);
        memcpy(first_part, names[0], sizeof first_part);
        buffer b, sound;
        sample s = {.try_file = try_set, .header = build_part(&b, broken, "a")};
        build_part(&sound, 1 - broken, "b");
        write_temporary(sound.data, sound.length, path);
        assert_int_equal(rename(path, names[1 - broken]), 0);
        /* break_in_every_way changes a file in memory: the next descriptor that is free. */
        int next = dup(STDIN_FILENO);
        close(next);
        snprintf(path, sizeof path, "/proc/self/fd/%d", next);
        assert_int_equal(symlink(path, names[broken]), 0);
        s.bytes = b.data;
        s.length = b.length;
        break_in_every_way(&s);
        for (int i = 0; i < 2; i++)
            unlink(names[i]);
        rmdir(folder);
        buffer_free(&b);
        buffer_free(&sound);
    }
}

int main(void)
{
    alarm(300);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(small_file),
        cmocka_unit_test(golden_model),
        cmocka_unit_test(split_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
