/* common.c: refusals, prompts from arguments and standard input, and what a run cost. */
#include "cli/common.h"

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
    if (p->lookup.mode == WISH_FIXED)
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
    const reply_stats *s = &run_receipt(r)->reply;
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
            run_finish_reason(r) == END_STOP ? "stop" : "length");
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
