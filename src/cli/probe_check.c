/* probe_check.c: asks the built-in requests, before or beside serving; warns of what it sees. */
#include "cli/probe_check.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/random.h"
#include "cli/builtin_requests.h"
#include "cli/calibrate.h"
#include "cli/kept_answers.h"
#include "cli/labelled.h"
#include "orchestra/policy.h"

#define COMPARE_ENOUGH_MASS 0.1 /* below it the words are not what the model would go on with */
#define TEXT_SIZE 256
#define LINE_SIZE 512
#define MOSTLY_RIGHT 0.9  /* a calibrated probe that is right so often needs no more mass */
#define LOOK_AGAIN_MS 100 /* whether the models are idle */

typedef struct probe_check {
    size_t n;          /* requests asked; 0: there is nothing to check, no rule reads the intent */
    bool knows_labels; /* code, qa and math are labels of the probe: n_right means something */
    size_t n_right;
    size_t n_of[CONFIG_MAX_MODELS]; /* by the model that they would go to */
    double mass;                    /* of the probability that the labels hold, mean */
    double entropy;                 /* nats, mean */
} probe_check;

typedef struct checking {
    const stage *stage;
    const labelled_requests *set, *all; /* asked at once, and in the end */
    classification_result *answers;     /* of all */
    probe_check *out;
    failure why; /* code OK: all answers could be read */
} checking;

/* The number of the probe's label of that name, or n_labels. */
static size_t find_label(const routing *g, const char *name)
{
    size_t i = 0;
    while (i < routing_label_count(g) && strcmp(routing_label_name(g, i), name) != 0)
        i++;
    return i;
}

static void take_answer(void *context, size_t index, size_t asked, const classification_result *r)
{
    (void)asked;
    checking *c = context;
    c->answers[&c->set->items[index] - c->all->items] = *r;
}

static void count_answer(checking *c, const labelled_request *q, const classification_result *r)
{
    const orchestra *o = c->stage->orchestra;
    intent sensed;
    plan decided;
    double coin = random_uniform(routing_config(orchestra_routing(o))->policy.seed, 1, q->number);
    if (orchestra_consider(o, r, q->tokens, coin, &sensed, &decided, &c->why) != OK)
        return;
    probe_check *to = c->out;
    to->n++;
    to->n_right += find_label(orchestra_routing(o), c->all->labels[q->label]) == sensed.best;
    to->n_of[decided.level]++;
    to->mass += 1 - sensed.outside;
    to->entropy += sensed.entropy;
}

/* ---- asking --------------------------------------------------------------------------------- */

static bool is_idle(const stage *s)
{
    for (size_t i = 0; i < orchestra_model_count(s->orchestra); i++) {
        backend_load status;
        backend_read_load(orchestra_backend(s->orchestra, i), &status);
        if (status.running + status.waiting > 0)
            return false;
    }
    return true;
}

/* False: told to stop. */
static bool wait_for_idleness(const stage *s, const atomic_bool *stop)
{
    const struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000000L};
    while (!atomic_load(stop) && !is_idle(s))
        nanosleep(&pause, NULL);
    return !atomic_load(stop);
}

/* `stop` NULL: all at once. */
static error_code ask(checking *c, backend *small, const question *q, atomic_bool *stop,
                      failure *fail)
{
    const answer_sink sink = {take_answer, c};
    if (stop == NULL)
        return labelled_ask(c->set, c->set->n, small, q, 1, "checking the probe", sink, fail);
    error_code code = OK;
    for (size_t i = 0; code == OK && i < c->all->n; i++) {
        if (!wait_for_idleness(c->stage, stop))
            return failure_set(fail, ERR_CANCELLED, "stopped");
        labelled_requests one = *c->all;
        one.items += i;
        c->set = &one;
        code = labelled_ask(&one, 1, small, q, 1, NULL, sink, fail);
    }
    return code;
}

/* An earlier start asked the same, or it is asked now. */
static error_code find_answers(checking *c, atomic_bool *stop, failure *fail)
{
    const stage *s = c->stage;
    backend *small = orchestra_backend(s->orchestra, asked_index(s));
    question q = configured_question(&routing_config(orchestra_routing(s->orchestra))->probe);
    char key[KEPT_KEY_SIZE];
    bool has_key = kept_answers_key(key, s, c->all, &q);
    if (has_key && kept_answers_read(s, key, q.n_words, c->answers, c->all->n))
        return OK;
    q.template.is_alone = stop != NULL;
    error_code code = ask(c, small, &q, stop, fail);
    if (code == OK && has_key)
        kept_answers_write(s, key, c->answers, c->all->n);
    return code;
}

static error_code ask_and_sum(checking *c, atomic_bool *stop, failure *fail)
{
    classification_result *answers = c->answers = calloc(c->all->n + 1, sizeof *answers);
    error_code code = answers != NULL
                          ? find_answers(c, stop, fail)
                          : failure_set(fail, ERR_MEMORY, "no memory for the built-in requests");
    for (size_t i = 0; code == OK && i < c->all->n; i++)
        count_answer(c, &c->all->items[i], &c->answers[i]);
    free(answers);
    if (code == OK && c->why.code != OK) {
        *fail = c->why;
        code = fail->code;
    }
    probe_check *out = c->out;
    if (code != OK || out->n == 0)
        return code;
    out->mass /= (double)out->n;
    out->entropy /= (double)out->n;
    return OK;
}

static error_code check(probe_check *out, const stage *s, atomic_bool *stop, failure *fail)
{
    const routing *g = orchestra_routing(s->orchestra);
    const policy *p = routing_policy(g);
    labelled_requests set;
    *out = (probe_check){.n = 0};
    /* A learned probe needs no words, and a policy by success is not one of kinds. */
    if (p == NULL || !policy_reads_intent(p) || policy_reads_success(p) ||
        routing_config(g)->probe.kind == CONFIG_PROBE_LEARNED)
        return OK;
    /* Another server is not asked for what nobody wanted: its answers may cost money. */
    if (stop != NULL && orchestra_model(s->orchestra, asked_index(s)) == NULL)
        return OK;
    error_code code = labelled_builtin(&set, fail);
    if (code == OK)
        code = labelled_fit(&set, orchestra_backend(s->orchestra, asked_index(s)), fail);
    out->knows_labels = true;
    for (size_t k = 0; k < set.n_labels; k++)
        out->knows_labels =
            out->knows_labels && find_label(g, set.labels[k]) < routing_label_count(g);
    checking c = {.stage = s, .set = &set, .all = &set, .out = out};
    if (code == OK)
        code = ask_and_sum(&c, stop, fail);
    if (code != OK)
        out->n = 0;
    labelled_free(&set);
    return code;
}

/* ---- telling -------------------------------------------------------------------------------- */

/* "to the small model 13, to the large one 47"; of more than two by name. */
static void describe_routes(const probe_check *c, const config *of, char out[TEXT_SIZE])
{
    size_t used = 0;
    if (of->n_models == 2) {
        snprintf(out, TEXT_SIZE, "to the small model %zu, to the large one %zu", c->n_of[0],
                 c->n_of[1]);
        return;
    }
    for (size_t i = 0; i < of->n_models && used < TEXT_SIZE; i++)
        used += (size_t)snprintf(out + used, TEXT_SIZE - used, "%sto %s %zu", i > 0 ? ", " : "",
                                 of->models[i].name, c->n_of[i]);
}

static void describe(const probe_check *c, const config *of, char out[LINE_SIZE])
{
    char right[32] = "", routes[TEXT_SIZE];
    describe_routes(c, of, routes);
    if (c->knows_labels)
        snprintf(right, sizeof right, "%zu named rightly, ", c->n_right);
    snprintf(out, LINE_SIZE,
             "of %zu built-in requests %s%s; the labels hold %.1f %% of the probability, mean "
             "entropy %.2f nats",
             c->n, right, routes, 100 * c->mass, c->entropy);
}

static void warn_of_mass(const probe_check *c, const stage *s)
{
    bool is_calibrated = routing_calibration(orchestra_routing(s->orchestra)) != NULL;
    bool is_right = c->knows_labels && (double)c->n_right >= MOSTLY_RIGHT * (double)c->n;
    if (c->mass >= COMPARE_ENOUGH_MASS || (is_calibrated && is_right))
        return;
    log_warn("probe: its labels hold %.1f %% of the probability on %zu built-in requests (below "
             "%.0f %%): what it says of them is an order more than numbers. a-io init finds a "
             "template and words that fit the model; a-io calibrate makes numbers of what it says",
             100 * c->mass, c->n, 100 * COMPARE_ENOUGH_MASS);
}

/* Requests of other kinds than the user's say little of where the user's go. */
static void warn_of_routes(const probe_check *c, const stage *s)
{
    const routing *g = orchestra_routing(s->orchestra);
    size_t only = 0;
    while (only + 1 < s->config->n_models && c->n_of[only] == 0)
        only++;
    if (!c->knows_labels || c->n_of[only] < c->n)
        return;
    log_warn("policy %s: all %zu built-in requests (20 each of code, qa, math) go to the %s model: "
             "nothing is routed. Mean entropy %.2f nats, limit %.2f; %zu are named rightly. a-io "
             "init finds a probe that fits",
             routing_config(g)->policy.name, c->n, config_role(s->config, only), c->entropy,
             routing_entropy_limit(g), c->n_right);
}

static void warn(const probe_check *c, const stage *s)
{
    warn_of_mass(c, s);
    warn_of_routes(c, s);
}

error_code probe_check_print(const stage *s, failure *fail)
{
    probe_check found;
    char text[LINE_SIZE];
    error_code code = check(&found, s, NULL, fail);
    if (code != OK || found.n == 0)
        return code;
    describe(&found, s->config, text);
    puts(text);
    warn(&found, s);
    return OK;
}

/* ---- beside a server ------------------------------------------------------------------------ */

static void *watch(void *context)
{
    probe_watch *w = context;
    probe_check found;
    failure fail;
    char text[LINE_SIZE];
    error_code code = check(&found, w->stage, &w->stop, &fail);
    if (code != OK && code != ERR_CANCELLED)
        log_warn("the probe could not be checked: %s", fail.text);
    if (code != OK || found.n == 0)
        return NULL;
    describe(&found, w->stage->config, text);
    log_info("%s", text);
    warn(&found, w->stage);
    return NULL;
}

void probe_watch_start(probe_watch *w, const stage *s)
{
    w->stage = s;
    atomic_init(&w->stop, false);
    w->is_started = pthread_create(&w->thread, NULL, watch, w) == 0;
}

void probe_watch_stop(probe_watch *w)
{
    atomic_store(&w->stop, true);
    if (w->is_started)
        pthread_join(w->thread, NULL);
}
