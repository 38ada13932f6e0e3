/* cli_process.h: the program as a user starts it, the one built beside the test. */
#ifndef TESTS_CLI_PROCESS_H
#define TESTS_CLI_PROCESS_H

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

static inline void redirect(const char *path, int flags, int fd)
{
    int file = open(path, flags, 0600);
    if (file < 0 || dup2(file, fd) < 0)
        _exit(126);
}

static inline void temporary(char path[], const char *text)
{
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    if (text != NULL)
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void read_back(buffer *b, const char *path)
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
static inline outcome start(const char *input, const char *const *arguments)
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

static inline void finish(outcome o)
{
    buffer_free(&o.out);
    buffer_free(&o.err);
}

static inline json_t *parsed(const outcome *o)
{
    if (o->status != 0)
        fail_msg("status %d: %s", o->status, o->err.data);
    json_error_t error;
    json_t *value = json_loadb(o->out.data, o->out.length, 0, &error);
    if (value == NULL)
        fail_msg("not JSON (%s): %s", error.text, o->out.data);
    return value;
}

static inline bool find_program(void)
{
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 32);
    if (length <= 0)
        return false;
    program[length] = '\0';
    strcpy(strstr(program, "/tests/unit/"), "/a-io");
    return true;
}

#endif
