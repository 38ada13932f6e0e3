/* How each name of tokenizer.ggml.pre splits texts into words. The words expected here were
 * computed apart from this program: by Python's regex module from the patterns in the models' own
 * tokenizer files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "model/tokenizer_internal.h"

#define COMMON "It's IT'S 1234567 CamelCase Éa中文A\n\n   हिन्दी x½²/y/\n!?\r\n  $5 ab  "

/* Words are divided by ¦. */
static const struct {
    const char *pre, *text, *words;
} cases[] = {
    {"gpt-2", COMMON,
     "It¦'s¦ IT¦'¦S¦ 1234567¦ CamelCase¦ Éa中文A¦\n\n  ¦ ह¦ि¦न¦्¦द¦ी¦ x¦½²¦/¦y¦/¦\n¦!?¦\r\n ¦ $¦5¦ "
     "ab¦  "},
    {"smollm", COMMON,
     "It¦'s¦ IT¦'¦S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n  ¦ ह¦ि¦न¦्¦द¦ी¦ x¦½¦²¦/¦y¦/¦\n¦!?¦\r\n "
     "¦ $¦5¦ ab¦  "},
    {"default", COMMON,
     "It¦'¦s¦ IT¦'¦S¦ ¦123¦456¦7¦ CamelCase¦ Éa中文A¦\n\n  ¦ ह¦ि¦न¦्¦द¦ी¦ x¦½²¦/¦y¦/¦\n¦!?¦\r\n  "
     "¦$¦5¦ ab¦  "},
    {"default", "a`b+c 1234", "a¦`¦b¦+¦c¦ ¦123¦4"},
    {"falcon", COMMON,
     "It¦'¦s¦ IT¦'¦S¦ ¦123¦456¦7¦ CamelCase¦ Éa中文A¦\n\n  ¦ ह¦ि¦न¦्¦द¦ी¦ x¦½²¦/¦y¦/¦\n¦!?¦\r\n  "
     "¦$¦5¦ ab¦  "},
    {"falcon", "a`b+c 1234", "a¦`¦b¦+¦c¦ ¦123¦4"},
    {"llama-bpe", COMMON,
     "It¦'s¦ IT¦'S¦ ¦123¦456¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"qwen2", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"qwen35", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ हिन्दी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"qwen35", "हिन्दी é e\u0301", "हिन्दी¦ é¦ e\u0301"},
    {"gpt-4o", COMMON,
     "It's¦ IT'S¦ ¦123¦456¦7¦ Camel¦Case¦ Éa中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ ab¦ "
     " "},
    {"tekken", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ Camel¦Case¦ Éa中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"deepseek-v3", COMMON,
     "It¦'s¦ IT¦'S¦ ¦123¦456¦7¦ CamelCase¦ Éa¦中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"deepseek-v3", "(word .x 1234中文かな한국 हिन्दी\n\n a",
     "(word¦ .¦x¦ ¦123¦4¦中文かな¦한국¦ हिन्दी¦\n\n¦ a"},
    {"spark2_5", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa¦中文¦A¦\n¦\n¦  ¦ हिन्दी¦ x¦½¦²¦/y¦/¦\n¦!?¦\r¦\n¦ "
     "¦ $¦5¦ ab¦  "},
    {"spark2_5", "(word !\n\n x 12", "(word¦ !¦\n¦\n¦ x¦ ¦1¦2"},
    {"deepseek-coder", COMMON,
     "It¦'¦s¦ IT¦'¦S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa¦中文¦A¦\n¦\n¦  ¦ ¦ह¦ि¦न¦्¦द¦ी¦ "
     "x¦½¦²¦/¦y¦/¦\n¦!?¦\r¦\n¦  $¦5¦ ab¦  "},
    {"deepseek-coder", "für die 中 (x) Ⅷ 12  ", "für¦ die¦ ¦中¦ (¦x¦)¦ ¦Ⅷ¦ ¦1¦2¦  "},
    {"deepseek-llm", COMMON,
     "It¦'¦s¦ IT¦'¦S¦ ¦1234567¦ CamelCase¦ É¦a¦中文¦A¦\n¦\n¦   ¦हिन्दी¦ x¦½²¦/¦y¦/¦\n¦!?¦\r¦\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"deepseek-llm", "für die 中 (x) Ⅷ \n 12  ", "f¦ü¦r¦ die¦ ¦中¦ (¦x¦)¦ ¦Ⅷ¦ ¦\n¦ ¦12¦  "},
    {"kimi-k2", COMMON,
     "It's¦ IT'S¦ ¦123¦456¦7¦ Camel¦Case¦ Éa¦中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ ab¦ "
     " "},
    {"kimi-k2", "中文ABc 々漢字x ǅaB", "中文¦ABc¦ ¦々漢字¦x¦ ǅa¦B"},
    {"jais-2", COMMON,
     "It¦'s¦ IT¦'S¦ ¦123¦456¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"jais-2", "a                       b \n  c !\n\n\n        ",
     "a¦                ¦    ¦  ¦ b¦ \n¦ ¦ c¦ !\n\n\n¦        "},
    {"youtu", COMMON,
     "It's¦ IT'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ Camel¦Case¦ Éa¦中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"youtu", "한국어x中文、。ㄅㄆ！xAbc", "한국어¦x¦中文¦、。¦ㄅㄆ¦！¦x¦Abc"},
    {"bloom", COMMON,
     "It's¦ IT'S¦ 1234567¦ CamelCase¦ Éa中文A¦\n\n  ¦ हिन्दी¦ x½²/y/¦\n!?\r\n ¦ $5¦ ab¦  "},
    {"bloom", "one two, three。four (five", "one¦ two¦,¦ three¦。¦four¦ (¦five"},
    {"viking", COMMON,
     "It's¦ IT'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n  ¦ हिन्दी¦ x¦½¦²¦/y/¦\n!?\r\n ¦ $¦5¦ ab¦ "
     " "},
    {"viking", "a 12, b", "a¦ ¦1¦2¦,¦ b"},
    {"tiny_aya", COMMON,
     "It's¦ IT'S¦ ¦1¦234¦567¦ Camel¦Case¦ Éa中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ ab¦ "
     " "},
    {"tiny_aya", "1234567 12a 1234a 12345", "1¦234¦567¦ ¦12¦a¦ ¦123¦4¦a¦ ¦12¦345"},
    {"superbpe", COMMON,
     "It's IT'S ¦1¦234¦567¦ CamelCase Éa中文A\n\n   हिन्दी x¦½²¦/y/\n!?\r\n  $¦5¦ ab  "},
    {"superbpe", "one two 1234567 x 12", "one two ¦1¦234¦567¦ x ¦12"},
    {"bailingmoe", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"seed-coder", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½¦²¦/y¦/¦\n¦!?¦\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"seed-coder", "a !\n\n b", "a¦ !¦\n\n¦ b"},
    {"exaone-moe", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase Éa中文A¦\n\n¦  ¦ हिन्दी x¦½¦²¦/y¦/\n¦!?\r¦\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"exaone-moe", "two words here, and 1 more!/\n\nx",
     "two words here¦,¦ and¦ ¦1¦ more¦!/\n¦\n¦x"},
    {"laguna", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½¦²¦/y¦/¦\n¦!?\r¦\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"laguna", "a \n\n b", "a¦ ¦\n\n¦ b"},
    {"minicpm5", COMMON,
     "It¦'s¦ IT¦'S¦ ¦123¦456¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"minicpm5", "x 1234's", "x¦ ¦123¦4¦'s"},
    {"chameleon", COMMON,
     "It¦'¦s¦ IT¦'¦S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n¦\n¦  ¦ ह¦ि¦न¦्¦द¦ी¦ "
     "x¦½¦²¦/¦y¦/¦\n¦!¦?¦\r¦\n¦  ¦$¦5¦ ab¦  "},
    {"chameleon", "<sentinel:12>IMGIMGABCDZ IMGIMGZ\t    ab  c-d 12",
     "<¦sentinel¦:¦1¦2¦>¦IMGIMGABCDZ¦ IMGIMGZ¦\t¦    ¦ab¦  ¦c¦-¦d¦ ¦1¦2"},
    {"ufakzeka", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦2¦3¦4¦5¦6¦7¦ CamelCase¦ Éa中文A¦\n\n¦  ¦ ह¦िन¦्द¦ी¦ x¦½¦²¦/y¦/\n¦!?\r\n¦ ¦ "
     "$¦5¦ ab¦  "},
    {"ufakzeka", "Ali'nin 12", "Ali¦'nin¦ ¦1¦2"},
    {"gemma4", COMMON,
     "It's IT'S 1234567 CamelCase Éa中文A¦\n\n¦   हिन्दी x½²/y/¦\n¦!?\r¦\n¦  $5 ab  "},
    {"gemma4", "a b\n\n c\n", "a b¦\n\n¦ c¦\n"},
    {"afmoe", COMMON,
     "It¦'s¦ IT¦'S¦ ¦1¦234¦567¦ CamelCase¦ Éa¦中文¦A¦\n\n¦  ¦ हिन्दी¦ x¦½²¦/y¦/\n¦!?\r\n¦ ¦ $¦5¦ "
     "ab¦  "},
    {"afmoe", "a 1234567 12 中文ไทย(b", "a¦ ¦1¦234¦567¦ ¦12¦ ¦中文ไ¦ทย¦(b"},
};

static void load_splitter(splitter *s, const pre_type *pre)
{
    failure fail = {0};
    *s = (splitter){0};
    if (splitter_init(s, pre->rule, &fail) != OK)
        fail_msg("%s: %s", pre->name, fail.text);
}

static error_code add_word(void *context, const char *word, size_t length)
{
    buffer *b = context;
    assert_true(length > 0);
    error_code code = b->length > 0 ? buffer_add_text(b, "¦") : OK;
    return code == OK ? buffer_add(b, word, length) : code;
}

static void split(const splitter *s, const char *text, size_t length, split_handler *handler,
                  void *context)
{
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    assert_non_null(match);
    failure fail = {0};
    if (splitter_run(s, match, text, length, handler, context, &fail) != OK)
        fail_msg("%s", fail.text);
    pcre2_match_data_free(match);
}

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const pre_type *pre = pre_type_find((gguf_string){cases[i].pre, strlen(cases[i].pre)});
        assert_non_null(pre);
        splitter s;
        load_splitter(&s, pre);
        buffer words;
        buffer_init(&words, 1000);
        split(&s, cases[i].text, strlen(cases[i].text), add_word, &words);
        if (strcmp(words.data, cases[i].words) != 0)
            fail_msg("%s\n  got  %s\n  want %s", pre->name, words.data, cases[i].words);
        buffer_free(&words);
        splitter_free(&s);
    }
}

/* Every rule has its words checked above. */
static void test_every_rule_is_checked(void **state)
{
    (void)state;
    for (size_t i = 0; pre_type_at(i) != NULL; i++) {
        bool checked = false;
        for (size_t k = 0; !checked && k < sizeof cases / sizeof *cases; k++) {
            gguf_string name = {cases[k].pre, strlen(cases[k].pre)};
            checked = pre_type_find(name)->rule == pre_type_at(i)->rule;
        }
        if (!checked)
            fail_msg("no case for the rule of %s", pre_type_at(i)->name);
    }
}

static void test_documented(void **state)
{
    (void)state;
    FILE *file = fopen("docs/tokenizers.md", "r");
    assert_non_null(file);
    static char text[1 << 16];
    size_t length = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[length] = '\0';
    for (size_t i = 0; pre_type_at(i) != NULL; i++) {
        char name[64];
        snprintf(name, sizeof name, "`%s`", pre_type_at(i)->name);
        if (strstr(text, name) == NULL)
            fail_msg("docs/tokenizers.md does not list %s", name);
    }
}

/* ---- hostile texts --------------------------------------------------------------------------- */

typedef struct coverage {
    const char *next;
    size_t words;
} coverage;

static error_code cover(void *context, const char *word, size_t length)
{
    coverage *c = context;
    assert_ptr_equal(word, c->next);
    c->next += length;
    c->words++;
    return OK;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* 64 KiB that repeat one unit: milliseconds; whatever looks at the rest of the text at every step
 * takes seconds. */
static void split_repeated(const splitter *s, const char *name, const char *unit, char last)
{
    static char text[1 << 16];
    size_t n = strlen(unit), length = 0;
    for (; length + n < sizeof text; length += n)
        memcpy(text + length, unit, n);
    text[length++] = last;
    coverage c = {.next = text};
    double start = seconds();
    split(s, text, length, cover, &c);
    assert_ptr_equal(c.next, text + length);
    if (seconds() - start > 0.5)
        fail_msg("%s takes %.1f s for a text of \"%s\"", name, seconds() - start, unit);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    static const char *const units[] = {
        "a",  "A", "Aa",      " ",       "\n",  " \n", "\r\n", "1",      "1a", "1 ",        "'",
        "!a", "/", "e\u0301", "\u0301A", "中A", "中 ", "a  ",  "\u3000", "Ⅷ",  "IMGIMGABCD"};
    for (size_t i = 0; pre_type_at(i) != NULL; i++) {
        if (i > 0 && pre_type_at(i)->rule == pre_type_at(i - 1)->rule)
            continue;
        splitter s;
        load_splitter(&s, pre_type_at(i));
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
            split_repeated(&s, pre_type_at(i)->name, units[u], 'x');
            split_repeated(&s, pre_type_at(i)->name, units[u], '1');
        }
        splitter_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_every_rule_is_checked),
        cmocka_unit_test(test_documented),
        cmocka_unit_test(test_hostile_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
