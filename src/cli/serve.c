/* serve.c: `a-io serve`: loads the models, answers over HTTP until it is told to stop. */
#include "cli/cli.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/server.h"

#define DRAIN_MS 30000.0

static const char usage[] =
    "usage: a-io serve [options]\n"
    "\n"
    "Answers OpenAI's /v1/chat/completions, /v1/models and, for the decision alone, /v1/route.\n"
    "\n"
    "  --config FILE    configuration (without it: config/demo.yaml)\n"
    "  --host ADDRESS   listen there instead of where the configuration says\n"
    "  --port N         likewise; 0 takes any free port\n"
    "  -t, --threads N  threads that compute\n"
    "  --policy NAME    adaptive, paper, small, large or random\n"
    "  --check          load and check everything, then exit\n"
    "  -h, --help       this text\n"
    "\n"
    "The environment variable A_IO_API_KEY, when set, is the key that every /v1 request must "
    "send.\n"
    "SIGTERM or SIGINT: no new requests, up to 30 s for those that run; a second one: at once.\n";

typedef struct serve_options {
    const char *config;
    const char *host;
    const char *policy;
    long port;    /* -1: the configuration's */
    long threads; /* 0: the configuration's */
    bool check;
    bool help;
} serve_options;

/* ---- options -------------------------------------------------------------------------------- */

static error_code read_number(const char *option, const char *text, long low, long high, long *out,
                              failure *fail)
{
    char *end;
    errno = 0;
    *out = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *out < low || *out > high)
        return failure_set(fail, ERR_INVALID, "%s takes a number from %ld to %ld, not '%s'", option,
                           low, high, text);
    return OK;
}

static error_code read_options(int argc, char **argv, serve_options *o, failure *fail)
{
    enum { CONFIG = 256, HOST, PORT, POLICY, CHECK };
    static const struct option names[] = {
        {"config", required_argument, NULL, CONFIG},
        {"host", required_argument, NULL, HOST},
        {"port", required_argument, NULL, PORT},
        {"threads", required_argument, NULL, 't'},
        {"policy", required_argument, NULL, POLICY},
        {"check", no_argument, NULL, CHECK},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    *o = (serve_options){.port = -1};
    opterr = 0;
    optind = 1;
    error_code code = OK;
    for (int c; code == OK && (c = getopt_long(argc, argv, ":t:h", names, NULL)) != -1;) {
        switch (c) {
        case CONFIG:
            o->config = optarg;
            break;
        case HOST:
            o->host = optarg;
            break;
        case PORT:
            code = read_number("--port", optarg, 0, 65535, &o->port, fail);
            break;
        case 't':
            code = read_number("--threads", optarg, 1, 1024, &o->threads, fail);
            break;
        case POLICY:
            o->policy = optarg;
            break;
        case CHECK:
            o->check = true;
            break;
        case 'h':
            o->help = true;
            break;
        case ':':
            return failure_set(fail, ERR_INVALID, "'%s' needs a value; see a-io serve --help",
                               argv[optind - 1]);
        default:
            return failure_set(fail, ERR_INVALID, "unknown option '%s'; see a-io serve --help",
                               argv[optind - 1]);
        }
    }
    if (code == OK && optind < argc)
        return failure_set(fail, ERR_INVALID, "unexpected argument '%s'; see a-io serve --help",
                           argv[optind]);
    return code;
}

static error_code set_host(config *c, const char *host, failure *fail)
{
    if (host == NULL)
        return OK;
    char *copy = strdup(host);
    if (copy == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an option");
    free(c->server.host);
    c->server.host = copy;
    return OK;
}

/* The command line wins over the file. */
static error_code load_config(const serve_options *o, config **out, failure *fail)
{
    error_code code = config_load(out, o->config, fail);
    if (code != OK)
        return code;
    config *c = *out;
    code = set_host(c, o->host, fail);
    if (code == OK)
        code = o->policy == NULL ? OK : config_set_policy(c, o->policy, fail);
    if (o->port >= 0)
        c->server.port = (uint16_t)o->port;
    if (o->threads > 0)
        c->engine.threads = (uint32_t)o->threads;
    return code;
}

/* ---- stopping ------------------------------------------------------------------------------- */

static int stop_fd = -1;

static void on_stop_signal(int number)
{
    (void)number;
    int kept = errno;
    uint64_t one = 1;
    if (write(stop_fd, &one, sizeof one) < 0) {
        /* The counter is full: the message has arrived. */
    }
    errno = kept;
}

static error_code catch_signals(failure *fail)
{
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0)
        return failure_set(fail, ERR_IO, "cannot wait for signals: %s", strerror(errno));
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    return OK;
}

/* Waits until a stop signal comes (true), or `other_fd` is readable or the time is over (false). */
static bool wait_for_stop(int other_fd, double timeout_ms)
{
    struct pollfd fds[] = {{.fd = stop_fd, .events = POLLIN}, {.fd = other_fd, .events = POLLIN}};
    double deadline = clock_ms() + timeout_ms;
    for (;;) {
        double left = deadline - clock_ms();
        int n = poll(fds, 2, timeout_ms < 0 ? -1 : left > 0 ? (int)left + 1 : 0);
        if (n < 0 && errno == EINTR)
            continue;
        uint64_t count;
        if (n > 0 && (fds[0].revents & POLLIN) && read(stop_fd, &count, sizeof count) > 0)
            return true;
        return false;
    }
}

static void serve_until_stopped(server *s)
{
    wait_for_stop(-1, -1);
    log_info("stopping: no new requests, up to %.0f s for those that run", DRAIN_MS / 1e3);
    server_drain(s);
    if (wait_for_stop(server_idle_fd(s), DRAIN_MS))
        log_warn("stopping at once");
    server_cancel(s);
    wait_for_stop(server_idle_fd(s), 1000); /* for the answers that say so */
}

/* ---- the command ---------------------------------------------------------------------------- */

static void greet(const server *s, const orchestra *o, const config *c)
{
    fprintf(stderr, "a-io: listening on %s (models:", server_url(s));
    for (size_t i = 0; i < orchestra_model_count(o); i++)
        fprintf(stderr, " %s", orchestra_model_name(o, i));
    fprintf(
        stderr,
        "; policy: %s)\n"
        "try:  curl %s/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", \"content\": "
        "\"Hello\"}]}'\n",
        c->policy.name, server_url(s));
}

static void show_progress(void *context, const char *name, double fraction)
{
    (void)context;
    fprintf(stderr, "\rloading %s %3.0f %%%s", name, 100 * fraction, fraction >= 1 ? "\n" : "");
}

static error_code serve(server *s, const config *c, bool check, failure *fail)
{
    orchestra_progress progress = {isatty(STDERR_FILENO) ? show_progress : NULL, NULL};
    orchestra *o;
    error_code code = orchestra_create(&o, c, progress, fail);
    if (code != OK) {
        server_destroy(s);
        return code;
    }
    if (check) {
        fprintf(stderr, "a-io: configuration, models, labels and templates are in order\n");
        orchestra_destroy(o);
        return OK;
    }
    code = server_start(s, o, fail);
    if (code == OK)
        code = catch_signals(fail);
    if (code == OK) {
        greet(s, o, c);
        serve_until_stopped(s);
    }
    server_destroy(s); /* the runs before the orchestra that they belong to */
    orchestra_destroy(o);
    return code;
}

static error_code serve_config(const config *c, bool check, failure *fail)
{
    const char *key = getenv("A_IO_API_KEY");
    server_options options = {
        .host = c->server.host,
        .port = c->server.port,
        .api_key = key != NULL && key[0] != '\0' ? key : NULL,
        .max_connections = c->server.max_connections,
        .max_body_bytes = c->server.max_body_bytes,
        .max_tokens_default = c->server.max_tokens_default,
    };
    if (check)
        return serve(NULL, c, true, fail);
    server *s;
    error_code code = server_create(&s, &options, fail);
    return code == OK ? serve(s, c, false, fail) : code;
}

int command_serve(int argc, char **argv)
{
    serve_options options;
    failure fail;
    config *c = NULL;
    error_code code = read_options(argc, argv, &options, &fail);
    if (code == OK && options.help) {
        fputs(usage, stdout);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* a reader of our log that went away must not end the server */
    if (code == OK)
        code = load_config(&options, &c, &fail);
    if (code == OK)
        code = serve_config(c, options.check, &fail);
    config_free(c);
    if (code != OK)
        fprintf(stderr, "a-io serve: %s\n", fail.text);
    return error_code_exit(code);
}
