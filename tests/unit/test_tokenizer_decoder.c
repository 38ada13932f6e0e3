/* Tokenizers: text of tokens, files that do not hold together, and many threads. */
#include <math.h>
#include <pthread.h>

#include "tokenizer_load.h"

/* ---- decoding ------------------------------------------------------------------------------- */

static void expect_decoded(const tokenizer *t, const int *ids, bool at_start, const char *want)
{
    text_decoder d;
    text_decoder_init(&d, t, at_start);
    buffer out;
    buffer_init(&out, 1000);
    for (; *ids != -1; ids++) {
        size_t before = out.length;
        assert_int_equal(text_decoder_push(&d, *ids, &out), OK);
        if (out.length > before) /* only whole characters come out */
            assert_int_not_equal(out.data[before] & 0xC0, 0x80);
    }
    assert_int_equal(text_decoder_finish(&d, &out), OK);
    assert_int_equal(text_decoder_finish(&d, &out), OK);
    assert_string_equal(out.data == NULL ? "" : out.data, want);
    buffer_free(&out);
}

#define BAD "\xEF\xBF\xBD"

static void test_decoder(void **state)
{
    (void)state;
    tokenizer *t = load_bpe("qwen2");
    expect_decoded(t, IDS(BPE_HELLO, BPE_SPACE_W, 'x'), true, "hello wx");
    expect_decoded(t, IDS(0xE4, 0xB8, 0xAD, 'x'), true, "中x");
    expect_decoded(t, IDS(BPE_IM_START, 'a', BPE_IM_END), true, "a");
    expect_decoded(t, IDS(BPE_THINK), true, "<think>");
    /* maximal subparts, Unicode 15 table 3-8 */
    expect_decoded(t, IDS(0xF0, 0x9F, 0x98, 'A'), true, BAD "A");
    expect_decoded(t, IDS(0xE1, 0x80, 0xE2, 0xF0, 0x91, 0x92, 0xF1, 0xBF, 'A'), true,
                   BAD BAD BAD BAD "A");
    expect_decoded(t, IDS(0xC0, 0xAF, 0xE0, 0x80, 0xBF, 'A'), true, BAD BAD BAD BAD BAD "A");
    expect_decoded(t, IDS(0xED, 0xA0, 0x80, 'A'), true, BAD BAD BAD "A");
    expect_decoded(t, IDS(0xF4, 0x91, 0x92, 0x93, 0xFF, 'A'), true, BAD BAD BAD BAD BAD "A");
    expect_decoded(t, IDS(0xE4, 0xB8), true, BAD);
    expect_decoded(t, IDS('a', 0xE4, BPE_HELLO), true, "a" BAD "hello");
    expect_decoded(t, IDS(5000), true, "");
    tokenizer_destroy(t);
}

static void test_spm_decoder(void **state)
{
    (void)state;
    tokenizer *t = load_spm();
    int hi = tokenizer_find(t, " hi", 3), two = tokenizer_find(t, "  ", 2);
    expect_decoded(t, IDS(SPM_BOS, hi, hi), true, "hi hi");
    expect_decoded(t, IDS(hi, hi), false, " hi hi");
    expect_decoded(t, IDS(two, hi), true, "  hi");
    expect_decoded(t, IDS(SPM_BYTES + 0xC3, SPM_BYTES + 0xA9), true, "é");
    expect_decoded(t, IDS(hi, SPM_EOS, hi, hi), true, "hihi hi");
    tokenizer_destroy(t);
}

static void test_decoder_limit(void **state)
{
    (void)state;
    tokenizer *t = load_bpe("qwen2");
    text_decoder d;
    text_decoder_init(&d, t, true);
    buffer out;
    buffer_init(&out, 4);
    assert_int_equal(text_decoder_push(&d, BPE_HELLO, &out), ERR_TOO_LARGE);
    buffer_free(&out);
    tokenizer_destroy(t);
}

/* ---- files that do not hold together --------------------------------------------------------- */

static void expect_refusal(const vocabulary *v, error_code code, const char *text)
{
    tokenizer *t = NULL;
    failure fail = {0};
    error_code got = vocabulary_load(v, &t, &fail);
    if (got != code || strstr(fail.text, text) == NULL)
        fail_msg("expected %d \"%s\", got %d \"%s\"", code, text, got, fail.text);
    assert_null(t);
}

static void test_refusals(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_bpe(&v);
    v.pre = "tekken\n";
    expect_refusal(&v, ERR_UNSUPPORTED, "pre type \"tekken\\x0a\"");
    v.pre = "qwen";
    expect_refusal(&v, ERR_UNSUPPORTED, "\"qwen\"");
    v.pre = "";
    expect_refusal(&v, ERR_UNSUPPORTED, "docs/tokenizers.md");
    v.pre = "qwen2";
    v.model = "t5";
    expect_refusal(&v, ERR_UNSUPPORTED, "tokenizer model \"t5\"");
    v.model = "gpt2";
    v.merges[6] = "hello !";
    expect_refusal(&v, ERR_FORMAT, "entry 6 (\"hello !\")");
    v.merges[6] = "nospace";
    expect_refusal(&v, ERR_FORMAT, "entry 6");
    v.merges[0] = NULL;
    expect_refusal(&v, ERR_FORMAT, "merges is missing");
    vocabulary_bpe(&v);
    v.bos = (int)v.n;
    expect_refusal(&v, ERR_FORMAT, "bos_token_id names no token");
    v.bos = -1;
    v.types[3] = 7;
    expect_refusal(&v, ERR_FORMAT, "token 3 has the unknown type 7");
    vocabulary_spm(&v);
    v.scores[300 - 40] = NAN;
    expect_refusal(&v, ERR_FORMAT, "scores: entry 260");
    vocabulary_spm(&v);
    strcpy(v.tokens[SPM_BYTES], "<0xGG>");
    expect_refusal(&v, ERR_FORMAT, "byte token 3");
    v.n = 0;
    expect_refusal(&v, ERR_FORMAT, "tokens is missing or empty");
}

static void test_missing_pre(void **state)
{
    (void)state;
    tokenizer *t = load_bpe(NULL);
    assert_string_equal(tokenizer_pre(t), "default");
    expect_ids(t, "hello", 5, false, true, IDS(BPE_HELLO));
    tokenizer_destroy(t);
}

/* A changed byte anywhere gives a tokenizer that works or a refusal, never a crash. */
static void test_broken_files(void **state)
{
    (void)state;
    vocabulary kinds[2];
    vocabulary_bpe(&kinds[0]);
    vocabulary_spm(&kinds[1]);
    uint32_t random = 7;
    for (int round = 0; round < 3000; round++) {
        buffer b;
        vocabulary_write(&kinds[round % 2], &b);
        for (int i = 0; i < 1 + round % 3; i++) {
            random = random * 1664525u + 1013904223u;
            b.data[(random >> 8) % b.length] = (char)(random >> 3);
        }
        tokenizer *t = NULL;
        failure fail = {0};
        if (vocabulary_load_bytes(&b, &t, &fail) == OK) {
            token_list ids = {0};
            (void)tokenizer_encode(t, "hello  hi<a>\xFF 中", 17, true, true, &ids, &fail);
            for (size_t i = 0; i < ids.length; i++)
                assert_true(ids.ids[i] >= 0 && (size_t)ids.ids[i] < tokenizer_size(t));
            token_list_free(&ids);
            tokenizer_destroy(t);
        } else {
            assert_true(fail.text[0] != '\0');
        }
        buffer_free(&b);
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *encode_often(void *context)
{
    const tokenizer *t = context;
    static const char text[] = "hello user hell world lllll user hello";
    token_list ids = {0};
    size_t n = 0;
    for (int i = 0; i < 200; i++) {
        ids.length = 0;
        if (tokenizer_encode(t, text, sizeof text - 1, false, true, &ids, NULL) != OK)
            break;
        n += ids.length;
    }
    token_list_free(&ids);
    return (void *)n;
}

static void test_threads(void **state)
{
    (void)state;
    tokenizer *t = load_bpe("qwen2");
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, t), 0);
    void *first = NULL;
    for (size_t i = 0; i < 4; i++) {
        void *n;
        pthread_join(threads[i], &n);
        first = i == 0 ? n : first;
        assert_ptr_equal(n, first);
    }
    assert_true((size_t)first >= 200);
    tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoder),       cmocka_unit_test(test_spm_decoder),
        cmocka_unit_test(test_decoder_limit), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_missing_pre),   cmocka_unit_test(test_broken_files),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
