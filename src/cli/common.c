/* common.c: strict options, prompts from arguments and standard input, and what a run cost. */
#include "cli/common.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "cli/model_file.h"
#include "orchestra/describe.h"
#include "orchestra/policy.h"

/* ---- options ------------------------------------------------------------------------------ */

int command_failed(const char *command, const failure *fail)
{
    fprintf(stderr, "a-io %s: %s\n", command, fail->text);
    return error_code_exit(fail->code);
}

error_code option_refused(int c, char *const *argv, failure *fail)
{
    const char *option = argv[optind - 1];
    char letter[3] = {'-', (char)optopt, '\0'};
    if (optopt != 0 && optopt < 128 && strncmp(option, "--", 2) != 0)
        option = letter;
    const char *what = c == ':' ? "needs a value" : "is not an option here";
    return failure_set(fail, ERR_INVALID, "%s %s; try: a-io %s --help", option, what, argv[0]);
}

error_code option_number(const char *option, const char *text, uint64_t low, uint64_t high,
                         uint64_t *out, failure *fail)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 || value < low ||
        value > high)
        return failure_set(fail, ERR_INVALID, "%s: \"%s\" is not a whole number from %llu to %llu",
                           option, text, (unsigned long long)low, (unsigned long long)high);
    *out = value;
    return OK;
}

error_code option_real(const char *option, const char *text, float *out, failure *fail)
{
    char *end = NULL;
    *out = strtof(text, &end);
    if (end == text || isspace((unsigned char)text[0]) || *end != '\0' || !isfinite(*out))
        return failure_set(fail, ERR_INVALID, "%s: \"%s\" is not a number", option, text);
    return OK;
}

error_code option_lookup(const char *text, lookup_setting *out, failure *fail)
{
    config_lookup l;
    if (!config_lookup_parse(text, &l) || l.mode == CONFIG_LOOKUP_DRAFT)
        return failure_set(fail, ERR_INVALID,
                           "--lookup: \"%s\" is none of off, auto, or a length from 1 to %d", text,
                           CONFIG_MAX_DRAFT);
    *out = policy_lookup(&l, 0);
    return OK;
}

/* False: it is an option of the command's own. */
static bool take_stage_option(stage_options *o, int option, error_code *code, failure *fail)
{
    *code = OK;
    switch (option) {
    case STAGE_CONFIG:
        o->config_path = optarg;
        return true;
    case STAGE_POLICY:
        o->policy = optarg;
        return true;
    case 'm':
        o->model_path = optarg;
        return true;
    case STAGE_CHAT_TEMPLATE:
        o->chat_template = optarg;
        return true;
    case STAGE_KV:
        o->kv = optarg;
        return true;
    case 't':
        *code = option_number("--threads", optarg, 1, 1024, &o->threads, fail);
        return true;
    case 'c':
        *code = option_number("--context", optarg, 1, 1 << 24, &o->context, fail);
        return true;
    case STAGE_PREFILL_CHUNK:
        *code = option_number("--prefill-chunk", optarg, 1, 65536, &o->prefill_chunk, fail);
        return true;
    default:
        return false;
    }
}

static error_code take_option(const option_table *t, int option, failure *fail)
{
    if (option != OPTION_OFFLINE)
        return t->take(t->context, option, fail);
    model_files_stay_offline();
    return OK;
}

static const struct option *find_option(const option_table *t, const char *word)
{
    size_t n = strcspn(word + 2, "=");
    for (const struct option *o = t->names; o->name != NULL; o++)
        if (strlen(o->name) == n && strncmp(o->name, word + 2, n) == 0)
            return o;
    return NULL;
}

/* Whether the next word is this one's value, whatever it looks like. */
static bool takes_next(const option_table *t, const char *word)
{
    if (word[0] != '-' || word[1] == '\0')
        return false;
    if (word[1] == '-') {
        const struct option *o = find_option(t, word);
        return o != NULL && o->has_arg == required_argument && strchr(word, '=') == NULL;
    }
    const char *letter = strchr(t->letters + 1, word[1]);
    return letter != NULL && letter[1] == ':' && word[2] == '\0';
}

/* getopt_long takes the beginning of a name for the name: an option that is added later would
 * change what a script says. */
static error_code check_names(const option_table *t, int argc, char **argv, failure *fail)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && find_option(t, argv[i]) == NULL)
            return failure_set(fail, ERR_INVALID, "%.*s is not an option here; try: a-io %s --help",
                               (int)strcspn(argv[i], "="), argv[i], argv[0]);
        i += takes_next(t, argv[i]);
    }
    return OK;
}

error_code options_read(const option_table *t, int argc, char **argv, failure *fail)
{
    error_code code = check_names(t, argc, argv, fail);
    opterr = 0;
    optind = 1;
    for (int c; code == OK && (c = getopt_long(argc, argv, t->letters, t->names, NULL)) != -1;)
        code = c == '?' || c == ':' ? option_refused(c, argv, fail) : take_option(t, c, fail);
    return code;
}

typedef struct stage_reader {
    const option_table *own;
    stage_options *out;
} stage_reader;

static error_code take_any(void *context, int option, failure *fail)
{
    stage_reader *r = context;
    error_code code;
    if (take_stage_option(r->out, option, &code, fail))
        return code;
    return r->own->take(r->own->context, option, fail);
}

error_code stage_read_options(const option_table *t, int argc, char **argv, stage_options *out,
                              failure *fail)
{
    stage_reader reader = {t, out};
    const option_table all = {t->names, t->letters, take_any, &reader};
    return options_read(&all, argc, argv, fail);
}

/* ---- prompts ------------------------------------------------------------------------------ */

static error_code read_standard_input(buffer *out, bool exact, failure *fail)
{
    if (isatty(STDIN_FILENO))
        fputs("reading the prompt from standard input; end it with Ctrl-D\n", stderr);
    error_code code = buffer_read_fd(out, STDIN_FILENO, fail);
    if (code != OK)
        return failure_prefix(fail, "standard input");
    if (!exact && out->length > 0 && out->data[out->length - 1] == '\n')
        out->data[--out->length] = '\0';
    return OK;
}

error_code read_prompt(buffer *out, const char *given, int argc, char **argv, bool exact,
                       failure *fail)
{
    int left = argc - optind;
    if (left + (given != NULL) > 1)
        return failure_set(fail, ERR_INVALID,
                           "more than one prompt; put a prompt of several words in quotes");
    if (left == 1)
        given = argv[optind];
    error_code code = OK;
    if (given == NULL)
        code = read_standard_input(out, exact, fail);
    else if (buffer_add_text(out, given) != OK)
        code = failure_set(fail, ERR_MEMORY, "no memory for the prompt");
    if (code == OK && out->length == 0)
        return failure_set(fail, ERR_INVALID, "the prompt is empty");
    return code;
}

error_code read_model_path(const char **out, const char *given, int argc, char **argv,
                           failure *fail)
{
    int n = argc - optind + (given != NULL);
    if (n != 1)
        return failure_set(fail, ERR_INVALID, "%s; try: a-io %s --help",
                           n == 0 ? "no model file named" : "one model file at a time", argv[0]);
    *out = given != NULL ? given : argv[optind];
    return OK;
}

/* ---- showing ------------------------------------------------------------------------------ */

static bool is_coloured(FILE *out)
{
    return isatty(fileno(out)) && getenv("NO_COLOR") == NULL;
}

void report_open(FILE *out)
{
    if (is_coloured(out))
        fputs("\033[2m", out);
}

void report_close(FILE *out)
{
    if (is_coloured(out))
        fputs("\033[0m", out);
    fflush(out);
}

void print_fallback(FILE *out, const plan *p)
{
    if (p->fallback != FALLBACK_NONE && p->fallback != FALLBACK_PINNED)
        fprintf(out, " (fallback %s)", fallback_name(p->fallback));
}

void print_plan(FILE *out, const run *r)
{
    const plan *p = run_plan(r);
    const intent *i = run_intent(r);
    report_open(out);
    if (i->known) {
        fprintf(out, "intent   %s (", i->labels[i->best]);
        for (size_t k = 0; k < i->n_labels; k++)
            fprintf(out, "%s%s %.3f", k > 0 ? ", " : "", i->labels[k], i->probabilities[k]);
        fprintf(out, "), entropy %.3f nats, margin %.3f, outside %.3f%s%s\n", i->entropy, i->margin,
                i->outside, i->windowed ? ", windowed" : "", i->cached ? ", cached" : "");
    }
    if (!isnan(p->success))
        fprintf(out, "success  %.3f, that the small model's answer is right\n", p->success);
    fprintf(out, "plan     %s", p->model);
    if (p->lookup.mode == LOOKUP_FIXED)
        fprintf(out, ", lookup %u", p->lookup.length);
    else
        fprintf(out, ", lookup %s", lookup_name(p->lookup.mode));
    fprintf(out, ", rule %s: %s", p->rule, p->reason);
    print_fallback(out, p);
    fputc('\n', out);
    report_close(out);
}

static double per_second(double n, double ms)
{
    return ms > 0 ? 1e3 * n / ms : 0;
}

void print_receipt(FILE *out, const run *r)
{
    const overhead *o = &run_receipt(r)->overhead;
    const sequence_stats *s = &run_receipt(r)->reply;
    double bytes = (double)s->weight_bytes + (double)s->kv_bytes;
    /* The first token comes out of the prefill. */
    double decoded = s->reply_tokens > 1 ? (double)s->reply_tokens - 1 : 0;
    report_open(out);
    fprintf(out,
            "overhead %.2f ms: template %.2f, prefill %.2f, decide %.2f, switch %.2f, the rest "
            "waiting\n",
            o->total_ms, o->template_ms, o->prefill_ms, o->decide_ms, o->switch_ms);
    fprintf(out, "prefill  %zu tokens (%zu of them cached) in %.1f ms, %.1f tokens/s\n",
            s->prompt_tokens, s->cached_tokens, s->prefill_ms,
            per_second((double)(s->prompt_tokens - s->cached_tokens), s->prefill_ms));
    fprintf(out, "decode   %zu tokens in %.1f ms, %.1f tokens/s, %zu steps, ended by %s\n",
            s->reply_tokens, s->decode_ms, per_second(decoded, s->decode_ms), s->steps,
            run_finish_reason(r) == FINISH_STOP ? "stop" : "length");
    if (s->drafted > 0)
        fprintf(out, "lookup   %zu tokens drafted, %zu accepted\n", s->drafted, s->accepted);
    fprintf(out, "read     %.3f GB of weights, %.3f GB of KV, %.2f GB/s\n",
            (double)s->weight_bytes / 1e9, (double)s->kv_bytes / 1e9,
            per_second(bytes / 1e9, s->prefill_ms + s->decode_ms));
    report_close(out);
}

error_code print_json(json_t *value, failure *fail)
{
    buffer line;
    buffer_init(&line, (size_t)1 << 30);
    error_code code = json_write(&line, value);
    if (code == OK)
        code = buffer_add_text(&line, "\n");
    if (code != OK) {
        failure_set(fail, code, "no memory for the output");
    } else if (fwrite(line.data, 1, line.length, stdout) != line.length || fflush(stdout) != 0) {
        code = failure_set(fail, ERR_IO, "cannot write to standard output: %s", strerror(errno));
    }
    buffer_free(&line);
    return code;
}
