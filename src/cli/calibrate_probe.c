/* calibrate_probe.c: the probe asked of labelled requests, several at once. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/lines.h"
#include "cli/calibrate.h"
#include "cli/progress.h"
#include "cli/request_lines.h"

#define IN_FLIGHT 4 /* the engine computes as many classifications in a step */

size_t small_index(const stage *s)
{
    for (uint32_t i = 0; i < s->config->n_models; i++)
        if (s->config->models[i].role == ROLE_SMALL)
            return i;
    return 0;
}

/* ---- one question --------------------------------------------------------------------------- */

/* Rung by the engine's thread. */
typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    size_t count;
} bell;

static void ring(void *context)
{
    bell *b = context;
    pthread_mutex_lock(&b->lock);
    b->count++;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

typedef struct asker {
    backend *small;
    probe_template template;
    const char *tokens[SEQUENCE_MAX_LABELS];
    size_t n_labels;
    bell bell;
} asker;

static void asker_init(asker *a, stage *s)
{
    const config_probe *p = &s->config->probe;
    *a = (asker){.small = orchestra_backend(s->orchestra, small_index(s)),
                 .template = {.text = p->template,
                              .window_head = p->window_head,
                              .window_tail = p->window_tail},
                 .n_labels = p->n_labels};
    for (size_t k = 0; k < p->n_labels; k++)
        a->tokens[k] = p->labels[k].token;
    pthread_mutex_init(&a->bell.lock, NULL);
    pthread_cond_init(&a->bell.rung, NULL);
}

static void asker_end(asker *a)
{
    pthread_mutex_destroy(&a->bell.lock);
    pthread_cond_destroy(&a->bell.rung);
}

static error_code ask(asker *a, const request *q, classification **out, failure *fail)
{
    wakeup wake = {.call = ring, .context = &a->bell};
    return backend_classify(a->small, q, &a->template, a->tokens, a->n_labels, wake, out, fail);
}

/* Waits for this one. Gives it back. */
static error_code take_answer(asker *a, classification *c, double *logits, failure *fail)
{
    classification_result result;
    for (;;) {
        pthread_mutex_lock(&a->bell.lock);
        size_t heard = a->bell.count;
        pthread_mutex_unlock(&a->bell.lock);
        error_code code = classification_poll(c, &result);
        if (code != OK) {
            result.state = SEQUENCE_FAILED;
            failure_set(&result.failure, code, "%s", error_code_text(code));
        }
        if (result.state != SEQUENCE_RUNNING)
            break;
        pthread_mutex_lock(&a->bell.lock);
        while (a->bell.count == heard)
            pthread_cond_wait(&a->bell.rung, &a->bell.lock);
        pthread_mutex_unlock(&a->bell.lock);
    }
    classification_release(c);
    if (result.state == SEQUENCE_FAILED) {
        *fail = result.failure;
        return fail->code;
    }
    for (size_t k = 0; k < a->n_labels; k++)
        logits[k] = (double)result.logits[k];
    return OK;
}

/* ---- no content ------------------------------------------------------------------------------ */

error_code probe_content_free(stage *s, double *out, failure *fail)
{
    static const char *const texts[] = {"N/A", "[MASK]", ""}; /* Zhao et al. 2021 */
    const size_t n_texts = sizeof texts / sizeof texts[0];
    asker a;
    asker_init(&a, s);
    calibration identity = calibration_identity(a.n_labels);
    error_code code = OK;
    memset(out, 0, a.n_labels * sizeof *out);
    for (size_t i = 0; code == OK && i < n_texts; i++) {
        chat_message message = {
            .role = "user", .content = texts[i], .content_length = strlen(texts[i])};
        request q = {.messages = &message, .n_messages = 1, .sampling = sampling_defaults()};
        classification *c;
        double logits[SEQUENCE_MAX_LABELS], p[SEQUENCE_MAX_LABELS];
        code = ask(&a, &q, &c, fail);
        if (code == OK)
            code = take_answer(&a, c, logits, fail);
        if (code != OK)
            break;
        calibration_apply(&identity, logits, p);
        for (size_t k = 0; k < a.n_labels; k++)
            out[k] += (p[k] + 1e-9) / (double)n_texts; /* above 0: its logarithm is taken */
    }
    asker_end(&a);
    return code;
}

/* ---- a file --------------------------------------------------------------------------------- */

typedef struct reading {
    asker asker;
    const config *config;
    FILE *file;
    progress progress;
    long size;
    labelled_set *set;
    size_t capacity;
    classification *asked[IN_FLIGHT]; /* of set->samples[n …] */
    size_t n_asked;
    bool counted;
} reading;

static error_code find_label(const config_probe *p, const json_t *line, size_t *label,
                             failure *fail)
{
    const char *name = json_string_value(json_object_get(line, "intent"));
    if (name == NULL)
        return failure_set(fail, ERR_INVALID, "\"intent\" (the right label) is needed, a text");
    for (*label = 0; *label < p->n_labels; ++*label)
        if (strcmp(p->labels[*label].name, name) == 0)
            return OK;
    return failure_set(fail, ERR_INVALID, "intent \"%.60s\" is not a label of the probe", name);
}

static error_code grow(reading *r, failure *fail)
{
    labelled_set *set = r->set;
    if (set->n + r->n_asked < r->capacity)
        return OK;
    size_t capacity = r->capacity == 0 ? 1024 : 2 * r->capacity;
    calibration_sample *samples = realloc(set->samples, capacity * sizeof *samples);
    if (samples != NULL)
        set->samples = samples;
    bool *answerable = realloc(set->answerable, capacity * sizeof *answerable);
    if (answerable != NULL)
        set->answerable = answerable;
    if (samples == NULL || answerable == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for %zu requests", capacity);
    r->capacity = capacity;
    return OK;
}

/* Takes the oldest answer. */
static error_code take_oldest(reading *r, failure *fail)
{
    classification *oldest = r->asked[0];
    r->n_asked--;
    memmove(r->asked, r->asked + 1, r->n_asked * sizeof r->asked[0]);
    error_code code = take_answer(&r->asker, oldest, r->set->samples[r->set->n].logits, fail);
    r->set->n += code == OK;
    return code;
}

static error_code ask_request(reading *r, const request *q, size_t label, failure *fail)
{
    size_t tokens;
    error_code code = backend_count_tokens(r->asker.small, q, &tokens, fail);
    if (code == OK && tokens >= backend_context(r->asker.small)) {
        r->set->n_long++;
        return OK;
    }
    if (code == OK && r->n_asked == IN_FLIGHT)
        code = take_oldest(r, fail);
    if (code == OK)
        code = grow(r, fail);
    if (code == OK)
        code = ask(&r->asker, q, &r->asked[r->n_asked], fail);
    if (code != OK)
        return code;
    size_t at = r->set->n + r->n_asked++;
    r->set->samples[at].label = label;
    r->set->answerable[at] = tokens <= r->config->policy.prompt_limit;
    return OK;
}

static error_code read_line(reading *r, const char *text, size_t length, failure *fail)
{
    json_t *line;
    request q;
    chat_message *messages = NULL;
    size_t label = 0;
    error_code code = request_line_parse(&line, text, length, fail);
    if (code == OK)
        code = find_label(&r->config->probe, line, &label, fail);
    if (code == OK)
        code = request_line_read(line, &q, &messages, fail);
    if (code == OK)
        code = ask_request(r, &q, label, fail);
    free(messages);
    json_decref(line);
    return code;
}

static error_code read_lines(reading *r, failure *fail)
{
    char *line = NULL;
    size_t capacity = 0;
    error_code code = OK;
    for (size_t number = 1; code == OK; number++) {
        ssize_t length = getline(&line, &capacity, r->file);
        if (length < 0) {
            code = lines_ended(r->file, r->set->path, fail);
            break;
        }
        if (strspn(line, " \t\r\n") == (size_t)length)
            continue;
        code = read_line(r, line, (size_t)length, fail);
        if (code != OK)
            failure_prefix(fail, "%s, line %zu", r->set->path, number);
        if (r->size > 0)
            progress_show(&r->progress, (double)ftell(r->file) / (double)r->size);
    }
    free(line);
    while (code == OK && r->n_asked > 0)
        code = take_oldest(r, fail);
    for (size_t i = 0; i < r->n_asked; i++)
        classification_release(r->asked[i]);
    return code;
}

error_code labelled_set_probe(labelled_set *out, stage *s, const char *path, failure *fail)
{
    *out = (labelled_set){.path = path};
    reading r = {.config = s->config, .set = out, .file = fopen(path, "re")};
    if (r.file == NULL)
        return failure_set(fail, error_code_of_errno(errno), "cannot open %s: %s", path,
                           strerror(errno));
    if (fseek(r.file, 0, SEEK_END) == 0)
        r.size = ftell(r.file);
    rewind(r.file);
    asker_init(&r.asker, s);
    progress_start(&r.progress, "probing");
    error_code code = read_lines(&r, fail);
    progress_end(&r.progress);
    asker_end(&r.asker);
    fclose(r.file);
    return code;
}

void labelled_set_free(labelled_set *set)
{
    free(set->samples);
    free(set->answerable);
    *set = (labelled_set){.path = NULL};
}
