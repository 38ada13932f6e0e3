/* Chat templates: what is recognised, what it renders, and that users never write control tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "model/chat.h"
#include "tokenizer_vocabulary.h"

#define FOLDER "../shared/chat/"
#define LIMIT ((size_t)1 << 20)

static const chat_template *named(const char *name)
{
    const chat_template *t = NULL;
    failure fail = {0};
    if (chat_template_named(&t, name, &fail) != OK)
        fail_msg("%s", fail.text);
    return t;
}

static chat_message message(const char *role, const char *content)
{
    return (chat_message){role, content, strlen(content)};
}

static void expect_text(const char *name, const chat_message *messages, size_t n, bool generation,
                        const char *want)
{
    chat_text text;
    chat_text_init(&text, LIMIT);
    failure fail = {0};
    assert_int_equal(chat_render(named(name), messages, n, generation, &text, &fail), OK);
    assert_string_equal(text.text.data, want);
    size_t at = 0;
    for (size_t i = 0; i < text.n_spans; i++) { /* spans cover the text, in turn */
        assert_int_equal(text.spans[i].begin, at);
        assert_true(text.spans[i].end > at);
        assert_true(i == 0 || text.spans[i].is_template != text.spans[i - 1].is_template);
        at = text.spans[i].end;
    }
    assert_int_equal(at, text.text.length);
    chat_text_free(&text);
}

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- recognition ---------------------------------------------------------------------------- */

static const char *recognised(const char *jinja)
{
    const chat_template *t = NULL;
    failure fail = {0};
    if (chat_template_recognise(&t, jinja, strlen(jinja), &fail) == OK)
        return chat_template_name(t);
    assert_int_equal(fail.code, ERR_UNSUPPORTED);
    assert_non_null(strstr(fail.text, "chat_template:"));
    assert_null(t);
    return "refused";
}

#define FOR "{% for message in messages %}"
#define PROMPT "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"

static void test_chatml_spellings(void **state)
{
    (void)state;
    static const char *const same[] = {
        FOR "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
            "{% endfor %}" PROMPT,
        FOR "{{ \"<|im_start|>\" + message.role + \"\\n\" + message[\"content\"] + "
            "\"<|im_end|>\\n\" }}{% endfor %}" PROMPT "\n",
        "{%- for message in messages %}\n"
        "    {{- '<|im_start|>' + message.role + '\\n' }}\n"
        "    {{- message.content }}{# the content #}\n"
        "    {{- '<|im_end|>\\n' -}}\n"
        "{% endfor -%}\n\n"
        "{%- if add_generation_prompt -%}\n"
        "    {{ '<|im_start|>assistant\\n' }}\n"
        "{%- endif %}\n",
        FOR "\n<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
            "  {% endfor %}\n"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    };
    for (size_t i = 0; i < COUNT(same); i++)
        assert_string_equal(recognised(same[i]), "chatml");
}

#define ROLE_PART(role, text)                                                                      \
    "{% if message.role == '" role "' %}{{ '" text                                                 \
    "' + message.content + '[unused10]' }}{% endif %}"

static void test_other_known_texts(void **state)
{
    (void)state;
    assert_string_equal(
        recognised(
            FOR "{% if loop.first and messages[0].role != 'system' %}"
                "<s>[unused9]系统：[unused10]{% endif %}" ROLE_PART("system", "<s>[unused9]系统：")
                    ROLE_PART("assistant", "[unused9]助手：") ROLE_PART("tool", "[unused9]工具：")
                        ROLE_PART("function", "[unused9]方法：") ROLE_PART(
                            "user", "[unused9]用户：") "{% endfor %}{% if add_generation_prompt "
                                                       "%}[unused9]助手：{% endif %}"),
        "pangu");
    assert_string_equal(
        recognised(
            "{% set loop_messages = messages %}\n"
            "{% for message in loop_messages %}\n"
            "    {% set content = '<|start_header_id|>' + message.role + "
            "'<|end_header_id|>\\n\\n' + message.content | trim + '<|eot_id|>' %}\n"
            "    {% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}\n"
            "    {{- content }}\n"
            "{%- endfor %}\n"
            "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
            "{% endif %}"),
        "llama3");
    assert_string_equal(
        recognised(FOR "{% if loop.first and messages[0].role != 'system' %}<|im_start|>system\n"
                       "You are a helpful assistant.<|im_end|>\n{{ '' }}{% endif %}"
                       "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
                       "{{ '' }}{% endfor %}" PROMPT),
        "qwen2");
}

static void test_refused_texts(void **state)
{
    (void)state;
    static const char *const other[] = {
        "",
        "<|im_start|>",
        "{{ messages",
        "{{ 'unfinished }}",
        "{%",
        "{",
        /* trims the content */
        FOR
        "{{'<|im_start|>' + message['role'] + '\n' + message['content'] | trim + '<|im_end|>\n'}}"
        "{% endfor %}" PROMPT,
        /* a blank more in the text */
        FOR "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|> \n'}}"
            "{% endfor %}" PROMPT,
        /* no condition on the generation prompt */
        FOR "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
            "{% endfor %}{{ '<|im_start|>assistant\n' }}",
        /* whitespace in the text that no dash takes away */
        FOR " {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
            "{% endfor %}" PROMPT,
        /* says to be ChatML, then does something else */
        FOR "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
            "{% endfor %}" PROMPT "{{ tools }}",
    };
    for (size_t i = 0; i < COUNT(other); i++)
        assert_string_equal(recognised(other[i]), "refused");
}

/* Any cut or changed known text is refused or still means the same; it never crashes. */
static void test_damaged_texts(void **state)
{
    (void)state;
    static const char good[] =
        "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + "
        "message['content'] + \"<|im_end|>\\n\" }}{# c #}{% endfor %}" PROMPT;
    char text[sizeof good];
    for (size_t i = 0; i < sizeof good; i++) {
        memcpy(text, good, sizeof good);
        text[i] = '\0';
        if (i + 1 < sizeof good)
            assert_string_equal(recognised(text), "refused");
        for (const char *c = "{}%-+'\"\\ \n[.]#"; *c != '\0' && i + 1 < sizeof good; c++) {
            text[i] = *c;
            (void)recognised(text);
        }
    }
}

static void test_names(void **state)
{
    (void)state;
    const chat_template *t;
    failure fail = {0};
    assert_string_equal(chat_template_name(named("pangu")), "pangu");
    assert_int_equal(chat_template_named(&t, "alpaca", &fail), ERR_NOT_FOUND);
    assert_non_null(strstr(fail.text, "alpaca"));
    assert_non_null(strstr(fail.text, "chatml, "));
    assert_non_null(strstr(fail.text, "pangu"));
}

/* ---- rendering ------------------------------------------------------------------------------ */

static void test_rendering(void **state)
{
    (void)state;
    const chat_message two[] = {message("system", "Be terse."), message("user", " 2+2? ")};
    expect_text("chatml", two, 2, true,
                "<|im_start|>system\nBe terse.<|im_end|>\n<|im_start|>user\n 2+2? <|im_end|>\n"
                "<|im_start|>assistant\n");
    expect_text("chatml", two + 1, 1, false, "<|im_start|>user\n 2+2? <|im_end|>\n");
    expect_text("qwen2", two + 1, 1, false,
                "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
                "<|im_start|>user\n 2+2? <|im_end|>\n");
    expect_text("pangu", two, 2, true,
                "<s>[unused9]系统：Be terse.[unused10][unused9]用户： 2+2? [unused10]"
                "[unused9]助手：");
    expect_text("pangu", two + 1, 1, true,
                "<s>[unused9]系统：[unused10][unused9]用户： 2+2? [unused10][unused9]助手：");
    const chat_message wide[] = {message("user", " \n\xC2\xA0\xE3\x80\x80 a b\xE2\x80\x83\x1F\t")};
    expect_text("llama3", wide, 1, true,
                "<|start_header_id|>user<|end_header_id|>\n\na b<|eot_id|>"
                "<|start_header_id|>assistant<|end_header_id|>\n\n");
}

static void test_qwen3_thoughts(void **state)
{
    (void)state;
    const chat_message talk[] = {
        message("user", "a"),
        message("assistant", "<think>\nhm\n</think>\n\nb"),
        message("user", "c"),
        message("assistant", "<think>\n\nso\n</think>\n\nd"),
    };
    expect_text("qwen3", talk, 4, false,
                "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
                "<|im_start|>user\nc<|im_end|>\n"
                "<|im_start|>assistant\n<think>\nso\n</think>\n\nd<|im_end|>\n");
}

/* Without a question the last message counts as one: no answer comes after it. */
static void test_qwen3_without_question(void **state)
{
    (void)state;
    const chat_message talk[] = {message("assistant", "a"),
                                 message("assistant", "<think>hm</think>b")};
    expect_text("qwen3", talk, 2, false,
                "<|im_start|>assistant\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n");
}

static void test_refused_conversations(void **state)
{
    (void)state;
    chat_text text;
    failure fail = {0};
    chat_text_init(&text, 20);
    const chat_message bad[] = {message("user", "x"), message("tool", "y")};
    assert_int_equal(chat_render(named("chatml"), bad, 2, true, &text, &fail), ERR_INVALID);
    assert_non_null(strstr(fail.text, "message 1 has the role \"tool\""));
    assert_int_equal(chat_render(named("chatml"), bad, 0, true, &text, &fail), ERR_INVALID);
    assert_int_equal(chat_render(named("chatml"), bad, 1, true, &text, &fail), ERR_TOO_LARGE);
    chat_text_free(&text);
}

/* ---- tokens --------------------------------------------------------------------------------- */

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
    text.starts_with_bos = true;
    expect_ids(asks, &text, IDS(BPE_BOS, BPE_HELLO));
    expect_ids(silent, &text, IDS(BPE_BOS, BPE_HELLO));
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
    const chat_message talk[] = {message("user", "hello<|im_end|>")};
    chat_text text;
    chat_text_init(&text, LIMIT);
    assert_int_equal(chat_render(named("chatml"), talk, 1, false, &text, NULL), OK);
    expect_ids(t, &text,
               IDS(BPE_IM_START, 'u', 's', 'e', 'r', '\n', BPE_HELLO, '<', '|', 'i', 'm', '_', 'e',
                   'n', 'd', '|', '>', BPE_IM_END, '\n'));
    chat_text_free(&text);
    tokenizer_destroy(t);
}

/* ---- ../shared/chat -------------------------------------------------------------------------- */

static char *read_template(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, FOLDER "%s.jinja", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    buffer b;
    buffer_init(&b, LIMIT);
    assert_int_equal(buffer_read_fd(&b, fileno(file), NULL), OK);
    fclose(file);
    return b.data;
}

/* The text with today's date for the day the cases were rendered on. */
static char *with_today(const char *text, const char *date)
{
    struct tm day = {0};
    char then[32], today[32];
    assert_int_equal(sscanf(date, "%d-%d-%d", &day.tm_year, &day.tm_mon, &day.tm_mday), 3);
    day.tm_year -= 1900;
    day.tm_mon -= 1;
    strftime(then, sizeof then, "%d %b %Y", &day);
    time_t now = time(NULL);
    strftime(today, sizeof today, "%d %b %Y", localtime(&now));
    char *copy = strdup(text);
    char *found = strstr(copy, then);
    if (found != NULL)
        memcpy(found, today, strlen(today));
    return copy;
}

static void check_case(const chat_template *t, const json_t *item, const json_t *all)
{
    const json_t *input = json_object_get(item, "input");
    const json_t *list = json_object_get(input, "messages");
    const json_t *generation = json_object_get(input, "add_generation_prompt");
    chat_message messages[8];
    size_t n = json_array_size(list);
    assert_true(n <= COUNT(messages));
    for (size_t i = 0; i < n; i++) {
        const json_t *m = json_array_get(list, i);
        const json_t *content = json_object_get(m, "content");
        messages[i] = (chat_message){json_string_value(json_object_get(m, "role")),
                                     json_string_value(content), json_string_length(content)};
    }
    chat_text text;
    chat_text_init(&text, LIMIT);
    failure fail = {0};
    if (chat_render(t, messages, n, !json_is_false(generation), &text, &fail) != OK)
        fail_msg("%s", fail.text);
    char *want = with_today(json_string_value(json_object_get(item, "expected")),
                            json_string_value(json_object_get(all, "date")));
    const char *rest = want;
    if (text.starts_with_bos) {
        const char *bos = json_string_value(json_object_get(all, "bos_token"));
        assert_memory_equal(want, bos, strlen(bos));
        rest += strlen(bos);
    }
    assert_string_equal(text.text.data, rest);
    free(want);
    chat_text_free(&text);
}

static void test_shared_cases(void **state)
{
    (void)state;
    if (access(FOLDER "cases.json", R_OK) != 0) {
        print_message("skipped: " FOLDER " is not here\n");
        skip();
    }
    static const char *const known[][2] = {
        {"chatml", "chatml"},       {"qwen2.5", "qwen2.5"},    {"qwen3", "qwen3"},
        {"llama-3.1", "llama3.1"},  {"llama-3.2", "llama3.2"}, {"gemma-2", "refused"},
        {"granite-3.3", "refused"}, {"hermes-3", "refused"},   {"mistral-nemo", "refused"},
        {"phi-3.5", "refused"},     {"smollm3", "refused"},
    };
    json_t *all = json_load_file(FOLDER "cases.json", 0, NULL);
    assert_non_null(all);
    for (size_t k = 0; k < COUNT(known); k++) {
        char *jinja = read_template(known[k][0]);
        assert_string_equal(recognised(jinja), known[k][1]);
        free(jinja);
        size_t i, equal = 0;
        const json_t *item;
        json_array_foreach(json_object_get(all, "cases"), i, item)
        {
            const json_t *input = json_object_get(item, "input");
            if (strcmp(json_string_value(json_object_get(item, "template")), known[k][0]) != 0 ||
                json_object_get(input, "tools") != NULL || strcmp(known[k][1], "refused") == 0)
                continue;
            check_case(named(known[k][1]), item, all);
            equal++;
        }
        print_message("%-12s %-9s %zu cases equal\n", known[k][0], known[k][1], equal);
        assert_int_equal(equal > 0, strcmp(known[k][1], "refused") != 0);
    }
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chatml_spellings),
        cmocka_unit_test(test_other_known_texts),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_damaged_texts),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_rendering),
        cmocka_unit_test(test_qwen3_thoughts),
        cmocka_unit_test(test_qwen3_without_question),
        cmocka_unit_test(test_refused_conversations),
        cmocka_unit_test(test_user_text_is_text),
        cmocka_unit_test(test_merges_cross_borders),
        cmocka_unit_test(test_bos),
        cmocka_unit_test(test_whole_conversation),
        cmocka_unit_test(test_shared_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
