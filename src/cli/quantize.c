/* quantize.c: `a-io quantize`: a model file with smaller weights, or one with random weights. */
#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "cli/progress.h"
#include "kernel/quantize.h"
#include "model/gguf_write.h"
#include "model/synthetic.h"

#define SYNTHETIC "synthetic:"

typedef struct quantize_job {
    const char *input, *output;
    weight_mix mix;
    weight_setting setting; /* of the input */
    uint64_t threads;       /* 0: not given */
    bool help;
} quantize_job;

static volatile sig_atomic_t stopped;

static void on_stop_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* A first signal stops the work and removes what there is of the file, a second one ends the
 * process. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_stop_signal,
                               .sa_flags = SA_RESTART | (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* ---- what becomes of a tensor --------------------------------------------------------------- */

static const tensor_type_info *target_of(const quantize_job *job, const gguf_tensor *t)
{
    return weight_mix_type(&job->mix, &job->setting, t->name, t->n_dims);
}

static error_code check_tensor(const quantize_job *job, const gguf_tensor *t, failure *fail)
{
    char name[96];
    utf8_printable(t->name.data, t->name.length, name, sizeof name);
    const tensor_type_info *target = target_of(job, t);
    if (t->type->block_values > 1)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "%s: tensor '%s' is already %s; quantize the F32, F16 or BF16 original",
                           job->input, name, t->type->name);
    if (t->dims[0] % target->block_values != 0)
        return failure_set(fail, ERR_UNSUPPORTED,
                           "%s: tensor '%s' cannot be %s: its rows of %llu values are not whole "
                           "blocks of %u%s",
                           job->input, name, target->name, (unsigned long long)t->dims[0],
                           target->block_values, t->dims[0] % 32 == 0 ? "; q8_0 and q4_0 can" : "");
    return OK;
}

static error_code check_tensors(const quantize_job *job, const gguf *in, failure *fail)
{
    size_t n_matrices = 0;
    for (size_t i = 0; i < gguf_tensor_count(in); i++) {
        const gguf_tensor *t = gguf_tensor_at(in, i);
        error_code code = check_tensor(job, t, fail);
        if (code != OK)
            return code;
        n_matrices += target_of(job, t)->type != TENSOR_F32;
    }
    if (n_matrices == 0)
        return failure_set(fail, ERR_UNSUPPORTED, "%s: there is no matrix in it to quantize",
                           job->input);
    return OK;
}

/* ---- converting ----------------------------------------------------------------------------- */

enum { SLAB_VALUES = 1 << 21 }; /* converted at a time, by all threads together */

/* Rows of one tensor, shared among the team. */
typedef struct slab {
    const gguf_tensor *from;
    const tensor_type_info *to;
    size_t columns, first_row, n_rows;
    size_t from_row_bytes, to_row_bytes;
    uint8_t *out;
    atomic_bool refused; /* a value the type cannot express */
} slab;

/* What one thread works with and finds out. */
typedef struct worker {
    float *row, *decoded;  /* the longest row */
    double error, squares; /* Σ(decoded − x)² and Σx² of the matrices */
} worker;

typedef struct conversion {
    const quantize_job *job;
    const gguf *in;
    gguf_writer *out;
    team *threads;
    worker *workers;
    slab slab;
    progress bar;
    double bytes_done;
    failure *fail;
} conversion;

static void convert_row(slab *s, worker *w, size_t row)
{
    const uint8_t *from = (const uint8_t *)s->from->data + (s->first_row + row) * s->from_row_bytes;
    uint8_t *to = s->out + row * s->to_row_bytes;
    s->from->type->decode(from, w->row, s->columns);
    if (s->to->type == TENSOR_F32) {
        memcpy(to, w->row, s->to_row_bytes);
        return;
    }
    if (!tensor_encode(s->to->type, w->row, to, s->columns)) {
        atomic_store(&s->refused, true);
        return;
    }
    s->to->decode(to, w->decoded, s->columns);
    double error = 0, squares = 0; /* not in *w, whose cache line other workers write to */
    for (size_t i = 0; i < s->columns; i++) {
        double x = (double)w->row[i], difference = (double)w->decoded[i] - x;
        error += difference * difference;
        squares += x * x;
    }
    w->error += error;
    w->squares += squares;
}

static void convert_share(void *context, int thread, int n_threads)
{
    conversion *c = context;
    size_t begin = c->slab.n_rows * (size_t)thread / (size_t)n_threads;
    size_t end = c->slab.n_rows * ((size_t)thread + 1) / (size_t)n_threads;
    for (size_t row = begin; row < end && !atomic_load(&c->slab.refused); row++)
        convert_row(&c->slab, &c->workers[thread], row);
}

static error_code convert_slab(conversion *c)
{
    slab *s = &c->slab;
    if (stopped)
        return failure_set(c->fail, ERR_CANCELLED, "stopped; nothing was written");
    team_run(c->threads, convert_share, c);
    if (atomic_load(&s->refused)) {
        char name[96];
        utf8_printable(s->from->name.data, s->from->name.length, name, sizeof name);
        return failure_set(c->fail, ERR_UNSUPPORTED,
                           "%s: tensor '%s' holds a value that %s cannot express: not a number, "
                           "infinite, or larger than 65504",
                           c->job->input, name, s->to->name);
    }
    c->bytes_done += (double)(s->n_rows * s->from_row_bytes);
    progress_show(&c->bar, c->bytes_done / (double)gguf_file_bytes(c->in));
    return gguf_writer_data(c->out, s->out, s->n_rows * s->to_row_bytes, c->fail);
}

static error_code convert_tensor(conversion *c, const gguf_tensor *t)
{
    slab *s = &c->slab;
    s->from = t;
    s->to = target_of(c->job, t);
    s->columns = (size_t)t->dims[0];
    s->from_row_bytes = s->columns / t->type->block_values * t->type->block_bytes;
    s->to_row_bytes = s->columns / s->to->block_values * s->to->block_bytes;
    size_t rows = t->bytes / s->from_row_bytes;
    size_t most = s->columns < SLAB_VALUES ? SLAB_VALUES / s->columns : 1;
    error_code code = OK;
    for (s->first_row = 0; code == OK && s->first_row < rows; s->first_row += s->n_rows) {
        s->n_rows = rows - s->first_row < most ? rows - s->first_row : most;
        code = convert_slab(c);
    }
    return code;
}

/* What the new file says for itself: its type, and that it is whole. */
static bool is_replaced(gguf_string key)
{
    static const char *const names[] = {"general.file_type", "general.quantization_version",
                                        "split.no", "split.count", "split.tensors.count"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (key.length == strlen(names[i]) && memcmp(key.data, names[i], key.length) == 0)
            return true;
    return false;
}

static void describe(conversion *c)
{
    for (size_t i = 0; i < gguf_key_count(c->in); i++)
        if (!is_replaced(gguf_key_at(c->in, i)))
            gguf_writer_copy_key(c->out, c->in, i);
    weight_mix_write_keys(&c->job->mix, c->out);
    for (size_t i = 0; i < gguf_tensor_count(c->in); i++) {
        const gguf_tensor *t = gguf_tensor_at(c->in, i);
        gguf_writer_tensor(c->out, t->name, t->n_dims, t->dims, target_of(c->job, t));
    }
}

static error_code convert_all(conversion *c)
{
    describe(c);
    error_code code = gguf_writer_begin(c->out, c->fail);
    for (size_t i = 0; code == OK && i < gguf_tensor_count(c->in); i++) {
        code = convert_tensor(c, gguf_tensor_at(c->in, i));
        gguf_drop_pages(c->in);
    }
    return code == OK ? gguf_writer_finish(c->out, c->fail) : code;
}

/* ---- one file ------------------------------------------------------------------------------- */

static size_t longest_row(const gguf *in)
{
    uint64_t most = 0;
    for (size_t i = 0; i < gguf_tensor_count(in); i++)
        most = gguf_tensor_at(in, i)->dims[0] > most ? gguf_tensor_at(in, i)->dims[0] : most;
    return (size_t)most;
}

static error_code make_workers(conversion *c)
{
    size_t n = (size_t)team_size(c->threads), row = longest_row(c->in);
    size_t slab_values = row > SLAB_VALUES ? row : SLAB_VALUES;
    c->workers = calloc(n, sizeof *c->workers);
    c->slab.out = reallocarray(NULL, slab_values, sizeof(float));
    bool complete = c->workers != NULL && c->slab.out != NULL;
    for (size_t i = 0; complete && i < n; i++) {
        c->workers[i].row = reallocarray(NULL, row, sizeof(float));
        c->workers[i].decoded = reallocarray(NULL, row, sizeof(float));
        complete = c->workers[i].row != NULL && c->workers[i].decoded != NULL;
    }
    return complete ? OK : failure_set(c->fail, ERR_MEMORY, "no memory for rows of %zu", row);
}

static void free_workers(conversion *c)
{
    for (int i = 0; c->workers != NULL && i < team_size(c->threads); i++) {
        free(c->workers[i].row);
        free(c->workers[i].decoded);
    }
    free(c->workers);
    free(c->slab.out);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static error_code check_output(const quantize_job *job, const gguf *in, failure *fail)
{
    for (size_t i = 0; i < gguf_part_count(in); i++)
        if (same_file(gguf_part_path(in, i), job->output))
            return failure_set(fail, ERR_INVALID,
                               "%s: writing there would destroy the input; name another output",
                               job->output);
    return OK;
}

static void print_result(const conversion *c, double ms)
{
    double error = 0, squares = 0;
    for (int i = 0; i < team_size(c->threads); i++) {
        error += c->workers[i].error;
        squares += c->workers[i].squares;
    }
    double before = (double)gguf_file_bytes(c->in), after = (double)gguf_writer_file_bytes(c->out);
    printf("%s: %.1f MB of %.1f MB (%.0f %%), relative error of the %s weights %.4f, %.1f s\n",
           c->job->output, after / 1e6, before / 1e6, 100 * after / before, c->job->mix.name,
           squares > 0 ? sqrt(error / squares) : 0, ms / 1e3);
}

static error_code quantize_open_file(const quantize_job *job, const gguf *in, failure *fail)
{
    conversion c = {.job = job, .in = in, .fail = fail};
    double start = clock_ms();
    error_code code = check_tensors(job, in, fail);
    if (code == OK)
        code = gguf_writer_create(&c.out, job->output, fail);
    if (code == OK)
        code = team_create(&c.threads, job->threads > 0 ? (int)job->threads : team_default_size(),
                           fail);
    if (code == OK)
        code = make_workers(&c);
    if (code == OK) {
        progress_start(&c.bar, "quantizing");
        code = convert_all(&c);
        progress_end(&c.bar);
    }
    if (code == OK)
        print_result(&c, clock_ms() - start);
    free_workers(&c);
    team_destroy(c.threads);
    gguf_writer_destroy(c.out);
    return code;
}

static error_code quantize_file(quantize_job *job, failure *fail)
{
    gguf *in;
    const weight_mix *mix = &job->mix;
    if (!tensor_can_encode(mix->type->type) || !tensor_can_encode(mix->finer->type))
        return failure_set(fail, ERR_UNSUPPORTED,
                           "cannot quantize to %s; choose q8_0, q6_k, q4_k_m, q4_k or q4_0",
                           mix->name);
    error_code code = gguf_open(&in, job->input, fail);
    if (code != OK)
        return code;
    job->setting = weight_setting_of(in);
    code = check_output(job, in, fail);
    if (code == OK)
        code = quantize_open_file(job, in, fail);
    gguf_close(in);
    return code;
}

/* ---- random weights ------------------------------------------------------------------------- */

static bool show_synthetic(void *context, double fraction)
{
    progress_show(context, fraction);
    return !stopped;
}

static error_code write_synthetic(const quantize_job *job, failure *fail)
{
    progress bar;
    const synthetic_options options = {
        .shape = job->input + strlen(SYNTHETIC),
        .mix = job->mix,
        .seed = 1,
        .progress = show_synthetic,
        .progress_context = &bar,
    };
    if (job->threads > 0)
        return failure_set(fail, ERR_INVALID,
                           "--threads: random weights are written by one thread");
    progress_start(&bar, "writing random weights");
    error_code code = synthetic_write(&options, job->output, fail);
    progress_end(&bar);
    return code;
}

/* ---- the command line ----------------------------------------------------------------------- */

static void print_help(void)
{
    help_print("quantize", stdout);
    for (size_t i = 0; synthetic_shape_name(i) != NULL; i++)
        printf("  synthetic:%s\n", synthetic_shape_name(i));
    help_print("quantize_options", stdout);
}

static error_code take_arguments(quantize_job *job, int n, char **words, failure *fail)
{
    if (n != 3)
        return failure_set(fail, ERR_INVALID,
                           "needs INPUT, OUTPUT and TYPE; try: a-io quantize --help");
    job->input = words[0];
    job->output = words[1];
    if (weight_mix_find(words[2], &job->mix))
        return OK;
    return failure_set(fail, ERR_INVALID,
                       "\"%s\" is no type; there are q8_0, q6_k, q4_k_m, q4_k and q4_0, for "
                       "synthetic models f32, f16, bf16, q5_k_m and all that models are served in "
                       "too",
                       words[2]);
}

int command_quantize(int argc, char **argv)
{
    failure fail = {0};
    quantize_job job = {.threads = 0};
    const option_row rows[] = {THREADS_OPTION(&job.threads), OFFLINE_OPTION, HELP_OPTION(&job)};
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && job.help) {
        print_help();
        return 0;
    }
    if (code == OK)
        code = take_arguments(&job, argc - optind, argv + optind, &fail);
    if (code != OK)
        return command_failed("quantize", &fail);
    bool synthetic = strncmp(job.input, SYNTHETIC, strlen(SYNTHETIC)) == 0;
    char *input = NULL;
    if (!synthetic)
        code = model_file_find(job.input, NULL, &input, &fail);
    if (code != OK)
        return command_failed("quantize", &fail);
    catch_signals();
    job.input = synthetic ? job.input : input;
    code = synthetic ? write_synthetic(&job, &fail) : quantize_file(&job, &fail);
    free(input);
    return code == OK ? 0 : command_failed("quantize", &fail);
}
