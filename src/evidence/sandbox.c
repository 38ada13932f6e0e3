/* sandbox.c: one long-lived Python runner, its pipes and its deadlines. */
#include "evidence/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "evidence/sandbox_confine.h"

/* One job a line in, one verdict a line out: the job's secret and 0 or 1. The secret is a new one
 * every time, so that code which merely prints something is not believed. */
static const char runner[] =
    "import json, os, resource, shutil, sys\n"
    "def code_of(text):\n"
    "    parts = text.split('```')\n"
    "    if len(parts) < 3:\n"
    "        return text\n"
    "    code = parts[1].split('\\n', 1)[-1]\n"
    "    first, _, rest = code.lstrip().partition('\\n')\n" /* small models begin a line for it */
    "    return rest if first.strip().lower() in ('python', 'python3', 'py') else code\n"
    "def is_right(job):\n"
    "    source = code_of(job['answer'])\n"
    "    scope = {'__name__': 'answer'}\n"
    "    if 'test' in job:\n"
    "        head = 'def ' + job['entry_point'] + '('\n"
    "        if head in source:\n"
    "            source = job['prompt'].split(head)[0] + '\\n' + source\n"
    "        else:\n"
    "            source = job['prompt'] + source\n"
    "        exec(source, scope)\n"
    "        exec(job['test'], scope)\n"
    "        scope['check'](scope[job['entry_point']])\n"
    "        return True\n"
    "    calls = job['call']\n"
    "    if 'reference' in job:\n"
    "        own = {}\n"
    "        exec(job['reference'], own)\n"
    "        calls = [[c, repr(eval(c, own))] for c in calls]\n"
    "    exec(source, scope)\n"
    "    return all(repr(eval(c, scope)) == value for c, value in calls)\n"
    "def child(job, out):\n"
    "    null = os.open('/dev/null', os.O_RDWR)\n"
    "    for fd in range(3):\n"
    "        os.dup2(null, fd)\n"
    "    resource.setrlimit(resource.RLIMIT_CPU, (job['cpu_seconds'],) * 2)\n"
    "    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))\n"
    "    try:\n"
    "        good = is_right(job)\n"
    "    except BaseException:\n"
    "        good = False\n"
    "    os.write(out, (job['secret'] + (' 1' if good else ' 0')).encode())\n"
    "    os._exit(0)\n"
    "base = os.getcwd()\n"
    "for line in sys.stdin:\n"
    "    job = json.loads(line)\n"
    "    place = os.path.join(base, job['secret'])\n"
    "    os.mkdir(place)\n"
    "    inward, outward = os.pipe()\n"
    "    pid = os.fork()\n"
    "    if pid == 0:\n"
    "        os.close(inward)\n"
    "        os.chdir(place)\n"
    "        child(job, outward)\n"
    "    os.close(outward)\n"
    "    said = b''\n"
    "    while True:\n"
    "        more = os.read(inward, 4096)\n"
    "        if not more or len(said) > 4096:\n"
    "            break\n"
    "        said += more\n"
    "    os.close(inward)\n"
    "    os.waitpid(pid, 0)\n"
    "    shutil.rmtree(place, ignore_errors=True)\n"
    "    good = said == (job['secret'] + ' 1').encode()\n"
    "    print(job['secret'], int(good), flush=True)\n";

struct sandbox {
    sandbox_limits limits;
    buffer filter; /* of system calls */
    char folder[64];
    pid_t pid; /* 0: none runs */
    int to, from;
};

sandbox_limits sandbox_defaults(void)
{
    return (sandbox_limits){.cpu_seconds = 5,
                            .wall_seconds = 30,
                            .memory_bytes = (size_t)1 << 30,
                            .file_bytes = (size_t)16 << 20};
}

/* ---- the process -------------------------------------------------------------------------- */

static void become_runner(const sandbox *s, int in, int out)
{
    static char *const arguments[] = {"python3", "-I", "-S", "-c", (char *)runner, NULL};
    static char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", NULL};
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (setpgid(0, 0) != 0 || chdir(s->folder) != 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 ||
        dup2(null, 2) < 0)
        _exit(126);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    if (sandbox_confine(&s->limits, &s->filter) != 0)
        _exit(125);
    execvpe("python3", arguments, environment);
    _exit(127);
}

static error_code start(sandbox *s, failure *fail)
{
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return failure_set(fail, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]), close(in[1]);
        return failure_set(fail, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        become_runner(s, in[0], out[1]);
    close(in[0]), close(out[1]);
    s->to = in[1], s->from = out[0];
    s->pid = pid > 0 ? pid : 0;
    if (pid < 0) {
        close(s->to), close(s->from);
        return failure_set(fail, ERR_IO, "cannot start a process: %s", strerror(errno));
    }
    setpgid(pid, pid); /* whoever is first, it or we */
    return OK;
}

/* Ends the whole group; the exit status, or -1 for a signal. */
static int stop(sandbox *s)
{
    int status = 0;
    if (s->pid == 0)
        return 0;
    close(s->to), close(s->from);
    kill(-s->pid, SIGKILL);
    while (waitpid(s->pid, &status, 0) < 0 && errno == EINTR)
        ;
    s->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- one job ------------------------------------------------------------------------------ */

static void make_secret(char out[33])
{
    unsigned char bytes[16];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        memset(bytes, 0x5a, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
}

static error_code write_all(int fd, const char *data, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, data, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return ERR_IO;
        data += n;
        length -= (size_t)n;
    }
    return OK;
}

/* A line of the verdict. ERR_TIMEOUT: none came in time; ERR_IO: the process is gone. */
static error_code read_line(int fd, double seconds, char *line, size_t size)
{
    double end = clock_ms() + 1e3 * seconds;
    for (size_t used = 0; used + 1 < size;) {
        double left = end - clock_ms();
        struct pollfd wanted = {.fd = fd, .events = POLLIN};
        int ready = left > 0 ? poll(&wanted, 1, (int)left + 1) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready == 0)
            return ERR_TIMEOUT;
        if (read(fd, line + used, 1) != 1)
            return ERR_IO;
        line[used + (line[used] != '\n')] = '\0';
        if (line[used] == '\0')
            return OK;
        used++;
    }
    return ERR_IO;
}

static error_code ask(sandbox *s, const char *text, size_t length, const char *secret, bool *passed)
{
    char line[64] = "", right[64];
    error_code code = write_all(s->to, text, length);
    if (code == OK)
        code = read_line(s->from, s->limits.wall_seconds, line, sizeof line);
    snprintf(right, sizeof right, "%s 1", secret);
    *passed = code == OK && strcmp(line, right) == 0;
    return code;
}

static error_code give_job(sandbox *s, const json_t *job, buffer *out, char secret[33],
                           failure *fail)
{
    make_secret(secret);
    json_t *copy = json_copy((json_t *)(uintptr_t)job);
    if (copy == NULL || json_object_set_new(copy, "secret", json_string(secret)) != 0 ||
        json_object_set_new(copy, "cpu_seconds", json_integer(s->limits.cpu_seconds)) != 0 ||
        json_write_exact(out, copy) != OK || buffer_add_text(out, "\n") != OK)
        return failure_set(fail, ERR_MEMORY, "no memory for the code to run");
    return OK;
}

static error_code refuse_start(int status, failure *fail)
{
    if (status == 127)
        return failure_set(fail, ERR_NOT_FOUND, "there is no python3 to run code with");
    return failure_set(fail, ERR_UNSUPPORTED,
                       "this system does not let a process be confined (seccomp, limits): code "
                       "cannot be run safely");
}

/* A job whose process died is wrong; one that never began (python3 missing) is a failure. */
static error_code settle(sandbox *s, error_code asked, failure *fail)
{
    if (asked == OK)
        return OK;
    int status = stop(s);
    return status == 125 || status == 126 || status == 127 ? refuse_start(status, fail) : OK;
}

error_code sandbox_run(sandbox *s, const json_t *job, bool *passed, failure *fail)
{
    buffer text;
    char secret[33];
    *passed = false;
    buffer_init(&text, (size_t)64 << 20);
    error_code code = s->pid == 0 ? start(s, fail) : OK;
    if (code == OK)
        code = give_job(s, job, &text, secret, fail);
    if (code == OK)
        code = settle(s, ask(s, text.data, text.length, secret, passed), fail);
    buffer_free(&text);
    return code;
}

/* ---- life --------------------------------------------------------------------------------- */

static error_code make_folder(sandbox *s, failure *fail)
{
    strcpy(s->folder, "/tmp/a-io-sandbox-XXXXXX");
    if (mkdtemp(s->folder) == NULL) {
        s->folder[0] = '\0';
        return failure_set(fail, ERR_IO, "cannot make a folder under /tmp: %s", strerror(errno));
    }
    if (geteuid() == 0 && chown(s->folder, SANDBOX_NOBODY, SANDBOX_NOBODY) != 0)
        chmod(s->folder, 0700); /* no nobody here: it stays ours, as the process will */
    return OK;
}

static error_code try_out(sandbox *s, failure *fail)
{
    bool passed;
    json_t *trial = json_pack("{s:s, s:[[s, s]]}", "answer", "x = 1", "call", "x", "1");
    error_code code = sandbox_run(s, trial, &passed, fail);
    json_decref(trial);
    if (code == OK && !passed)
        code = failure_set(fail, ERR_UNSUPPORTED, "python3 does not run here as it should");
    return code;
}

error_code sandbox_create(sandbox **out, const sandbox_limits *limits, failure *fail)
{
    *out = NULL;
    sandbox *s = calloc(1, sizeof *s);
    if (s == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for the sandbox");
    s->limits = *limits;
    buffer_init(&s->filter, 1 << 16);
    error_code code = make_folder(s, fail);
    if (code == OK)
        code = sandbox_filter_make(&s->filter, fail);
    if (code == OK)
        code = try_out(s, fail);
    if (code != OK)
        sandbox_destroy(s);
    else
        *out = s;
    return code;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    remove(path);
    return 0;
}

void sandbox_destroy(sandbox *s)
{
    if (s == NULL)
        return;
    stop(s);
    if (s->folder[0] != '\0')
        nftw(s->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    buffer_free(&s->filter);
    free(s);
}
