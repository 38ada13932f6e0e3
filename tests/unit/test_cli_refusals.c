/* The program as a user starts it: what it refuses and how it says so, and its help. */
#include "cli_process.h"

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

int main(void)
{
    if (!find_program())
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
