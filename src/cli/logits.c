/* logits.c: `a-io logits`: the raw logits of every position, for comparison with a reference. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buffer.h"
#include "cli/cli.h"
#include "cli/common.h"
#include "cli/help.h"
#include "cli/model_file.h"
#include "cli/token_file.h"
#include "engine/kv.h"
#include "model/forward.h"

#define MAX_CHUNK 512

typedef struct logits_job {
    const char *model_path, *tokens_path, *output_path;
    kv_type kv;
    uint64_t chunk, threads;
    bool help;
} logits_job;

/* ---- the work -------------------------------------------------------------------------------- */

static error_code write_steps(const logits_job *job, const model *m, forward *f, team *threads,
                              const kv_slot *slot, const token_list *tokens, FILE *file,
                              failure *fail)
{
    forward_row rows[MAX_CHUNK];
    for (size_t at = 0; at < tokens->length; at += job->chunk) {
        size_t n = tokens->length - at < job->chunk ? tokens->length - at : job->chunk;
        for (size_t i = 0; i < n; i++)
            rows[i] =
                (forward_row){tokens->ids[at + i], (uint32_t)(at + i), &slot->view, WANT_LOGITS};
        forward_step(f, threads, rows, n);
        size_t values = n * m->config.n_vocab;
        if (fwrite(forward_logits(f, 0), sizeof(float), values, file) != values)
            return failure_set(fail, ERR_IO, "cannot write %s: %m", job->output_path);
    }
    return OK;
}

static error_code evaluate(const logits_job *job, const model *m, const token_list *tokens,
                           FILE *file, failure *fail)
{
    team *threads = NULL;
    forward *f = NULL;
    kv_cache *kv = NULL;
    error_code code = team_create(&threads, (int)job->threads, fail);
    if (code == OK)
        code = forward_create(&f, m, (int)job->threads, job->chunk, job->chunk, fail);
    if (code == OK)
        code = kv_create(&kv, &m->config, job->kv, tokens->length, tokens->length, 1, fail);
    if (code == OK)
        code = write_steps(job, m, f, threads, kv_acquire(kv, tokens->ids, 1), tokens, file, fail);
    kv_destroy(kv);
    forward_destroy(f);
    team_destroy(threads);
    return code;
}

static error_code evaluate_to_file(const logits_job *job, const model *m, const token_list *tokens,
                                   failure *fail)
{
    FILE *file = fopen(job->output_path, "wb");
    if (file == NULL)
        return failure_set(fail, ERR_IO, "cannot write %s: %m", job->output_path);
    error_code code = evaluate(job, m, tokens, file, fail);
    if (fclose(file) != 0 && code == OK)
        code = failure_set(fail, ERR_IO, "cannot write %s: %m", job->output_path);
    return code;
}

static error_code run_job(const logits_job *job, failure *fail)
{
    const model_options options = {.chat_template = "none"};
    model *m = NULL;
    token_list tokens = {0};
    char *path;
    error_code code = model_file_find(job->model_path, NULL, &path, fail);
    if (code == OK)
        code = model_load(&m, path, &options, fail);
    free(path);
    if (code == OK)
        code = token_file_read(job->tokens_path, m->config.n_vocab, &tokens, fail);
    if (code == OK)
        code = evaluate_to_file(job, m, &tokens, fail);
    token_list_free(&tokens);
    model_destroy(m);
    return code;
}

/* ---- the command line ------------------------------------------------------------------------ */

static error_code take_kv(void *context, const char *name, failure *fail)
{
    return kv_type_find(name, context)
               ? OK
               : failure_set(fail, ERR_INVALID, "--kv: \"%s\" is none of f16, f32, q8_0, q4", name);
}

int command_logits(int argc, char **argv)
{
    failure fail;
    logits_job job = {.kv = KV_F32, .chunk = 64, .threads = (uint64_t)team_default_size()};
    const option_row rows[] = {
        {"model-file", 'm', .text = &job.model_path},
        {"tokens", .text = &job.tokens_path},
        {"output", .text = &job.output_path},
        {"kv", .take = take_kv, .context = &job.kv},
        {"chunk", .number = &job.chunk, .low = 1, .high = MAX_CHUNK},
        THREADS_OPTION(&job.threads),
        OFFLINE_OPTION,
        HELP_OPTION(&job),
    };
    error_code code = options_read(rows, argc, argv, &fail);
    if (code == OK && job.help) {
        help_print("logits", stdout);
        return 0;
    }
    if (code == OK)
        code = read_model_path(&job.model_path, job.model_path, argc, argv, &fail);
    if (code == OK && (job.tokens_path == NULL || job.output_path == NULL))
        code =
            failure_set(&fail, ERR_INVALID, "needs --tokens and --output; try: a-io logits --help");
    if (code == OK)
        code = run_job(&job, &fail);
    return code == OK ? 0 : command_failed("logits", &fail);
}
