/* The program as a user starts it: what it prints. */
#include "cli_process.h"

/* ---- render ------------------------------------------------------------------------------- */

#define HELLO "\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]"

static void expect_prompt(const char *request, const char *jinja, int status, const char *out,
                          const char *err)
{
    char path[] = "/tmp/a-io-jinja-XXXXXX";
    temporary(path, jinja);
    outcome o = START(request, "render", "--chat-template", path, "--bos", "<s>", "--now",
                      "2026-03-14T09:26:53");
    assert_string_equal(o.out.data, out);
    assert_int_equal(o.status, status);
    assert_non_null(strstr(o.err.data, err));
    finish(o);
    unlink(path);
}

static void test_render(void **state)
{
    (void)state;
    static const char echo[] = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
                               "{{ add_generation_prompt }}{{ think }}{{ tools | tojson }}"
                               "{{ strftime_now('%Y') }}\n\n";
    expect_prompt("{" HELLO "}", echo, 0, "<s>HiTruenull2026\n", "");
    expect_prompt("{" HELLO ", \"add_generation_prompt\": false, \"tools\": [{\"a\": 1}],"
                  " \"chat_template_kwargs\": {\"think\": 1}}",
                  echo, 0, "<s>HiFalse1[{\"a\": 1}]2026\n", "");
    expect_prompt("{" HELLO "}", "{{ raise_exception('No, thanks.') }}", 5, "",
                  "a-io render: No, thanks.\n");
    expect_prompt("{" HELLO "}", "{{ messages.x.y }}", 5, "", "line 1");
    expect_prompt("{" HELLO "}", "{% if %}", 5, "", "cannot be used");
    expect_prompt("{}", "x", 2, "", "\"messages\"");
    expect_prompt("{" HELLO ", \"tools\": 1}", "x", 2, "", "tools");
    expect_prompt("{" HELLO ", \"add_generation_prompt\": 1}", "x", 2, "", "add_generation_prompt");
    outcome o = START("{" HELLO "}", "render", "-m", SMALL, "--chat-template", "chatml");
    assert_string_equal(o.out.data, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
    finish(o);
}

/* ---- answers ------------------------------------------------------------------------------ */

#define PROMPT "Write a Python function that counts the odd numbers of a list."

static void test_run_json(void **state)
{
    (void)state;
    outcome o = START("", "run", "--json", "-n", "12", PROMPT);
    json_t *value = parsed(&o);
    const char *text, *label, *name, *rule, *reason, *finish_reason;
    json_t *tokens, *probabilities;
    double entropy, margin, total, decode;
    json_error_t error;
    int bad = json_unpack_ex(
        value, &error, 0,
        "{s:s, s:o, s:{s:s, s:o, s:F, s:F}, s:{s:s, s:s, s:s}, s:{s:{s:F}, s:{s:F}, s:s}}", "text",
        &text, "tokens", &tokens, "intent", "label", &label, "probabilities", &probabilities,
        "entropy", &entropy, "margin", &margin, "plan", "model", &name, "rule", &rule, "reason",
        &reason, "receipt", "overhead", "total_ms", &total, "reply", "decode_ms", &decode,
        "finish_reason", &finish_reason);
    if (bad != 0)
        fail_msg("%s: %s", error.text, o.out.data);
    assert_int_equal(o.err.length, 0);
    assert_true(json_array_size(tokens) >= 1 && json_array_size(tokens) <= 12);
    assert_true(json_object_get(probabilities, label) != NULL);
    assert_true(entropy >= 0 && total > 0 && text[0] != '\0');
    assert_true(strcmp(name, "small") == 0 || strcmp(name, "large") == 0);
    json_decref(value);
    finish(o);
}

static json_t *tokens_of(outcome o)
{
    json_t *value = parsed(&o);
    json_t *tokens = json_incref(json_object_get(value, "tokens"));
    assert_true(json_array_size(tokens) > 0);
    json_decref(value);
    finish(o);
    return tokens;
}

static void assert_same_tokens(json_t *a, outcome o)
{
    json_t *b = tokens_of(o);
    if (!json_equal(a, b))
        fail_msg("%s is not %s", json_dumps(b, 0), json_dumps(a, 0));
    json_decref(b);
}

/* Promise 1 from the command line; and a prompt is the same however it comes in. */
static void test_one_answer(void **state)
{
    (void)state;
    json_t *first = tokens_of(START("", "run", "--json", "-m", SMALL, "-n", "24", PROMPT));
#define SAME(input, ...)                                                                           \
    assert_same_tokens(first, START(input, "run", "--json", "-m", SMALL, "-n", "24", __VA_ARGS__))
    SAME("", "--lookup", "off", "-p", PROMPT);
    SAME("", "--lookup", "8", "--prefill-chunk", "1", "-t", "2", PROMPT);
    SAME(PROMPT, "--lookup", "16", "-t", "1", "--prefill-chunk", "7");
    SAME(PROMPT "\n", "--seed", "5");
    json_decref(first);
    first = tokens_of(START("", "run", "--json", "-m", SMALL, "-n", "24", "--temperature", "0.8",
                            "--seed", "7", PROMPT));
    SAME("", "--temperature", "0.8", "--seed", "7", "--lookup", "off", "-t", "1", PROMPT);
    SAME(PROMPT, "--temperature", "0.8", "--seed", "7", "--lookup", "2", "-t", "2");
    json_decref(first);
}

static void test_run_text(void **state)
{
    (void)state;
    outcome json = START("", "run", "--json", "--model", "small", "-n", "8", PROMPT);
    json_t *value = parsed(&json);
    const char *text = json_string_value(json_object_get(value, "text"));
    assert_true(json_is_null(json_object_get(value, "intent")));
    outcome o = START("", "run", "--model", "small", "-n", "8", PROMPT);
    assert_int_equal(o.status, 0);
    size_t length = strlen(text);
    assert_memory_equal(o.out.data, text, length);
    assert_string_equal(o.out.data + length, text[length - 1] == '\n' ? "" : "\n");
    assert_non_null(strstr(o.err.data, "plan     small, lookup auto, rule pinned"));
    assert_non_null(strstr(o.err.data, "decode   8 tokens"));
    json_decref(value);
    finish(json);
    finish(o);
}

static void test_raw(void **state)
{
    (void)state;
    json_t *raw = tokens_of(START("", "run", "--json", "-m", NO_TEMPLATE, "-n", "4", "ab"));
    assert_same_tokens(raw,
                       START("", "run", "--json", "-m", NO_TEMPLATE, "-n", "4", "--raw", "ab"));
    json_decref(raw);
}

static void test_too_long(void **state)
{
    (void)state;
    char prompt[8000];
    memset(prompt, 'a', sizeof prompt - 1);
    for (size_t i = 1; i < sizeof prompt - 1; i += 2)
        prompt[i] = ' ';
    prompt[sizeof prompt - 1] = '\0';
    outcome o = START("", "run", "--model", "small", "-c", "300", prompt);
    assert_int_equal(o.status, 2);
    unsigned tokens = 0, context = 0;
    assert_int_equal(sscanf(o.err.data,
                            "a-io run: the prompt has %u tokens, and the reply needs one at least: "
                            "that exceeds the available context size of %u",
                            &tokens, &context),
                     2);
    assert_int_equal(context, 300);
    assert_true(tokens > 300);
    finish(o);
}

/* A model file is named by -m everywhere, and by its bare name where it always was. */
static void test_model_file(void **state)
{
    (void)state;
    char ids[] = "/tmp/a-io-ids-XXXXXX", logits[] = "/tmp/a-io-logits-XXXXXX";
    temporary(ids, "1 2 3");
    temporary(logits, NULL);
    const char *const bare[][8] = {{"inspect", SMALL},
                                   {"tokenize", SMALL},
                                   {"logits", SMALL, "--tokens", ids, "--output", logits}};
    for (size_t i = 0; i < sizeof bare / sizeof bare[0]; i++) {
        const char *named[9] = {bare[i][0], "-m"};
        for (size_t k = 1; bare[i][k] != NULL; k++)
            named[k + 1] = bare[i][k];
        outcome a = start("some text", bare[i]), b = start("some text", named);
        assert_int_equal(a.status, 0);
        assert_int_equal(b.status, 0);
        assert_string_equal(a.out.data, b.out.data);
        finish(a);
        finish(b);
    }
    unlink(ids);
    unlink(logits);
}

static void test_route_lines(void **state)
{
    (void)state;
    outcome o = START("{\"prompt\": \"" PROMPT "\", \"id\": 1}\n"
                      "{not json\n"
                      "{\"messages\": [{\"role\": \"user\", \"content\": \"What is 3 plus 4?\"}]}\n"
                      "{\"prompt\": 3}\n"
                      "{\"prompt\": \"a\", \"messages\": []}\n"
                      "{\"messages\": [{\"role\": \"pirate\", \"content\": \"x\"}]}",
                      "route", "--jsonl");
    assert_int_equal(o.status, 1);
    const bool good[] = {true, false, true, false, false, false};
    char *at = o.out.data;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char *end = strchr(at, '\n');
        assert_non_null(end);
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_non_null(line);
        assert_true((json_object_get(line, "plan") != NULL) == good[i]);
        assert_true((json_object_get(line, "error") == NULL) == good[i]);
        json_decref(line);
        at = end + 1;
    }
    assert_int_equal(*at, '\0');
    finish(o);
}

/* ---- ends --------------------------------------------------------------------------------- */

/* Starts a reply that would go on for long, its output going into `fd`. */
static pid_t start_long_reply(int fd)
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0)
        return child;
    alarm(60); /* whatever goes wrong, it does not stay */
    dup2(fd, STDOUT_FILENO);
    redirect("/dev/null", O_WRONLY, STDERR_FILENO);
    /* The tokens that end a turn are forbidden. */
    execl(program, program, "run", "-m", SMALL, "-c", "100000", "--logit-bias", "0=-100",
          "--logit-bias", "1=-100", "--logit-bias", "2=-100", PROMPT, (char *)NULL);
    _exit(127);
}

static int status_of(pid_t child)
{
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_ends(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        int fds[2];
        char byte;
        assert_int_equal(pipe2(fds, O_CLOEXEC), 0); /* the child must not be its own reader */
        pid_t child = start_long_reply(fds[1]);
        close(fds[1]);
        assert_int_equal(read(fds[0], &byte, 1), 1);
        if (kind == 0) /* an interrupt; what still comes must be taken, or the child waits for us */
            kill(child, SIGINT);
        while (kind == 0 && read(fds[0], &byte, 1) == 1)
            ;
        close(fds[0]); /* kind 1: the reader goes away */
        assert_int_equal(status_of(child), kind == 0 ? 8 : 6);
    }
}

int main(void)
{
    if (!find_program())
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_json),    cmocka_unit_test(test_one_answer),
        cmocka_unit_test(test_run_text),    cmocka_unit_test(test_raw),
        cmocka_unit_test(test_too_long),    cmocka_unit_test(test_model_file),
        cmocka_unit_test(test_route_lines), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
