/* serve.c: `a-io serve`: loads the models, answers over HTTP until it is told to stop. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/probe_check.h"
#include "cli/reload.h"
#include "cli/service_manager.h"
#include "kernel/kernel.h"
#include "orchestra/calibration_file.h"
#include "orchestra/describe.h"
#include "server/server.h"

#define DRAIN_MS 30000.0

typedef struct serve_options {
    stage_options stage;
    const char *host;
    uint64_t port; /* UINT64_MAX: what the configuration says */
    const char *socket;
    bool allow_without_key;
    bool check;
    bool help;
} serve_options;

/* ---- options -------------------------------------------------------------------------------- */

static error_code read_serve_options(int argc, char **argv, serve_options *o, failure *fail)
{
    *o = (serve_options){.port = UINT64_MAX};
    const option_row rows[] = {
        STAGE_CONFIG_OPTIONS(&o->stage),
        STAGE_MODEL_FILE_OPTIONS(&o->stage),
        {"host", .text = &o->host},
        {"port", .number = &o->port, .high = UINT16_MAX},
        {"socket", .text = &o->socket},
        {"allow-without-key", .flag = &o->allow_without_key},
        STAGE_ENGINE_OPTIONS(&o->stage),
        {"check", .flag = &o->check},
        HELP_OPTION(o),
    };
    error_code code = options_read(rows, argc, argv, fail);
    if (code == OK && optind < argc)
        return failure_set(fail, ERR_INVALID,
                           "\"%s\" is one argument too many; try: a-io serve --help", argv[optind]);
    return code;
}

static error_code replace_text(char **text, const char *with, failure *fail)
{
    char *copy = with != NULL ? strdup(with) : NULL;
    if (with == NULL)
        return OK;
    if (copy == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for an option");
    free(*text);
    *text = copy;
    return OK;
}

/* The command line wins over the file. */
static error_code configure(stage *s, const void *options, failure *fail)
{
    const serve_options *o = options;
    error_code code = stage_configure(s, &o->stage, fail);
    if (code != OK)
        return code;
    config_server *c = &s->config->server;
    if (o->port != UINT64_MAX)
        c->port = (uint16_t)o->port;
    c->allow_without_key = c->allow_without_key || o->allow_without_key;
    code = replace_text(&c->host, o->host, fail);
    return code == OK ? replace_text(&c->socket, o->socket, fail) : code;
}

/* ---- stopping ------------------------------------------------------------------------------- */

static int stop_fd = -1;   /* SIGTERM, SIGINT */
static int hangup_fd = -1; /* SIGHUP */

static void on_signal(int number)
{
    int kept = errno;
    uint64_t one = 1;
    if (write(number == SIGHUP ? hangup_fd : stop_fd, &one, sizeof one) < 0) {
        /* The counter is full: the message has arrived. */
    }
    errno = kept;
}

static error_code make_counter(int *out, failure *fail)
{
    *out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return *out >= 0 ? OK
                     : failure_set(fail, ERR_IO, "cannot wait for signals: %s", strerror(errno));
}

static void catch_signal(int number)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(number, &action, NULL);
}

/* Before the models are loaded: what changes meanwhile is read again once they are. */
static error_code catch_hangup(failure *fail)
{
    error_code code = make_counter(&hangup_fd, fail);
    if (code == OK)
        catch_signal(SIGHUP);
    return code;
}

static error_code catch_stops(failure *fail)
{
    error_code code = make_counter(&stop_fd, fail);
    if (code != OK)
        return code;
    catch_signal(SIGTERM);
    catch_signal(SIGINT);
    return OK;
}

static bool was_told(const struct pollfd *signal)
{
    uint64_t count;
    return (signal->revents & POLLIN) != 0 && read(signal->fd, &count, sizeof count) > 0;
}

typedef enum event { EVENT_STOP, EVENT_HANGUP, EVENT_OTHER } event;

/* OTHER: `other_fd` is readable, or the time is over. */
static event wait_for_event(int other_fd, double timeout_ms)
{
    struct pollfd fds[] = {{.fd = stop_fd, .events = POLLIN},
                           {.fd = hangup_fd, .events = POLLIN},
                           {.fd = other_fd, .events = POLLIN}};
    double deadline = clock_ms() + timeout_ms;
    int n;
    do {
        double left = deadline - clock_ms();
        n = poll(fds, 3, timeout_ms < 0 ? -1 : left > 0 ? (int)left + 1 : 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0 && was_told(&fds[0]))
        return EVENT_STOP;
    return n > 0 && was_told(&fds[1]) ? EVENT_HANGUP : EVENT_OTHER;
}

#define CERTIFICATE_LOOK_MS 5000.0

static void serve_until_stopped(const reload_source *again)
{
    server *s = again->server;
    bool has_certificate = again->stage->config->server.tls_certificate != NULL;
    service_manager_tell("READY=1");
    for (;;) {
        event e = wait_for_event(-1, has_certificate ? CERTIFICATE_LOOK_MS : -1);
        if (e == EVENT_STOP)
            break;
        if (e == EVENT_HANGUP)
            reload_all(again);
        else
            reload_certificate(s);
    }
    server_drain(s); /* before it is said: whoever reads the line may ask at once */
    log_info("stopping: no new requests, up to %.0f s for those that run", DRAIN_MS / 1e3);
    service_manager_tell("STOPPING=1");
    event e;
    double end_ms = clock_ms() + DRAIN_MS;
    do
        e = wait_for_event(server_idle_fd(s), end_ms - clock_ms());
    while (e == EVENT_HANGUP);
    if (e == EVENT_STOP)
        log_warn("stopping at once");
    server_cancel(s);
    wait_for_event(server_idle_fd(s), 1000); /* for the answers that say so */
}

/* ---- the command ---------------------------------------------------------------------------- */

static const char *environment_key(void)
{
    const char *key = getenv("A_IO_API_KEY");
    return key != NULL && key[0] != '\0' ? key : NULL;
}

static bool needs_key(const stage *st)
{
    return environment_key() != NULL || st->config->server.keys_file != NULL;
}

static void greet(const server *s, const stage *st)
{
    const orchestra *o = st->orchestra;
    fprintf(stderr, "a-io: listening on %s (models:", server_url(s));
    for (size_t i = 0; i < orchestra_model_count(o); i++)
        fprintf(stderr, " %s", orchestra_model_name(o, i));
    if (orchestra_model_count(o) > 1)
        fprintf(stderr, "; policy: %s", st->config->policy.name);
    const char *url = server_url(s);
    bool is_unix = strncmp(url, "unix:", 5) == 0;
    fprintf(stderr,
            ")\n"
            "%s%s%s"
            "try: curl %s%s%s%s/v1/chat/completions%s -H 'Content-Type: application/json' -d "
            "'{\"messages\": [{\"role\": \"user\", "
            "\"content\": \"Hello\"}]}'\n",
            is_unix ? "" : "page: ", is_unix ? "" : url, is_unix ? "" : "/\n",
            is_unix ? "--unix-socket " : "", is_unix ? url + 5 : "", is_unix ? " " : "",
            is_unix ? "http://localhost" : url,
            needs_key(st) ? " -H 'Authorization: Bearer KEY'" : "");
}

/* Every request is a conversation. */
static error_code check_templates(const orchestra *o, failure *fail)
{
    for (size_t i = 0; i < orchestra_model_count(o); i++)
        if (!orchestra_has_template(o, i))
            return failure_set(fail, ERR_UNSUPPORTED,
                               "model %s has no chat template that works; name one with "
                               "chat_template: (or "
                               "--chat-template)",
                               orchestra_model_name(o, i));
    return OK;
}

static error_code load(stage *s, failure *fail)
{
    error_code code = stage_load(s, fail);
    return code == OK ? check_templates(s->orchestra, fail) : code;
}

static error_code serve(server *s, stage *st, const serve_options *o, failure *fail)
{
    probe_watch checked;
    error_code code = load(st, fail);
    if (code == OK)
        code = orchestra_open_log(st->orchestra, fail);
    if (code == OK)
        code = server_start(s, st->orchestra, fail);
    if (code == OK)
        code = catch_stops(fail);
    if (code != OK)
        return code;
    greet(s, st);
    probe_watch_start(&checked, st);
    serve_until_stopped(&(reload_source){s, st, configure, o, &checked});
    probe_watch_stop(&checked);
    return OK;
}

/* As short as reads back exactly. The caller frees it; NULL: no memory. */
static char *rule_text(const json_t *rule)
{
    char *text = json_print(rule, JSON_REAL_PRECISION(15));
    json_t *back = text != NULL ? json_loads(text, 0, NULL) : NULL;
    bool is_exact = back != NULL && json_equal(back, rule);
    json_decref(back);
    if (is_exact)
        return text;
    free(text);
    return json_print(rule, JSON_REAL_PRECISION(17));
}

/* The rules in effect, one a line, as a configuration may have them. */
static error_code print_policy(const orchestra *o, failure *fail)
{
    json_t *policy = policy_json(orchestra_routing(o));
    const json_t *rules = json_object_get(policy, "rules");
    size_t i;
    json_t *rule;
    if (json_is_object(policy))
        printf(
            "# policy %s as rules\npolicy:\n  name: rules\n  sticky: %s\n  seed: %lld\n  rules:\n",
            json_string_value(json_object_get(policy, "name")),
            json_is_true(json_object_get(policy, "sticky")) ? "true" : "false",
            (long long)json_integer_value(json_object_get(policy, "seed")));
    json_array_foreach(rules, i, rule)
    {
        char *line = rule_text(rule);
        if (line == NULL)
            break;
        printf("    - %s\n", line);
        free(line);
    }
    bool whole = policy != NULL && i == json_array_size(rules);
    json_decref(policy);
    return whole ? OK : failure_set(fail, ERR_MEMORY, "no memory to show the policy");
}

/* "its limit", or of several "its limit 2, up to 7b". */
static void print_limit(const stage *st, const chosen_limits *l, size_t i, const char *word,
                        const char *unit)
{
    static const char *const held[] = {[LIMIT_NONE] = "",
                                       [LIMIT_MISROUTE] = "misroutes of",
                                       [LIMIT_SHARE] = "a large model's share of",
                                       [LIMIT_WRONG] = "wrong answers by the small model of",
                                       [LIMIT_LOSS] =
                                           "answers that only the large model has right of"};
    const limit_effect *e = &l->effects[i];
    bool is_share = l->goal == LIMIT_SHARE;
    printf("its %slimit", word);
    if (l->n > 1)
        printf(" up to %s", config_role(st->config, i));
    printf(": %.4f%s, for %s at most %g %% (95 %%: at most %.2f %% of %zu requests)", e->limit,
           unit, held[l->goal], 100 * l->targets[i],
           100 * (is_share ? e->large_upper : e->misroute_upper), e->n);
}

static void print_entropy_limits(const stage *st, const chosen_limits *l)
{
    for (size_t i = 0; i < l->n; i++) {
        print_limit(st, l, i, "entropy ", " nats");
        puts(st->config->policy.is_limit_given
                 ? "; policy.entropy_limit is given and counts instead"
                 : "");
    }
    if (l->n > 0 && routing_online_limit(orchestra_routing(st->orchestra)) != NULL)
        printf("it moves with what POST /v1/feedback tells: by %g nats for a misroute, up by %g "
               "nats for everything else\n",
               st->config->probe.online_step, st->config->probe.online_step * l->targets[0]);
}

static void print_calibration(const stage *st)
{
    const probe_record *r = routing_calibration(orchestra_routing(st->orchestra));
    const head_record *k = routing_kind_head(orchestra_routing(st->orchestra));
    const char *file = st->config->probe.calibration;
    if (r != NULL) {
        printf("probe: calibrated by %s (%s; fitted on %zu requests)\n", file,
               calibration_form_name(r->form), r->n_fitted);
        print_entropy_limits(st, &r->limits);
    }
    if (k != NULL) {
        printf("probe: learned, %s (layer %zu; fitted on %zu requests)\n", file, k->head.layer,
               k->n_fitted);
        print_entropy_limits(st, &k->limits);
    }
}

static void print_success(const stage *st)
{
    const head_record *r = routing_success_head(orchestra_routing(st->orchestra));
    if (r == NULL)
        return;
    printf("success: estimated by %s (layer %zu; fitted on %zu requests)\n",
           st->config->success.calibration, r->head.layer, r->n_fitted);
    for (size_t i = 0; i < r->limits.n; i++) {
        print_limit(st, &r->limits, i, "", "");
        putchar('\n');
    }
    if (r->limits.n > 0 && routing_online_doubt(orchestra_routing(st->orchestra)) != NULL)
        printf("it moves with what POST /v1/feedback tells: up by %g for a wrong answer, down by "
               "%g for everything else\n",
               st->config->success.online_step,
               st->config->success.online_step * r->limits.targets[0]);
}

static error_code check(stage *st, failure *fail)
{
    error_code code = load(st, fail);
    if (code == OK)
        print_calibration(st);
    if (code == OK)
        print_success(st);
    if (code == OK)
        code = print_policy(st->orchestra, fail);
    if (code == OK)
        code = probe_check_print(st, fail);
    if (code == OK)
        puts("configuration, models, labels and templates are in order");
    return code;
}

#define LARGE_PIECE (1 << 20) /* bytes, that go back to the system at once */
#define KEPT_FREE (16 << 20)

/* What requests have had stays for the next ones: to give a long one's memory back and get it again
 * takes a sixth of its time. */
static void keep_memory(void)
{
    mallopt(M_MMAP_THRESHOLD, LARGE_PIECE);
    mallopt(M_TRIM_THRESHOLD, KEPT_FREE);
}

/* The address is taken before the models are loaded: who starts a second server learns it at once.
 */
static error_code open_and_serve(stage *st, const serve_options *o, failure *fail)
{
    const config_server *c = &st->config->server;
    server_options options = {
        .host = c->host,
        .port = c->port,
        .api_key = environment_key(),
        .keys_file = c->keys_file,
        .budget_file = c->budget_file,
        .has_prices = config_has_prices(st->config),
        .socket = c->socket,
        .allow_without_key = c->allow_without_key,
        .tls_certificate = c->tls_certificate,
        .tls_key = c->tls_key,
        .loops = c->loops,
        .cores = (uint32_t)team_default_size(),
        .max_connections = c->max_connections,
        .max_connections_per_address = c->max_connections_per_address,
        .allowed_hosts = c->allowed_hosts,
        .allowed_origins = c->allowed_origins,
        .alias_names = c->alias_names,
        .alias_models = c->alias_models,
        .unknown_model = c->unknown_model,
        .max_body_bytes = c->max_body_bytes,
        .defaults = {.max_tokens = c->max_tokens_default,
                     .has_seed = c->has_seed,
                     .seed = c->seed_default,
                     .priority = c->priority_default,
                     .deadline_ms = c->deadline_ms_default},
    };
    server *s;
    keep_memory();
    error_code code = server_create(&s, &options, fail);
    if (code != OK)
        return code;
    code = serve(s, st, o, fail);
    server_destroy(s); /* with its runs, before the orchestra that they belong to */
    return code;
}

int command_serve(int argc, char **argv)
{
    serve_options options;
    failure fail;
    stage st = {.config = NULL};
    error_code code = read_serve_options(argc, argv, &options, &fail);
    if (code == OK && options.help) {
        help_print("serve", stdout);
        return 0;
    }
    if (code == OK && !options.check)
        code = catch_hangup(&fail);
    if (code == OK)
        code = configure(&st, &options, &fail);
    if (code == OK)
        code = options.check ? check(&st, &fail) : open_and_serve(&st, &options, &fail);
    stage_close(&st);
    return code == OK ? 0 : command_failed("serve", &fail);
}
