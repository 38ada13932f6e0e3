/* bench_synthetic.c: models of named shapes with random weights, made once and kept. */
#include "cli/bench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/progress.h"
#include "model/synthetic.h"

enum { SEED = 1 };

static bool is_shape(const char *name)
{
    for (size_t i = 0; synthetic_shape_name(i) != NULL; i++)
        if (strcmp(synthetic_shape_name(i), name) == 0)
            return true;
    return false;
}

static error_code refuse(const char *spec, failure *fail)
{
    char names[256] = "";
    size_t used = 0;
    for (size_t i = 0; synthetic_shape_name(i) != NULL && used + 64 < sizeof names; i++)
        used += (size_t)snprintf(names + used, sizeof names - used, "%s%.40s", i > 0 ? ", " : "",
                                 synthetic_shape_name(i));
    return failure_set(fail, ERR_INVALID,
                       "--synthetic: \"%.60s\" is not SHAPE:TYPE, like pangu-1b:q4_0; shapes: %s",
                       spec, names);
}

error_code bench_synthetic_parse(const char *spec, bench_synthetic *out, failure *fail)
{
    const char *colon = strchr(spec, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - spec);
    if (length == 0 || length >= sizeof out->shape)
        return refuse(spec, fail);
    memcpy(out->shape, spec, length);
    out->shape[length] = '\0';
    bool is_known = weight_mix_find(colon + 1, &out->mix) && is_shape(out->shape);
    return is_known ? OK : refuse(spec, fail);
}

/* ---- where it is kept ----------------------------------------------------------------------- */

/* Makes the folder `path` and those it stands in. */
static error_code make_folder(const char *path, failure *fail)
{
    char part[BENCH_PATH_SIZE];
    size_t length = strlen(path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            return failure_set(fail, ERR_IO, "cannot make the folder %s: %s; see --synthetic-dir",
                               part, strerror(errno));
    }
    return OK;
}

static bool choose_folder(const char *given, char folder[BENCH_PATH_SIZE])
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length;
    if (given != NULL)
        length = snprintf(folder, BENCH_PATH_SIZE, "%s", given);
    else if (cache != NULL && cache[0] == '/') /* the standard says: absolute or ignored */
        length = snprintf(folder, BENCH_PATH_SIZE, "%s/a-io", cache);
    else if (home != NULL && home[0] != '\0')
        length = snprintf(folder, BENCH_PATH_SIZE, "%s/.cache/a-io", home);
    else
        return false;
    return length > 0 && length < BENCH_PATH_SIZE;
}

/* ---- writing it ----------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void stop(int number)
{
    (void)number;
    stopped = 1;
}

static bool show_writing(void *context, double fraction)
{
    const char *path = context;
    char text[BENCH_PATH_SIZE + 32];
    snprintf(text, sizeof text, "%s: writing, %.0f %%", path, 100 * fraction);
    progress_line(text);
    return !stopped;
}

/* SIGINT and SIGTERM end the writing in order, so that no half file is left behind. */
static error_code write_model(const bench_synthetic *s, char *path, failure *fail)
{
    const synthetic_options options = {.shape = s->shape,
                                       .mix = s->mix,
                                       .seed = SEED,
                                       .progress = show_writing,
                                       .progress_context = path};
    struct sigaction handler = {.sa_handler = stop}, old_int, old_term;
    sigemptyset(&handler.sa_mask);
    stopped = 0;
    sigaction(SIGINT, &handler, &old_int);
    sigaction(SIGTERM, &handler, &old_term);
    error_code code = synthetic_write(&options, path, fail);
    sigaction(SIGINT, &old_int, NULL);
    sigaction(SIGTERM, &old_term, NULL);
    progress_line("");
    return code;
}

error_code bench_synthetic_file(const bench_synthetic *s, const char *folder_given,
                                char path[BENCH_PATH_SIZE], failure *fail)
{
    char folder[BENCH_PATH_SIZE];
    if (!choose_folder(folder_given, folder))
        return failure_set(fail, ERR_INVALID,
                           "no folder to keep a synthetic model in: set HOME or "
                           "give --synthetic-dir");
    int length = snprintf(path, BENCH_PATH_SIZE, "%s/%s.%s.gguf", folder, s->shape, s->mix.name);
    if (length < 0 || length >= BENCH_PATH_SIZE)
        return failure_set(fail, ERR_INVALID, "the path of the folder %s is too long", folder);
    if (access(path, R_OK) == 0)
        return OK;
    error_code code = make_folder(folder, fail);
    return code == OK ? write_model(s, path, fail) : code;
}
