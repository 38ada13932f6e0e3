/* replay.c: blocks in turns, one orchestra each, gathered into one result. */
#include "evidence/replay.h"

#include <stdio.h>
#include <string.h>

#include "evidence/journal.h"
#include "evidence/server_block.h"

typedef struct replay {
    const replay_plan *plan;
    replay_configure configure;
    void *context;
    replay_progress progress;
    checker *judge;
    journal *journal;       /* finished blocks by key: {items, seconds} */
    size_t n_done, n_total; /* requests */
    const char *set, *arm;
} replay;

/* ---- one block ---------------------------------------------------------------------------- */

static void on_progress(void *context, size_t done)
{
    replay *r = context;
    if (r->progress.call != NULL)
        r->progress.call(r->progress.context, r->set, r->arm,
                         (double)(r->n_done + done) / (double)r->n_total);
}

static bool is_stopped(void *context)
{
    const replay *r = context;
    const block_options *load = &r->plan->load;
    return load->stopped != NULL && load->stopped(load->context);
}

/* The first pages of the weights, for every arm alike. */
static error_code warm_up(orchestra *o, failure *fail)
{
    chat_message hello = {.role = "user", .content = "Hello", .content_length = 5};
    request q = {.messages = &hello, .n_messages = 1, .sampling = sampling_defaults()};
    q.max_tokens = 2;
    for (size_t i = 0; i < orchestra_model_count(o); i++) {
        run_options options = {.model = orchestra_model_name(o, i)};
        run *r = NULL;
        error_code code = orchestra_submit(o, &q, &options, (wakeup){NULL, NULL}, &r, fail);
        if (code != OK)
            return code;
        run_state state;
        while ((state = run_poll(r, NULL, NULL)) != RUN_FINISHED && state != RUN_FAILED)
            run_wait(r);
        run_release(r);
    }
    return OK;
}

static error_code run_block(replay *r, const arm *a, const task *tasks, size_t n, json_t **items,
                            double *seconds, failure *fail)
{
    config *c = NULL;
    orchestra *o = NULL;
    block_options load = r->plan->load;
    load.context = r;
    load.progress = on_progress;
    load.stopped = is_stopped;
    if (a->way == ARM_SERVER)
        return server_block_run(r->plan->server, a->name, tasks, n, &load, r->judge, items, seconds,
                                fail);
    error_code code = r->configure(r->context, &c, fail);
    if (code == OK)
        code = arm_apply(a, c, fail);
    if (code == OK)
        code = orchestra_create(&o, c, (house_progress){.call = NULL}, fail);
    if (code == OK)
        code = warm_up(o, fail);
    if (code == OK)
        code = block_run(o, c, a, tasks, n, &load, r->judge, items, seconds, fail);
    orchestra_destroy(o);
    config_free(c);
    return code;
}

static error_code do_block(replay *r, const replay_set *set, const arm *a, size_t round,
                           failure *fail)
{
    char key[160];
    size_t n = set->tasks.length, rounds = r->plan->rounds;
    size_t from = n * round / rounds, to = n * (round + 1) / rounds;
    snprintf(key, sizeof key, "%s/%s/%zu", set->name, a->name, round);
    json_t *items = NULL;
    double seconds = 0;
    error_code code = OK;
    r->set = set->name;
    r->arm = a->name;
    on_progress(r, 0);
    if (from < to && journal_find(r->journal, key) == NULL) {
        code = run_block(r, a, set->tasks.items + from, to - from, &items, &seconds, fail);
        if (code == OK)
            code = journal_put(r->journal, key,
                               json_pack("{s:O, s:f}", "items", items, "seconds", seconds), fail);
        json_decref(items);
    }
    r->n_done += to - from;
    return code == OK ? OK : failure_prefix(fail, "scenario %s, policy %s", set->name, a->name);
}

/* ---- all of it ---------------------------------------------------------------------------- */

/* The blocks of one arm, joined. */
static json_t *gather(const replay *r, const replay_set *set, const arm *a)
{
    json_t *items = json_array();
    double seconds = 0;
    for (size_t round = 0; round < r->plan->rounds; round++) {
        char key[160];
        snprintf(key, sizeof key, "%s/%s/%zu", set->name, a->name, round);
        const json_t *block = journal_find(r->journal, key);
        json_array_extend(items, json_object_get(block, "items"));
        seconds += json_number_value(json_object_get(block, "seconds"));
    }
    json_t *made = summary_run(set->name, a->name, items, seconds, &r->plan->bounds);
    json_decref(items);
    return made;
}

static const json_t *find_run(const json_t *runs, const char *set, const char *policy)
{
    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *made = json_array_get(runs, i);
        if (strcmp(json_string_value(json_object_get(made, "scenario")), set) == 0 &&
            strcmp(json_string_value(json_object_get(made, "policy")), policy) == 0)
            return made;
    }
    return NULL;
}

static double figure(const json_t *made, const char *key)
{
    return json_number_value(json_object_get(made, key));
}

/* The best of the models alone that ran; where they are equally right, the one named first. */
static const json_t *best_single(const replay_plan *p, const json_t *runs, const char *set)
{
    const json_t *best = NULL;
    for (size_t i = 0; i < p->n_arms; i++) {
        const arm *a = p->arms[i];
        if (a->way != ARM_PINNED || strcmp(a->lookup, "off") != 0)
            continue;
        const json_t *made = find_run(runs, set, a->name);
        if (best == NULL || (made != NULL && figure(made, "accuracy") > figure(best, "accuracy")))
            best = made;
    }
    return best;
}

static error_code add_run(const replay *r, const replay_set *set, const arm *a, json_t *runs,
                          failure *fail)
{
    json_t *made = NULL;
    if (a->way != ARM_DERIVED) {
        made = gather(r, set, a);
    } else {
        const json_t *best = best_single(r->plan, runs, set->name);
        if (best == NULL)
            return failure_set(fail, ERR_INVALID,
                               "best-single needs small or large, or another model alone, "
                               "before it");
        made = json_copy((json_t *)(uintptr_t)best);
        json_object_set_new(made, "chosen", json_incref(json_object_get(best, "policy")));
        json_object_set_new(made, "policy", json_string(a->name));
        json_object_del(made, "items");
    }
    if (made == NULL || json_array_append_new(runs, made) != 0)
        return failure_set(fail, ERR_MEMORY, "no memory for the results");
    return OK;
}

static error_code run_all(replay *r, failure *fail)
{
    const replay_plan *p = r->plan;
    error_code code = OK;
    for (size_t s = 0; s < p->n_sets; s++)
        for (size_t round = 0; round < p->rounds; round++)
            for (size_t a = 0; code == OK && a < p->n_arms; a++)
                if (p->arms[a]->way != ARM_DERIVED)
                    code = do_block(r, &p->sets[s], p->arms[a], round, fail);
    return code;
}

static void count_requests(replay *r)
{
    for (size_t s = 0; s < r->plan->n_sets; s++)
        for (size_t a = 0; a < r->plan->n_arms; a++)
            if (r->plan->arms[a]->way != ARM_DERIVED)
                r->n_total += r->plan->sets[s].tasks.length;
}

error_code replay_perform(const replay_plan *p, replay_configure configure, void *context,
                          replay_progress progress, json_t **out, failure *fail)
{
    replay r = {.plan = p, .configure = configure, .context = context, .progress = progress};
    json_t *runs = json_array();
    *out = NULL;
    count_requests(&r);
    error_code code = checker_create(&r.judge, fail);
    if (code == OK)
        code = journal_open(&r.journal, p->journal, "replay", p->settings, fail);
    if (code == OK)
        code = run_all(&r, fail);
    for (size_t s = 0; s < p->n_sets; s++)
        for (size_t a = 0; code == OK && a < p->n_arms; a++)
            code = add_run(&r, &p->sets[s], p->arms[a], runs, fail);
    if (code == OK) {
        *out = json_pack("{s:i, s:O, s:O}", "version", 1, "settings",
                         (json_t *)(uintptr_t)p->settings, "runs", runs);
        if (*out == NULL)
            code = failure_set(fail, ERR_MEMORY, "no memory for the results");
    }
    checker_destroy(r.judge);
    journal_close(r.journal);
    json_decref(runs);
    return code;
}
