/*
 * The program as a user starts it: what it refuses and how it says so, and what it prints. The
 * program is the one built beside this test.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buffer.h"

#define MAX_ARGUMENTS 24
#define SMALL "models/demo/small.gguf"
#define NO_TEMPLATE "tests/golden/data/llama.BF16.gguf" /* a tokenizer, but no chat template */

static char program[PATH_MAX];

typedef struct outcome {
    int status; /* exit status, or 128 + signal */
    buffer out, err;
} outcome;

/* ---- starting it ---------------------------------------------------------------------------- */

static void redirect(const char *path, int flags, int fd)
{
    int file = open(path, flags, 0600);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(126);
}

static void temporary(char path[], const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    if (text != NULL)
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void read_back(buffer *b, const char *path)
{
    buffer_init(b, 1 << 24);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(buffer_read_fd(b, fd, NULL), OK);
    assert_int_equal(buffer_add_text(b, ""), OK); /* so that data is never NULL */
    close(fd);
    unlink(path);
}

/* NULL-terminated arguments after the program's name; `input` is its standard input. */
static outcome start(const char *input, const char *const *arguments)
{
    char in[] = "/tmp/a-io-in-XXXXXX", out[] = "/tmp/a-io-out-XXXXXX",
         err[] = "/tmp/a-io-err-XXXXXX";
    const char *argv[MAX_ARGUMENTS + 2] = {program};
    for (size_t i = 0; i < MAX_ARGUMENTS && arguments[i] != NULL; i++)
        argv[i + 1] = arguments[i];
    temporary(in, input);
    temporary(out, NULL);
    temporary(err, NULL);
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        redirect(in, O_RDONLY, STDIN_FILENO);
        redirect(out, O_WRONLY, STDOUT_FILENO);
        redirect(err, O_WRONLY, STDERR_FILENO);
        execv(program, (char *const *)argv);
        _exit(127);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    outcome o = {.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status)};
    read_back(&o.out, out);
    read_back(&o.err, err);
    unlink(in);
    return o;
}

#define START(input, ...) start(input, (const char *const[]){__VA_ARGS__, NULL})

static void finish(outcome o)
{
    buffer_free(&o.out);
    buffer_free(&o.err);
}

static json_t *parsed(const outcome *o)
{
    if (o->status != 0)
        fail_msg("status %d: %s", o->status, o->err.data);
    json_error_t error;
    json_t *value = json_loadb(o->out.data, o->out.length, 0, &error);
    if (value == NULL)
        fail_msg("not JSON (%s): %s", error.text, o->out.data);
    return value;
}

/* ---- refusals ----------------------------------------------------------------------------- */

static const struct {
    int status;
    const char *says;
    const char *arguments[8];
} refused[] = {
    {2, "usage: a-io COMMAND", {NULL}},
    {2, "no command \"answer\"", {"answer"}},
    {2, "no command \"answer\"", {"help", "answer"}},
    {2, "--nonsense is not an option", {"run", "--nonsense"}},
    {2, "--nonsense is not an option", {"route", "--nonsense"}},
    {2, "-x is not an option", {"run", "-x", "a"}},
    {2, "-n needs a value", {"run", "-n"}},
    {2, "--seed needs a value", {"run", "--seed"}},
    {2, "--threads: \"0\"", {"run", "-t", "0", "a"}},
    {2, "--threads: \"2x\"", {"run", "-t", "2x", "a"}},
    {2, "--threads: \" 2\"", {"route", "-t", " 2", "a"}},
    {2, "--max-tokens: \"-1\"", {"run", "-n", "-1", "a"}},
    {2, "--context: \"99999999999999999999\"", {"run", "-c", "99999999999999999999", "a"}},
    {2, "--seed: \"1e3\"", {"run", "--seed", "1e3", "a"}},
    {2, "--temperature: \"warm\"", {"run", "--temperature", "warm", "a"}},
    {2, "--temperature: \"nan\"", {"run", "--temperature", "nan", "a"}},
    {2, "temperature", {"run", "--temperature", "-1", "a"}},
    {2, "top_p", {"run", "--top-p", "0", "a"}},
    {2, "min_p", {"run", "--min-p", "2", "a"}},
    {2, "repetition_penalty", {"run", "--repetition-penalty", "0", "a"}},
    {2, "presence_penalty", {"run", "--presence-penalty", "3", "a"}},
    {2, "frequency_penalty", {"run", "--frequency-penalty", "-3", "a"}},
    {2, "--lookup: \"17\"", {"run", "--lookup", "17", "a"}},
    {2, "--lookup: \"on\"", {"run", "--lookup", "on", "a"}},
    {2, "\"x\" is not ID=NUMBER", {"run", "--logit-bias", "x", "a"}},
    {2, "--logit-bias: \"-1\"", {"run", "--logit-bias", "-1=2", "a"}},
    {2, "--logit-bias: \"\"", {"run", "--logit-bias", "1=", "a"}},
    {2, "99999999", {"run", "--logit-bias", "99999999=1", "a"}},
    {2, "--stop", {"run", "--stop", "", "a"}},
    {3, "--grammar", {"run", "--grammar", "/nowhere/grammar", "a"}},
    {2, "one of them", {"run", "--grammar", "README.md", "--json-schema", "README.md", "a"}},
    {2, "--kv: \"f8\"", {"run", "--kv", "f8", "a"}},
    {2, "--model has no effect", {"run", "-m", "x", "--model", "y", "a"}},
    {2, "--policy has no effect", {"run", "-m", "x", "--policy", "small", "a"}},
    {2, "--config has no effect", {"run", "-m", "x", "--config", "y", "a"}},
    {2, "--chat-template needs -m", {"run", "--chat-template", "chatml", "a"}},
    {2, "--system has no effect", {"run", "--raw", "--system", "b", "a"}},
    {2, "more than one prompt", {"run", "a", "b"}},
    {2, "more than one prompt", {"run", "-p", "a", "b"}},
    {2, "the prompt is empty", {"run"}},
    {2, "the prompt is empty", {"run", "-p", ""}},
    {2, "no prompt beside it", {"route", "--jsonl", "a"}},
    {3, "cannot open /nowhere", {"run", "--config", "/nowhere", "a"}},
    {3, "/nowhere", {"run", "-m", "/nowhere", "a"}},
    {3, "models/demo/none.gguf", {"run", "-m", "models/demo/none.gguf", "a"}},
    {3, "a-io pull no/model:Q4_0", {"run", "--offline", "-m", "no/model:Q4_0", "a"}},
    {3, "a-io pull no/model/x.gguf", {"inspect", "--offline", "no/model/x.gguf"}},
    {2, "no model named", {"pull"}},
    {2, "one model at a time", {"pull", "a/b", "c/d"}},
    {2, "is neither OWNER/REPO", {"pull", "demo.gguf"}},
    {2, "--revision: \"../x\"", {"pull", "a/b", "--revision", "../x"}},
    {2, "one argument too many", {"models", "a"}},
    {2, "no model's name", {"rm", "x"}},
    {2, "--policy best: policy.name: \"best\"", {"run", "--policy", "best", "a"}},
    {5, "not a GGUF file", {"run", "-m", "config/demo.yaml", "a"}},
    {3, "no model \"gpt\"; there are: auto, small, large", {"run", "--model", "gpt", "a"}},
    {2, "no model file named", {"tokenize", "--json"}},
    {2, "one model file at a time", {"tokenize", "-m", SMALL, SMALL}},
    {2, "add --json", {"tokenize", "-m", SMALL, "--decode"}},
    {2, "one model file at a time", {"inspect", "-m", SMALL, SMALL}},
    {2, "no model file named", {"logits", "--tokens", "x", "--output", "y"}},
    {2, "needs --tokens and --output", {"logits", "-m", SMALL, "--tokens", "x"}},
    {2, "-m needs a value", {"inspect", "-m"}},
    {2, "messages come from standard input", {"chat", "a"}},
    {2, "--model has no effect", {"chat", "-m", "x", "--model", "y"}},
    {3, "no model \"gpt\"; there are: auto, small, large", {"chat", "--model", "gpt"}},
    {2, "no chat template", {"chat", "-m", NO_TEMPLATE}},
    {3, "chatml", {"run", "-m", SMALL, "--chat-template", "nonsense", "a"}},
    {3, "/nowhere.jinja", {"run", "-m", SMALL, "--chat-template", "file:/nowhere.jinja", "a"}},
    {2, "-m or --chat-template is needed", {"render"}},
    {2, "standard input", {"render", "-m", SMALL, "a"}},
    {2, "--bos and --eos", {"render", "-m", SMALL, "--bos", "x"}},
    {2, "not JSON", {"render", "-m", SMALL}},
    {3, "llama3", {"render", "--chat-template", "nonsense"}},
    {5, "no chat template", {"render", "-m", NO_TEMPLATE}},
    {2, "no chat template", {"run", "-m", NO_TEMPLATE, "--system", "b", "a"}},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        outcome o = start("", refused[i].arguments);
        if (o.status != refused[i].status || strstr(o.err.data, refused[i].says) == NULL)
            fail_msg("expected %d and \"%s\", got %d and: %s", refused[i].status, refused[i].says,
                     o.status, o.err.data);
        assert_int_equal(o.out.length, 0);
        finish(o);
    }
}

static void test_environment(void **state)
{
    (void)state;
    const char *const names[] = {"A_IO_LOG", "A_IO_LOG_FORMAT", "A_IO_KERNEL"};
    for (size_t i = 0; i < 3; i++) {
        char *before = getenv(names[i]) != NULL ? strdup(getenv(names[i])) : NULL;
        setenv(names[i], "nonsense", 1);
        outcome o = START("", "run", "a");
        assert_int_equal(o.status, 2);
        assert_non_null(strstr(o.err.data, names[i]));
        finish(o);
        if (before != NULL)
            setenv(names[i], before, 1);
        else
            unsetenv(names[i]);
        free(before);
    }
}

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

/* ---- help --------------------------------------------------------------------------------- */

static void check_columns(const char *text)
{
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        if (strcspn(line, "\n") > 100)
            fail_msg("longer than 100 columns: %.110s", line);
}

static void test_help(void **state)
{
    (void)state;
    static const char *const commands[] = {"run",      "chat",   "route", "serve",    "inspect",
                                           "tokenize", "logits", "bench", "quantize", "calibrate",
                                           "replay",   "report", "tune",  "pull",     "models",
                                           "rm",       "render", "init",  "label"};
    outcome all = START("", "help");
    assert_int_equal(all.status, 0);
    check_columns(all.out.data);
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        assert_non_null(strstr(all.out.data, commands[i]));
        outcome o = START("", commands[i], "--help"), h = START("", "help", commands[i]);
        assert_int_equal(o.status, 0);
        assert_int_equal(o.err.length, 0);
        assert_string_equal(o.out.data, h.out.data);
        check_columns(o.out.data);
        finish(o);
        finish(h);
    }
    finish(all);
    outcome version = START("", "--version");
    assert_int_equal(version.status, 0);
    assert_int_equal(strncmp(version.out.data, "a-io ", 5), 0);
    static const char *const said[] = {"compiler: ", "kernels: ", "reference",
                                       "libcurl ",   "OpenSSL ",  "PCRE2 "};
    if (access(".git", F_OK) == 0)
        assert_non_null(strstr(version.out.data, ", commit "));
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++)
        assert_non_null(strstr(version.out.data, said[i]));
    finish(version);
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
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 32);
    if (length <= 0)
        return 1;
    program[length] = '\0';
    strcpy(strstr(program, "/tests/unit/"), "/a-io");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),   cmocka_unit_test(test_environment),
        cmocka_unit_test(test_help),       cmocka_unit_test(test_run_json),
        cmocka_unit_test(test_one_answer), cmocka_unit_test(test_run_text),
        cmocka_unit_test(test_raw),        cmocka_unit_test(test_too_long),
        cmocka_unit_test(test_model_file), cmocka_unit_test(test_route_lines),
        cmocka_unit_test(test_ends),       cmocka_unit_test(test_render),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
