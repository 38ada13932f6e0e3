/* Weights whose bytes are anybody's, scales above all: a matrix is refused with the block that is
 * no number, or all its rows are numbers; a model is refused with the tensor, or it runs. */
#include "fuzz/mutations.h"

#include <math.h>

#include "base/log.h"
#include "fuzz/texts.h"
#include "model/forward.h"
#include "unit/model_copy.h"

enum { ROWS = 5, COLS = 256, STEP_ROWS = 3 };

static const tensor_type types[] = {
    TENSOR_F32,  TENSOR_F16,   TENSOR_BF16,   TENSOR_Q4_0,   TENSOR_Q4_1, TENSOR_Q5_0,
    TENSOR_Q5_1, TENSOR_Q8_0,  TENSOR_Q2_K,   TENSOR_Q3_K,   TENSOR_Q4_K, TENSOR_Q5_K,
    TENSOR_Q6_K, TENSOR_MXFP4, TENSOR_IQ4_NL, TENSOR_IQ4_XS,
};

static long rounds;
static team *workers;

/* Any byte of a block, the ends oftener than others: types have their scales there. */
static size_t draw_place(size_t bytes)
{
    uint32_t few = bytes < 4 ? (uint32_t)bytes : 4;
    switch (draw(3)) {
    case 0:
        return draw(few);
    case 1:
        return bytes - 1 - draw(few);
    default:
        return draw((uint32_t)bytes);
    }
}

/* The high bytes of infinities and NaNs, of the largest numbers, or anything. */
static void spoil(uint8_t *block, size_t bytes)
{
    static const uint8_t high[] = {0x7C, 0xFC, 0x7E, 0x7F, 0xFF, 0x7B, 0x80, 0x00};
    for (uint32_t i = 1 + draw(4); i > 0; i--)
        block[draw_place(bytes)] = draw(2) == 0 ? high[draw(sizeof high)] : (uint8_t)draw(256);
}

/* ---- matrices -------------------------------------------------------------------------------- */

static size_t first_bad_block(const tensor_type_info *info, const uint8_t *data, size_t n)
{
    float values[COLS];
    for (size_t i = 0; i < n; i++) {
        info->decode(data + i * info->block_bytes, values, info->block_values);
        for (size_t k = 0; k < info->block_values; k++)
            if (!isfinite(values[k]))
                return i;
    }
    return n;
}

static bool has_number_rows(const matrix *m)
{
    float row[COLS];
    for (size_t i = 0; i < ROWS; i++) {
        matrix_read_row(m, i, row);
        if (!vector_is_finite(row, COLS))
            return false;
    }
    return true;
}

/* MXFP4's two largest scales are numbers, but not times its values: the logits' check finds them.
 */
static bool takes_matrix(const tensor_type_info *info, uint8_t *data, size_t n_blocks)
{
    failure why = {0};
    matrix *m;
    char expected[32];
    const matrix_source source = {info->type, data, ROWS};
    size_t bad = first_bad_block(info, data, n_blocks);
    error_code code = matrix_create(&m, &source, 1, COLS, &why);
    if (code == OK) {
        assert_true(info->type == TENSOR_MXFP4 || (bad == n_blocks && has_number_rows(m)));
        matrix_destroy(m);
        return true;
    }
    assert_int_equal(code, ERR_FORMAT);
    snprintf(expected, sizeof expected, "block %zu ", bad);
    if (info->type != TENSOR_MXFP4)
        assert_ptr_equal(strstr(why.text, expected), why.text);
    return false;
}

static void test_matrices(void **state)
{
    (void)state;
    const size_t n_types = sizeof types / sizeof *types;
    size_t n_refused = 0;
    uint8_t *sound = calloc(ROWS * COLS, 4), *data = malloc(ROWS * COLS * 4);
    assert_true(sound != NULL && data != NULL);
    for (size_t i = 0; i < ROWS * COLS * 4; i++)
        sound[i] = (uint8_t)(draw(256) & 0x3F); /* below every type's infinity */
    for (long round = 0; round < rounds; round++) {
        const tensor_type_info *info = tensor_type_find(types[draw((uint32_t)n_types)]);
        size_t n_blocks = ROWS * COLS / info->block_values, bytes = n_blocks * info->block_bytes;
        memcpy(data, sound, bytes);
        spoil(data + draw((uint32_t)n_blocks) * info->block_bytes, info->block_bytes);
        n_refused += !takes_matrix(info, data, n_blocks);
    }
    printf("%ld matrices: %zu refused\n", rounds, n_refused);
    assert_true(rounds < 1000 || n_refused > 0);
    free(sound);
    free(data);
}

/* ---- models ---------------------------------------------------------------------------------- */

/* True: all logits of the last row are numbers. */
static bool run_step(const model *m)
{
    const model_config *c = &m->config;
    size_t values = c->n_layers * c->n_kv_heads * STEP_ROWS * c->head_dim;
    kv_view kv = {.type = KV_F16, .capacity = STEP_ROWS};
    kv.keys = calloc(1, kv_value_bytes(KV_F16, values));
    kv.values = calloc(1, kv_value_bytes(KV_F16, values));
    forward *f;
    assert_true(kv.keys != NULL && kv.values != NULL);
    assert_int_equal(forward_create(&f, m, 1, STEP_ROWS, STEP_ROWS, NULL), OK);
    forward_row rows[STEP_ROWS];
    for (uint32_t i = 0; i < STEP_ROWS; i++)
        rows[i] = (forward_row){
            .token = (int32_t)(i * 7 + 1), .position = i, .kv = &kv, .want = WANT_LOGITS};
    forward_step(f, workers, rows, STEP_ROWS);
    bool finite = vector_is_finite(forward_logits(f, STEP_ROWS - 1), c->n_vocab);
    forward_destroy(f);
    free(kv.keys);
    free(kv.values);
    return finite;
}

typedef struct counts {
    size_t refused, finite, overflowing;
} counts;

static void try_model(const char *path, counts *n)
{
    failure why = {0};
    model *m;
    if (model_load(&m, path, &(model_options){.chat_template = "none"}, &why) != OK) {
        assert_int_equal(why.code, ERR_FORMAT);
        assert_non_null(strstr(why.text, "is not a number"));
        assert_non_null(strstr(why.text, "tensor '"));
        n->refused++;
        return;
    }
    bool finite = run_step(m);
    n->finite += finite;
    n->overflowing += !finite;
    model_destroy(m);
}

static void spoil_tensor(const model_copy *c, const gguf *file, counts *n)
{
    const gguf_tensor *t = gguf_tensor_at(file, draw((uint32_t)gguf_tensor_count(file)));
    size_t bytes = t->type->block_bytes, block = draw((uint32_t)(t->bytes / bytes));
    off_t at = tensor_offset(file, t) + (off_t)(block * bytes);
    uint8_t sound[512], broken[512];
    assert_true(bytes <= sizeof sound);
    assert_int_equal(pread(c->fd, sound, bytes, at), bytes);
    memcpy(broken, sound, bytes);
    spoil(broken, bytes);
    change_bytes(c, at, broken, bytes);
    try_model(c->path, n);
    change_bytes(c, at, sound, bytes);
}

static void test_models(void **state)
{
    (void)state;
    static const char *const files[] = {"llama-linear-tied.F32", "qwen3.Q4_0", "pangu.Q8_0",
                                        "llama.Q6_K"};
    const size_t n_files = sizeof files / sizeof *files;
    counts n = {0};
    for (size_t i = 0; i < n_files; i++) {
        char path[64];
        gguf *file;
        model_copy c;
        snprintf(path, sizeof path, "tests/golden/data/%s.gguf", files[i]);
        copy_model(&c, path);
        assert_int_equal(gguf_open(&file, path, NULL), OK);
        for (long round = 0; round < rounds / 100 / (long)n_files; round++)
            spoil_tensor(&c, file, &n);
        gguf_close(file);
        remove_copy(&c);
    }
    printf("models: %zu refused, %zu with numbers, %zu that overflow\n", n.refused, n.finite,
           n.overflowing);
    assert_true(rounds < 10000 || (n.refused > 0 && n.finite > 0));
}

int main(int argc, char **argv)
{
    rounds = rounds_asked(argc, argv, 40000);
    log_set_level(LOG_ERROR);
    if (kernel_init(NULL, NULL) != OK || team_create(&workers, 1, NULL) != OK)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrices),
        cmocka_unit_test(test_models),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    team_destroy(workers);
    return failed;
}
