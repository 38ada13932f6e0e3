/* main.c: the table of commands. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/failure.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/version.h"
#include "kernel/kernel.h"

#define VERSION "0.1.0"
#ifndef COMMIT
#define COMMIT "" /* the Makefile knows it */
#endif

static const struct command {
    const char *name;
    int (*call)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"run", command_run, "answer a prompt: sense its intent, choose the model, generate"},
    {"chat", command_chat, "hold a conversation in the terminal"},
    {"route", command_route, "decide only: intent, model and lookup of a prompt, or of many"},
    {"serve", command_serve, "answer over HTTP in the shape of OpenAI's API"},
    {"init", command_init, "write a configuration for a pair of models, with a probe that fits"},
    {"pull", command_pull, "fetch a model by name from the Hugging Face hub"},
    {"models", command_models, "list the models in the hub's cache, and which of them run"},
    {"rm", command_rm, "remove a model from the hub's cache"},
    {"inspect", command_inspect, "say what a model file holds"},
    {"tokenize", command_tokenize, "turn text into a model's token ids, and back"},
    {"render", command_render, "print the prompt that a chat template makes of a request"},
    {"quantize", command_quantize, "write a model file with smaller weights, or with random ones"},
    {"logits", command_logits, "write the logits of given tokens"},
    {"replay", command_replay, "measure policies: labelled requests, accuracy, speed, latency"},
    {"label", command_label, "have both models answer requests, and grade the answers"},
    {"report", command_report, "a page, tables and a picture from a replay's results"},
    {"tune", command_tune, "a policy's rules from a replay's results"},
    {"bench", command_bench, "measure models on this machine, against the speed of its memory"},
    {"calibrate", command_calibrate, "make the probe's probabilities true; choose its limit"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void print_help(FILE *out)
{
    fputs("usage: a-io COMMAND [options]\n"
          "\n"
          "Serves a small and a large language model at once; the small one senses what a request "
          "wants, and\n"
          "a policy chooses which of the two answers it.\n"
          "\n",
          out);
    for (size_t i = 0; i < N_COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "  a-io COMMAND --help says more; a-io --version what it is made of.\n"
          "\n"
          "Environment: A_IO_LOG=error|warn|info|debug (default: info) chooses what is logged on "
          "standard\n"
          "error, A_IO_LOG_FORMAT=text|json how; A_IO_KERNEL=NAME chooses the kernels instead of "
          "the\n"
          "best this CPU runs.\n",
          out);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    fprintf(stderr, "a-io: no command \"%s\"; a-io help lists them\n", name);
    return NULL;
}

static int help(int argc, char **argv)
{
    if (argc < 3) {
        print_help(stdout);
        return 0;
    }
    const struct command *c = find_command(argv[2]);
    char *arguments[] = {argv[2], "--help", NULL};
    return c == NULL ? error_code_exit(ERR_INVALID) : c->call(2, arguments);
}

static bool set_log_level(void)
{
    const char *name = getenv("A_IO_LOG");
    log_level level;
    if (name == NULL)
        return true;
    if (!log_level_parse(name, &level)) {
        fprintf(stderr, "a-io: A_IO_LOG=%s: allowed: error, warn, info, debug\n", name);
        return false;
    }
    log_set_level(level);
    return true;
}

static bool set_log_format(void)
{
    const char *name = getenv("A_IO_LOG_FORMAT");
    bool is_json;
    if (name == NULL)
        return true;
    if (!log_format_parse(name, &is_json)) {
        fprintf(stderr, "a-io: A_IO_LOG_FORMAT=%s: allowed: text, json\n", name);
        return false;
    }
    log_set_json(is_json);
    return true;
}

static int run_command(const struct command *c, int argc, char **argv)
{
    failure fail;
    error_code code = kernel_init(NULL, &fail);
    if (code != OK) {
        fprintf(stderr, "a-io: %s\n", fail.text);
        return error_code_exit(code);
    }
    /* A reader that went away, or a file at its limit, is a failed write, told where it happens. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    return c->call(argc, argv);
}

static int dispatch(int argc, char **argv)
{
    if (!set_log_level() || !set_log_format())
        return error_code_exit(ERR_INVALID);
    if (argc < 2) {
        print_help(stderr);
        return error_code_exit(ERR_INVALID);
    }
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc, argv);
    if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
        version_print(VERSION, COMMIT);
        return 0;
    }
    const struct command *c = find_command(name);
    return c == NULL ? error_code_exit(ERR_INVALID) : run_command(c, argc - 1, argv + 1);
}

/* Whatever a command printed: what did not arrive was not done. */
int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    if (status != 0 || (fflush(stdout) == 0 && !ferror(stdout)))
        return status;
    fputs("a-io: cannot write to standard output\n", stderr);
    return error_code_exit(ERR_IO);
}
