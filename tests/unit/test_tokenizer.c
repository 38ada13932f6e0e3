/* Tokenizers on small vocabularies built here: merges, specials, bytes of any kind. */
#include <math.h>

#include "tokenizer_load.h"

static void test_bpe_merges(void **state)
{
    (void)state;
    tokenizer *t = load_bpe("qwen2");
    expect_ids(t, "hello", 5, false, true, IDS(BPE_HELLO));
    expect_ids(t, "hello", 5, false, true, IDS(BPE_HELLO)); /* now from the memo */
    expect_ids(t, "hell world", 10, false, true, IDS(BPE_HELL, BPE_SPACE_W, 'o', 'r', 'l', 'd'));
    expect_ids(t, "lll", 3, false, true, IDS(BPE_LL, 'l')); /* of equal ranks the left one */
    expect_ids(t, "user", 4, false, true, IDS('u', 's', 'e', 'r'));
    expect_ids(t, "user", 4, false, true, IDS('u', 's', 'e', 'r'));
    expect_ids(t, "", 0, false, true, (const int[]){-1});
    assert_string_equal(tokenizer_model(t), "gpt2");
    assert_string_equal(tokenizer_pre(t), "qwen2");
    assert_int_equal(tokenizer_bos(t), -1);
    tokenizer_destroy(t);

    t = load_bpe("llama-bpe"); /* takes whole words before merging */
    expect_ids(t, "user", 4, false, true, IDS(BPE_USER));
    tokenizer_destroy(t);
}

static void test_specials(void **state)
{
    (void)state;
    tokenizer *t = load_bpe("qwen2");
    expect_ids(t, "<|im_end|>", 10, true, true, IDS(BPE_IM_END));
    expect_ids(t, "<a>", 3, false, true, IDS('<', 'a', '>'));
    expect_ids(t, "<a><b>", 6, true, true, IDS(BPE_AB)); /* the longest */
    expect_ids(t, "<a><b", 5, true, true, IDS(BPE_A, '<', 'b'));
    expect_ids(t, "x<a>hello<think>", 16, true, true, IDS('x', BPE_A, BPE_HELLO, BPE_THINK));
    assert_int_equal(tokenizer_find(t, "<a>", 3), BPE_A);
    assert_int_equal(tokenizer_find(t, "<a", 2), -1);
    assert_int_equal(tokenizer_find(t, " w", 2), BPE_SPACE_W);
    assert_int_equal(tokenizer_find(t, "", 0), -1);
    assert_true(tokenizer_is_end(t, BPE_IM_END));
    assert_false(tokenizer_is_end(t, BPE_IM_START));
    assert_false(tokenizer_is_end(t, -1));
    assert_true(tokenizer_is_control(t, BPE_A));
    assert_false(tokenizer_is_control(t, BPE_THINK));
    assert_false(tokenizer_is_control(t, 100000));
    size_t length;
    tokenizer_bytes(t, BPE_A, false, &length);
    assert_int_equal(length, 0);
    assert_memory_equal(tokenizer_bytes(t, BPE_A, true, &length), "<a>", 3);
    assert_memory_equal(tokenizer_bytes(t, BPE_THINK, false, &length), "<think>", 7);
    assert_int_equal(length, 7);
    tokenizer_bytes(t, 100000, true, &length);
    assert_int_equal(length, 0);
    tokenizer_destroy(t);
}

static void test_ends(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_spm(&v);
    int end = vocabulary_add(&v, "[unused10]", 3, 0);
    tokenizer *t = load(&v);
    assert_true(tokenizer_is_end(t, SPM_EOS));
    assert_false(tokenizer_is_end(t, end));
    tokenizer_destroy(t);
    v.architecture = "pangu-embedded";
    t = load(&v);
    assert_true(tokenizer_is_end(t, end));
    tokenizer_destroy(t);
}

static void expect_bytes(const tokenizer *t, const char *text, size_t length)
{
    token_list ids = {0};
    failure fail = {0};
    assert_int_equal(tokenizer_encode(t, text, length, false, false, &ids, &fail), OK);
    size_t at = 0;
    for (size_t i = 0; i < ids.length; i++) {
        size_t n;
        const char *bytes = tokenizer_bytes(t, ids.ids[i], false, &n);
        assert_true(n <= length - at);
        assert_memory_equal(bytes, text + at, n);
        at += n;
    }
    assert_int_equal(at, length);
    token_list_free(&ids);
}

/* Words that were added to a vocabulary are found in any text; control tokens, and what must be one
 * by its text, only where specials are wanted. */
static void test_added_tokens(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_bpe(&v);
    int spaces = vocabulary_add(&v, "   ", 4, 0);
    int turn = vocabulary_add(&v, "<|START_OF_TURN|>", 4, 0);
    int hole = vocabulary_add(&v, "<fim_middle>", 4, 0);
    int foreign = vocabulary_add(&v, "ü", 4, 0);
    strcpy(v.tokens[0xFC], "gone"); /* ü is the letter of byte 0xFC: DeepSeek lists it as added */
    tokenizer *t = load(&v);
    expect_ids(t, "hello<think>x", 13, false, true, IDS(BPE_HELLO, BPE_THINK, 'x'));
    expect_ids(t, "       w", 8, false, true, IDS(spaces, spaces, BPE_SPACE_W));
    expect_ids(t, "  <think>", 9, false, true, IDS(' ', ' ', BPE_THINK));
    expect_ids(t, "ü", 2, false, true, IDS(foreign));
    expect_ids(t, "\xFC", 1, false, true, IDS(foreign)); /* no other token stands for it */
    expect_ids(t, "<|START_OF_TURN|>", 17, true, true, IDS(turn));
    expect_ids(t, "<fim_middle>", 12, true, true, IDS(hole));
    assert_true(tokenizer_is_control(t, turn) && tokenizer_is_control(t, hole));
    assert_false(tokenizer_is_control(t, spaces) || tokenizer_is_control(t, BPE_THINK));
    token_list ids = {0};
    assert_int_equal(tokenizer_encode(t, "<|START_OF_TURN|>", 17, false, true, &ids, NULL), OK);
    assert_int_equal(ids.length, 17);
    token_list_free(&ids);
    tokenizer_destroy(t);
}

static bool ends(const vocabulary *v, int id)
{
    tokenizer *t = load(v);
    bool is_end = tokenizer_is_end(t, id);
    tokenizer_destroy(t);
    return is_end;
}

static void test_ends_by_text(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_bpe(&v);
    int end = vocabulary_add(&v, "<|end|>", 3, 0);
    int eot = vocabulary_add(&v, "[EOT]", 4, 0), plain = vocabulary_add(&v, "<|eot_id|>", 1, 0);
    int strike = vocabulary_add(&v, "</s>", 1, 0);
    assert_true(ends(&v, end) && ends(&v, eot) && ends(&v, plain));
    assert_false(ends(&v, strike)); /* a word like others here */
    int done = vocabulary_add(&v, "<|return|>", 3, 0);
    assert_true(ends(&v, end) && ends(&v, done));
    vocabulary_add(&v, "<|call|>", 3, 0); /* gpt-oss: <|end|> ends a message, not the turn */
    assert_false(ends(&v, end));
    assert_true(ends(&v, done));
}

/* A merge may speak of tokens that the file calls added; none makes a control token. */
static void test_merges_of_added_tokens(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_bpe(&v);
    v.types[BPE_HELL] = 4;
    tokenizer *t = load(&v);
    expect_ids(t, "hello", 5, false, true, IDS(BPE_HELL, 'o')); /* cut out before words are made */
    tokenizer_destroy(t);
    vocabulary_bpe(&v);
    v.types[BPE_HELLO] = 3;
    t = load(&v);
    expect_ids(t, "hello", 5, false, true, IDS(BPE_HELL, 'o'));
    expect_ids(t, "hello", 5, true, true, IDS(BPE_HELLO));
    tokenizer_destroy(t);
}

/* BPE on characters: spaces as U+2581, bytes as <0xNN>, runs of newlines taken whole. */
static void test_text_bpe(void **state)
{
    (void)state;
    vocabulary v = {.model = "gemma4",
                    .merges = {"▁ h", "h i", "▁ hi", "\n \n"},
                    .bos = 0,
                    .eos = -1,
                    .unknown = -1,
                    .add_bos = 0};
    vocabulary_add(&v, "<bos>", 3, 0);
    for (unsigned byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        vocabulary_add(&v, text, 6, 0);
    }
    int space = vocabulary_add(&v, "▁", 1, 0), h = vocabulary_add(&v, "h", 1, 0);
    int i = vocabulary_add(&v, "i", 1, 0), newline = vocabulary_add(&v, "\n", 1, 0);
    int space_h = vocabulary_add(&v, "▁h", 1, 0), hi = vocabulary_add(&v, "hi", 1, 0);
    vocabulary_add(&v, "▁hi", 1, 0);
    int two = vocabulary_add(&v, "\n\n", 1, 0), three = vocabulary_add(&v, "\n\n\n", 1, 0);
    tokenizer *t = load(&v);
    assert_string_equal(tokenizer_model(t), "gemma4");
    assert_true(tokenizer_adds_bos(t));                    /* whatever the file says */
    expect_ids(t, " hi", 3, false, true, IDS(space_h, i)); /* the better rank first */
    expect_ids(t, "▁hi", 5, false, true, IDS(space_h, i));
    expect_ids(t, "hi h", 4, false, true, IDS(hi, space_h));
    expect_ids(t, "h\n\n\ni", 5, false, true, IDS(h, three, i));
    expect_ids(t, "\n\n\n\n", 4, false, true, IDS(two, two));
    expect_ids(t, "\n ", 2, false, true, IDS(newline, space));
    expect_ids(t, "é\xFF", 3, false, true, IDS(1 + 0xC3, 1 + 0xA9, 1 + 0xFF));
    expect_bytes(t, "hi é \n\n\xFF中 h", 15);
    tokenizer_destroy(t);
}

static void test_any_bytes(void **state)
{
    (void)state;
    tokenizer *all[] = {load_bpe("gpt-2"), load_bpe("qwen2"), load_bpe("llama-bpe"),
                        load_bpe("deepseek-coder"), load_spm()};
    static const char *const parts[] = {"hello",    " ",  "hi",           "\xFF",
                                        "\xE4\xB8", "中", "\xC0\x80",     "\n",
                                        "7",        "'s", "\xED\xA0\x80", "\xF0\x9F\x98\x80"};
    uint32_t random = 1;
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        for (unsigned byte = 0; byte < 256; byte++)
            expect_bytes(all[k], &(char){(char)byte}, 1);
        for (int round = 0; round < 2000; round++) {
            char text[64];
            size_t length = 0;
            while (length < 40) {
                random = random * 1664525u + 1013904223u;
                const char *part = parts[(random >> 16) % (sizeof parts / sizeof *parts)];
                if ((random >> 28) == 0)
                    text[length++] = (char)(random >> 8);
                memcpy(text + length, part, strlen(part));
                length += strlen(part);
            }
            expect_bytes(all[k], text, length);
        }
        tokenizer_destroy(all[k]);
    }
}

static void test_spm(void **state)
{
    (void)state;
    tokenizer *t = load_spm();
    int hi = tokenizer_find(t, "hi", 2), space_hi = tokenizer_find(t, " hi", 3);
    int two = tokenizer_find(t, "  ", 2);
    assert_true(hi > SPM_SPACE && space_hi > hi && two > 0);
    assert_string_equal(tokenizer_model(t), "llama");
    assert_string_equal(tokenizer_pre(t), "");
    assert_true(tokenizer_adds_bos(t));
    expect_ids(t, "hi", 2, false, true, IDS(space_hi));
    expect_ids(t, "hi", 2, false, false, IDS(hi));
    expect_ids(t, "th", 2, false, true, IDS(tokenizer_find(t, " th", 3)));
    expect_ids(t, "thi", 3, false, false, IDS(tokenizer_find(t, "t", 1), hi)); /* -2 before -5 */
    expect_ids(t, " hi", 3, false, true, IDS(SPM_SPACE, space_hi));
    expect_ids(t, "  ", 2, false, false, IDS(two));
    expect_ids(t, "▁hi", 5, false, false, IDS(space_hi)); /* U+2581 is a space */
    expect_ids(t, "é", 2, false, false, IDS(tokenizer_find(t, "é", 2)));
    expect_ids(t, "中", 3, false, false, IDS(SPM_BYTES + 0xE4, SPM_BYTES + 0xB8, SPM_BYTES + 0xAD));
    expect_ids(t, "<s>hi", 5, true, true, IDS(SPM_BOS, space_hi)); /* each part gets its space */
    expect_ids(t, "hi<s>hi", 7, true, true, IDS(space_hi, SPM_BOS, space_hi));
    expect_ids(t, "hi<s>hi", 7, true, false, IDS(hi, SPM_BOS, space_hi));
    expect_ids(t, "", 0, false, true, (const int[]){-1});
    tokenizer_destroy(t);
}

/* Added words in SentencePiece, spaces after specials, and the two models that differ. */
static void test_spm_specials(void **state)
{
    (void)state;
    vocabulary v;
    vocabulary_spm(&v);
    int tag = vocabulary_add(&v, "<b>", 4, 0), spaces = vocabulary_add(&v, "▁▁▁", 4, 0);
    int user = vocabulary_add(&v, "<|user|>", 3, 0);
    tokenizer *t = load(&v);
    int hi = tokenizer_find(t, "hi", 2), space_hi = tokenizer_find(t, " hi", 3);
    expect_ids(t, "hi<b>hi", 7, false, true, IDS(space_hi, tag, space_hi));
    expect_ids(t, "hi   hi", 7, false, true, IDS(space_hi, spaces, space_hi));
    expect_ids(t, "<|user|>\n hi", 12, true, true,
               IDS(user, SPM_SPACE, SPM_BYTES + '\n', space_hi));
    tokenizer_destroy(t);

    v.architecture = "phi3"; /* its special tokens take white space along */
    t = load(&v);
    expect_ids(t, "<|user|>\n\xE3\x80\x80 hi", 15, true, true, IDS(user, space_hi));
    expect_ids(t, "<s> hi", 6, true, true, IDS(SPM_BOS, SPM_SPACE, space_hi));
    tokenizer_destroy(t);

    v.architecture = NULL;
    int instruction = vocabulary_add(&v, "[INST]", 3, 0); /* Mistral: the first part only */
    t = load(&v);
    expect_ids(t, "hi[INST]hi[INST] hi", 19, true, true,
               IDS(space_hi, instruction, hi, instruction, space_hi));
    tokenizer_destroy(t);
}

static void test_spm_without_bytes(void **state)
{
    (void)state;
    vocabulary v = {.model = "llama", .bos = -1, .eos = -1, .unknown = 0, .add_bos = -1};
    vocabulary_add(&v, "<unk>", 2, 0);
    vocabulary_add(&v, "a", 1, 0);
    tokenizer *t = load(&v);
    expect_ids(t, "ab", 2, false, false, IDS(1, 0));
    assert_false(tokenizer_adds_bos(t));
    tokenizer_destroy(t);
    v.unknown = -1;
    t = load(&v);
    token_list ids = {0};
    failure fail = {0};
    assert_int_equal(tokenizer_encode(t, "ab", 2, false, false, &ids, &fail), ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "0x62"));
    assert_int_equal(ids.length, 0);
    token_list_free(&ids);
    tokenizer_destroy(t);
}

/* Merging a megabyte takes well under a second; anything quadratic would not end. */
static void test_long_run(void **state)
{
    (void)state;
    size_t length = (size_t)1 << 20;
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, 'l', length);
    tokenizer *t = load_bpe("qwen2");
    token_list ids = {0};
    assert_int_equal(tokenizer_encode(t, text, length, false, true, &ids, NULL), OK);
    assert_int_equal(ids.length, length / 4);
    assert_int_equal(ids.ids[12345], BPE_LLLL);
    tokenizer_destroy(t);
    t = load_spm();
    memset(text, ' ', length);
    ids.length = 0;
    assert_int_equal(tokenizer_encode(t, text, length, false, false, &ids, NULL), OK);
    assert_int_equal(ids.length, length / 2);
    tokenizer_destroy(t);
    token_list_free(&ids);
    free(text);
}

/* More spaces than PCRE2 takes steps by default. */
static void test_long_spaces(void **state)
{
    (void)state;
    size_t length = 10500000;
    char *text = malloc(length);
    assert_non_null(text);
    memset(text, ' ', length);
    tokenizer *t = load_bpe("qwen2");
    token_list ids = {0};
    assert_int_equal(tokenizer_encode(t, text, length, false, true, &ids, NULL), OK);
    assert_int_equal(ids.length, length);
    token_list_free(&ids);
    tokenizer_destroy(t);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bpe_merges),
        cmocka_unit_test(test_specials),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_spm),
        cmocka_unit_test(test_spm_without_bytes),
        cmocka_unit_test(test_long_run),
        cmocka_unit_test(test_long_spaces),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_ends_by_text),
        cmocka_unit_test(test_merges_of_added_tokens),
        cmocka_unit_test(test_text_bpe),
        cmocka_unit_test(test_spm_specials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
