/* Chat templates that nobody trusts: what they may cost, and that only they fail. */
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chat_templates.h"
#include "sanitized.h"

static void append_times(buffer *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        assert_int_equal(buffer_add_text(b, text), OK);
}

/* A text nested this deep: refused, or harmless; never a crash. */
static void try_nested(const char *before, const char *open, const char *inner, const char *close,
                       size_t n, const char *after)
{
    buffer b;
    buffer_init(&b, (size_t)1 << 24);
    append_times(&b, before, 1);
    append_times(&b, open, n);
    append_times(&b, inner, 1);
    append_times(&b, close, n);
    append_times(&b, after, 1);
    chat_template *t = NULL;
    failure fail = {0};
    const chat_input input = {.messages_json = talk_json};
    if (chat_template_compile(&t, b.data, b.length, few_words, &fail) == OK) {
        char *got = NULL;
        (void)render(t, &input, &got, &fail);
        free(got);
    } else {
        assert_int_equal(fail.code, ERR_FORMAT);
    }
    chat_template_destroy(t);
    buffer_free(&b);
}

static void test_nested_deep(void **state)
{
    (void)state;
    enum { DEEP = 10000 };
    try_nested("", "{% if 1 %}", "x", "{% endif %}", DEEP, "");
    try_nested("", "{% for i in [1] %}", "x", "{% endfor %}", DEEP, "");
    try_nested("{{ ", "(", "1", ")", DEEP, " }}");
    try_nested("{{ ", "[", "1", "]", DEEP, " }}");
    try_nested("{{ ", "{1:", "1", "}", DEEP, " }}");
    try_nested("{{ ", "not ", "1", "", DEEP, " }}");
    try_nested("{{ ", "-", "1", "", DEEP, " }}");
    try_nested("{{ 1", "+1", "", "", DEEP, " }}");
    try_nested("{{ a", ".a", "", "", DEEP, " }}");
    try_nested("{{ a", "|upper", "", "", DEEP, " }}");
    try_nested("{% if 0 %}", "{% elif 0 %}", "", "", DEEP, "{% endif %}");
}

static void test_bounded(void **state)
{
    (void)state;
    static const char *const endless[] = {
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
        "{{ 'x' * 10**9 }}",
        "{% set n = namespace(s='x') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% endfor "
        "%}",
        "{% set n = namespace(s=[1]) %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor "
        "%}",
        "{% set n = namespace(s=[]) %}{% for i in range(99999) %}{% set n.s = [n.s] %}{% endfor %}",
        "{% set n = namespace(s=[]) %}{% for i in range(90) %}{% set n.s = [n.s, n.s] %}{% endfor "
        "%}"
        "{{ n.s }}",
        "{% set n = namespace() %}{% set n.n = n %}",
        "{{ range(10**9) }}",
        "{{ '%999999999d' % 1 }}",
        "{{ [1] * 10**9 }}",
        "{{ 'a'.ljust(10**12) }}",
        "{% for i in range(99999) %}{% for i in range(99999) %}xxxxxxxxxxxxxxxx{% endfor %}{% "
        "endfor %}",
    };
    for (size_t i = 0; i < COUNT(endless); i++) {
        chat_template *t = compiled(endless[i]);
        const chat_input input = {.messages_json = talk_json};
        failure fail = {0};
        char *got = NULL;
        if (render(t, &input, &got, &fail) == OK)
            fail_msg("%s: rendered", endless[i]);
        assert_true(fail.code == ERR_UNSUPPORTED || fail.code == ERR_TEMPLATE);
        chat_template_destroy(t);
    }
}

#if IS_SANITIZED
#define STARVING 0 /* a sanitizer needs the addresses */
#else
#define STARVING 1

/* Renders in a process whose memory is nearly used up; exits with 0 when that is an error, and when
 * an ordinary conversation goes on afterwards. */
static void starve(const chat_template *greedy, const chat_template *plain)
{
    const chat_input input = {.messages_json = talk_json};
    char *got = NULL;
    failure fail = {0};
    static char *held[1 << 16];
    size_t n = 0;
    setrlimit(RLIMIT_AS, &(struct rlimit){(rlim_t)1 << 29, (rlim_t)1 << 29});
    while (n < COUNT(held) && (held[n] = malloc(32 << 10)) != NULL)
        n++;
    error_code code = render(greedy, &input, &got, &fail);
    while (n > 0)
        free(held[--n]);
    bool goes_on = render(plain, &input, &got, &fail) == OK && strcmp(got, "Hi") == 0;
    _exit(code == ERR_MEMORY && goes_on ? 0 : 1 + (int)code);
}
#endif

static void test_without_memory(void **state)
{
    (void)state;
#if !STARVING
    print_message("skipped: a sanitizer needs the addresses\n");
    skip();
#else
    chat_template *greedy = compiled("{{ ('x' * 500000) | length }}");
    chat_template *plain = compiled("{{ messages[0].content }}");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        starve(greedy, plain);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    chat_template_destroy(greedy);
    chat_template_destroy(plain);
#endif
}

/* A thread with a small stack, as servers have them; the template is everybody's. */
static void *render_often(void *context)
{
    const chat_template *t = context;
    const chat_input input = {.messages_json = talk_json};
    size_t wrong = 0;
    for (size_t i = 0; i < 100; i++) {
        char *got = NULL;
        failure fail = {0};
        wrong += render(t, &input, &got, &fail) != ERR_TEMPLATE ||
                 strstr(fail.text, "recursion") == NULL;
        free(got);
    }
    return (void *)wrong;
}

static void test_threads(void **state)
{
    (void)state;
    chat_template *t = compiled("{% macro a(n) %}{{ a(n + 1) }}{% endmacro %}{{ a(0) }}");
    pthread_t threads[4];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, (size_t)512 << 10);
    for (size_t i = 0; i < COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], &small, render_often, t), 0);
    for (size_t i = 0; i < COUNT(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    pthread_attr_destroy(&small);
    chat_template_destroy(t);
}

static void test_damaged_texts(void **state)
{
    (void)state;
    static const char good[] = "{%- for m in messages %}{{- '<|im_start|>' + m.role + '\\n' + "
                               "m['content'] + \"<|im_end|>\" }}"
                               "{# c #}{% raw %}{{ x }}{% endraw %}{% endfor %}{% if a[1:2] %}{{ "
                               "a.b(c, d=1) | f }}{% endif %}";
    char text[sizeof good];
    for (size_t i = 0; i < sizeof good; i++) {
        static const char changes[] = "{}%-'\"\\#([.|"; /* and its NUL: cut there */
        for (size_t k = 0; k < sizeof changes; k++) {
            memcpy(text, good, sizeof good);
            text[i] = changes[k];
            text[sizeof text - 1] = '\0';
            chat_template *t = NULL;
            if (chat_template_compile(&t, text, strlen(text), few_words, NULL) == OK)
                chat_template_destroy(t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nested_deep),    cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_without_memory), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_damaged_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
