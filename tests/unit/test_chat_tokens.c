/* The tokens of rendered conversations: users never write control tokens. */
#include <dirent.h>
#include <stdbool.h>

#include "chat_templates.h"

static tokenizer *load(bool with_bos)
{
    vocabulary v;
    vocabulary_bpe(&v);
    v.bos = BPE_BOS;
    v.add_bos = with_bos;
    tokenizer *t = NULL;
    failure fail = {0};
    if (vocabulary_load(&v, &t, &fail) != OK)
        fail_msg("%s", fail.text);
    return t;
}

static void expect_ids(const tokenizer *t, const chat_text *text, const int *want)
{
    token_list ids = {0};
    failure fail = {0};
    assert_int_equal(chat_encode(t, text, &ids, &fail), OK);
    size_t n = 0;
    for (; want[n] != -1; n++)
        if (n >= ids.length || ids.ids[n] != want[n])
            fail_msg("id %zu is %d, not %d", n, n < ids.length ? ids.ids[n] : -1, want[n]);
    assert_int_equal(ids.length, n);
    token_list_free(&ids);
}

#define IDS(...) ((const int[]){__VA_ARGS__, -1})

static void test_user_text_is_text(void **state)
{
    (void)state;
    tokenizer *t = load(false);
    chat_text text;
    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "<|im_start|>", 12, true);
    chat_text_add(&text, "<a><|im_end|>", 13, false);
    chat_text_add(&text, "", 0, false);
    chat_text_add(&text, "<|im_end|>", 10, true);
    expect_ids(t, &text,
               IDS(BPE_IM_START, '<', 'a', '>', '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>',
                   BPE_IM_END));
    chat_text_free(&text);

    /* nor does a special arise across the border of a user's text */
    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "<", 1, true);
    chat_text_add(&text, "a", 1, false);
    chat_text_add(&text, ">", 1, true);
    expect_ids(t, &text, IDS('<', 'a', '>'));
    chat_text_free(&text);
    tokenizer_destroy(t);
}

static void test_merges_cross_borders(void **state)
{
    (void)state;
    tokenizer *t = load(false);
    chat_text text;
    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "<a>he", 5, true);
    chat_text_add(&text, "ll", 2, false);
    chat_text_add(&text, "o<a>", 4, true);
    expect_ids(t, &text, IDS(BPE_A, BPE_HELLO, BPE_A));
    chat_text_free(&text);
    tokenizer_destroy(t);
}

static void test_bos(void **state)
{
    (void)state;
    tokenizer *asks = load(true), *silent = load(false);
    chat_text text;
    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "hello", 5, true);
    expect_ids(asks, &text, IDS(BPE_BOS, BPE_HELLO));
    expect_ids(silent, &text, IDS(BPE_HELLO));
    chat_text_free(&text);

    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "<s>hello<s>", 11, true);
    expect_ids(asks, &text, IDS(BPE_BOS, BPE_HELLO, BPE_BOS));
    expect_ids(silent, &text, IDS(BPE_BOS, BPE_HELLO, BPE_BOS));
    chat_text_free(&text);

    /* a user's "<s>" is no bos */
    chat_text_init(&text, LIMIT);
    chat_text_add(&text, "<s>", 3, false);
    expect_ids(asks, &text, IDS(BPE_BOS, '<', 's', '>'));
    chat_text_free(&text);

    chat_text_init(&text, LIMIT);
    expect_ids(asks, &text, IDS(BPE_BOS));
    chat_text_free(&text);
    tokenizer_destroy(asks);
    tokenizer_destroy(silent);
}

static void test_whole_conversation(void **state)
{
    (void)state;
    tokenizer *t = load(false);
    chat_template *chatml = NULL;
    assert_int_equal(
        chat_template_choose(&chatml, "chatml", (chat_vocabulary){.tokenizer = t}, NULL), OK);
    const chat_message talk[] = {message("user", "hello<|im_end|>")};
    const chat_input input = {.messages = talk, .n_messages = 1};
    chat_text text;
    chat_text_init(&text, LIMIT);
    assert_int_equal(chat_render(chatml, &input, &text, NULL), OK);
    expect_ids(t, &text,
               IDS(BPE_IM_START, 'u', 's', 'e', 'r', '\n', BPE_HELLO, '<', '|', 'i', 'm', '_', 'e',
                   'n', 'd', '|', '>', BPE_IM_END, '\n'));
    chat_text_free(&text);
    chat_template_destroy(chatml);
    tokenizer_destroy(t);
}

/* The ids of the one conversation `user` says `content` in, by this Jinja text. */
static void ids_of(const tokenizer *t, const char *jinja, const char *role, const char *content,
                   token_list *ids)
{
    chat_template *template = NULL;
    failure fail = {0};
    if (chat_template_compile(&template, jinja, strlen(jinja), (chat_vocabulary){.tokenizer = t},
                              &fail) != OK)
        fail_msg("%s", fail.text);
    const chat_message talk[] = {message(role, content)};
    const chat_input input = {.messages = talk, .n_messages = 1};
    chat_text text;
    chat_text_init(&text, LIMIT);
    if (chat_render(template, &input, &text, &fail) != OK)
        fail_msg("%s", fail.text);
    assert_int_equal(chat_encode(t, &text, ids, &fail), OK);
    chat_text_free(&text);
    chat_template_destroy(template);
}

static size_t controls_in(const tokenizer *t, const char *jinja, const char *role,
                          const char *content)
{
    token_list ids = {0};
    size_t n = 0;
    ids_of(t, jinja, role, content, &ids);
    for (size_t i = 0; i < ids.length; i++)
        n += tokenizer_is_control(t, ids.ids[i]);
    token_list_free(&ids);
    return n;
}

/* However a template takes a message apart and puts it together, no text of the message becomes
 * part of a control token; its own do, also around the name of a known role. */
static void test_no_token_arises(void **state)
{
    (void)state;
    static const struct {
        const char *jinja, *role, *content;
        size_t controls;
    } cases[] = {
        {"{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}", "user",
         "<|im_end|><|im_start|>", 2},
        /* across the border to the template's text, at both ends */
        {"{{ messages[0].content }}im_end|>", "user", "<|", 0},
        {"<|im_{{ messages[0].content }}", "user", "end|>", 0},
        {"<|{{ messages[0].content }}|>", "user", "im_end", 0},
        {"<|{{ messages[0].role }}|>", "user", "x", 0},
        /* put together by the template */
        {"{{ messages[0].content | replace('x', '') }}", "user", "<|im_xend|>", 0},
        {"{{ messages[0].content.split('#') | join }}", "user", "<|im_#end|>", 0},
        {"{{ messages[0].content[::-1] }}", "user", ">|dne_mi|<", 0},
        {"{{ messages[0].content | upper | lower }}", "user", "<|IM_END|>", 0},
        {"{{ messages[0] | tojson }}<|im_end|>", "user", "<|im_end|>", 1},
        {"{{ messages[0] }}<|im_end|>", "user", "<|im_end|>", 1},
        {"{{ '%s' % messages[0].content }}{{ '{}'.format(messages[0].content) }}", "user",
         "<|im_end|>", 0},
        {"{% macro m(x) %}{{ x }}{% endmacro %}{{ m(messages[0].content) ~ '<|im_end|>' }}", "user",
         "<|im_end|>", 1},
        {"{% set x %}{{ messages[0].content }}{% endset %}{{ x | trim }}", "user", " <|im_end|> ",
         0},
        /* looked at by the template */
        {"{{ messages[0].content.split('<|im_end|>')[0] }}<|im_end|>", "user", "a<|im_end|>b", 1},
        {"{% if '<|im_end|>' in messages[0].content %}<|im_start|>{% endif %}"
         "{{ messages[0].content }}",
         "user", "<|im_end|>", 1},
        {"{% if messages[0].content == '<|im_end|>' %}<|im_start|>{% endif %}", "user",
         "<|im_end|>", 1},
        {"{% if messages[0].content.startswith('<|im') %}<|im_start|>{% endif %}", "user",
         "<|im_end|>", 1},
    };
    tokenizer *t = load(false);
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t n = controls_in(t, cases[i].jinja, cases[i].role, cases[i].content);
        if (n != cases[i].controls)
            fail_msg("%s: %zu control tokens, not %zu", cases[i].jinja, n, cases[i].controls);
    }
    /* `'<|' + role + '|>'` makes a special token of a known role, and of no other word */
    assert_int_equal(controls_in(t, "<{{ messages[0].role }}>", "s", "x"), 0);
    tokenizer_destroy(t);
}

/* Every special token's text in a message, whole and in two halves, leaves the number of control
 * tokens what it is without. */
static void check_specials(const tokenizer *t, const char *jinja)
{
    static const char *const texts[] = {"<s>", "<|im_start|>", "<|im_end|>", "<a>"};
    failure fail = {0};
    chat_template *template = NULL;
    assert_int_equal(chat_template_compile(&template, jinja, strlen(jinja),
                                           (chat_vocabulary){.tokenizer = t}, &fail),
                     OK);
    size_t expected = 0;
    for (size_t i = 0; i <= 2 * COUNT(texts); i++) {
        char content[64] = "Hello";
        if (i > 0)
            snprintf(content, sizeof content, i % 2 == 0 ? "Hello %s" : "%s <think>%s</think> x",
                     texts[(i - 1) / 2], texts[(i - 1) / 2]);
        const chat_message talk[] = {message("user", content), message("assistant", content),
                                     message("user", content)};
        const chat_input input = {.messages = talk, .n_messages = 3, .generation_prompt = true};
        chat_text text;
        token_list ids = {0};
        chat_text_init(&text, LIMIT);
        error_code code = chat_render(template, &input, &text, &fail);
        if (code == OK)
            assert_int_equal(chat_encode(t, &text, &ids, &fail), OK);
        else if (code != ERR_TEMPLATE || i > 0)
            fail_msg("%s", fail.text);
        size_t n = 0;
        for (size_t k = 0; k < ids.length; k++)
            n += tokenizer_is_control(t, ids.ids[k]);
        if (i == 0)
            expected = n;
        if (n != expected)
            fail_msg("\"%s\": %zu control tokens, not %zu", content, n, expected);
        token_list_free(&ids);
        chat_text_free(&text);
        if (code != OK)
            break; /* one that takes no such conversation */
    }
    chat_template_destroy(template);
}

static void test_shared_specials(void **state)
{
    (void)state;
    skip_without_shared();
    tokenizer *t = load(false);
    DIR *folder = opendir(SHARED_TEMPLATES);
    assert_non_null(folder);
    size_t n = 0;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (strstr(entry->d_name, ".jinja") == NULL)
            continue;
        char path[512];
        snprintf(path, sizeof path, SHARED_TEMPLATES "%s", entry->d_name);
        char *jinja = read_file(path);
        check_specials(t, jinja);
        free(jinja);
        n++;
    }
    closedir(folder);
    print_message("%zu templates\n", n);
    assert_true(n > 0);
    tokenizer_destroy(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_user_text_is_text),
        cmocka_unit_test(test_merges_cross_borders),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_whole_conversation),
        cmocka_unit_test(test_no_token_arises),
        cmocka_unit_test(test_shared_specials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
