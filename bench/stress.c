/* The step loop under stress: `make stress SEED=1 REQUESTS=10000 STREAMS=8`.
 *
 * Many clients at once ask one conductor with both demo models: random prompts (with shared
 * beginnings, and conversations that go on), lengths, samplings, lookups, priorities and deadlines;
 * classifications in between; some are cancelled or abandoned. Memory is so small that replies are
 * parked and give up their KV. Every answer is compared with that of the same question alone in an
 * engine of its own: tokens, text, how it ended, the logits of labels; what was cut short must be a
 * beginning of it. Resident memory must stay flat, and nobody may wait for ever.
 *
 * Ends with a line `N passed, N failed`; status 0 when all passed. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <malloc.h>
#include <pthread.h>

#include "base/clock.h"
#include "stress.h"
#include "cli/common.h"
#include "cli/progress.h"
#include "measure/measure.h"
#include "../tests/sanitized.h"

/* For the KV of both models: the largest request takes two thirds of it. */
#define KV_ROOM ((size_t)2 << 20)
/* Resident memory may grow by so much from a tenth of the requests to the end: malloc's own holes.
 * A leak of 200 bytes a request exceeds it at 10,000 requests. */
#define GROWTH_ROOM ((size_t)1 << 20)
#define PATIENCE_S 30.0   /* without progress: a stall */
#define ASKED_AGAIN 4     /* times a question is asked, on average */
#define BLOCK 8           /* questions of which each may go on where the one before ended */
#define SHOWN_FAILURES 10 /* the rest is only counted */
#define SOLO_THREADS 2
#define WHOLE 1000 /* so many requests meet, and touch, all that they are meant to */

#define SANITIZED (IS_SANITIZED != 0) /* a sanitizer's own memory grows */

typedef struct totals {
    size_t asked, passed, failed;
    size_t finished, cancelled, abandoned, late, refused;
    size_t reply_tokens, cached_tokens, went_on_cached, drafted, accepted, parked, refilled_tokens;
    size_t over_limit; /* KV beyond the memory limit */
} totals;

typedef struct stress {
    uint64_t seed, n_requests, n_streams;
    size_t n_questions;
    question *questions;
    answer *answers;
    model *models[MODELS];
    conductor *conductor;
    engine *engines[MODELS];
    client clients[STRESS_CLIENTS];
    totals sum;
} stress;

/* ---- solo runs ------------------------------------------------------------------------------ */

typedef struct solo_work {
    stress *s;
    atomic_size_t next; /* block */
    atomic_size_t done; /* questions */
} solo_work;

static void *run_solos(void *context)
{
    solo_work *w = context;
    stress *s = w->s;
    const model *models[MODELS] = {s->models[SMALL], s->models[LARGE]};
    for (size_t i; (i = BLOCK * atomic_fetch_add(&w->next, 1)) < s->n_questions;)
        for (size_t k = i; k < i + BLOCK && k < s->n_questions; k++) {
            bool first = k == i;
            question_make(&s->questions[k], &s->answers[k], s->seed, k, models,
                          first ? NULL : &s->questions[k - 1], first ? NULL : &s->answers[k - 1]);
            atomic_fetch_add(&w->done, 1);
        }
    return NULL;
}

static void answer_all_alone(stress *s)
{
    progress bar;
    pthread_t workers[SOLO_THREADS];
    failure fail;
    solo_work w = {.s = s};
    s->questions = calloc(s->n_questions, sizeof *s->questions);
    s->answers = calloc(s->n_questions, sizeof *s->answers);
    if (s->questions == NULL || s->answers == NULL)
        stress_must(failure_set(&fail, ERR_MEMORY, "no memory"), &fail);
    progress_start(&bar, "solo runs");
    for (size_t i = 0; i < SOLO_THREADS; i++)
        if (pthread_create(&workers[i], NULL, run_solos, &w) != 0)
            stress_must(failure_set(&fail, ERR_MEMORY, "cannot start a thread"), &fail);
    while (atomic_load(&w.done) < s->n_questions) {
        usleep(1000);
        progress_show(&bar, (double)atomic_load(&w.done) / (double)s->n_questions);
    }
    for (size_t i = 0; i < SOLO_THREADS; i++)
        pthread_join(workers[i], NULL);
    progress_end(&bar);
}

/* ---- judging -------------------------------------------------------------------------------- */

static void print_failure(const stress *s, const client *c, const char *what)
{
    const question *q = c->asked;
    size_t same = 0, most = c->got.tokens.length;
    while (same < most && same < c->solo->tokens.length &&
           c->got.tokens.ids[same] == c->solo->tokens.ids[same])
        same++;
    printf("FAILED request %zu (seed %llu, question %zu): %s\n"
           "  %s, %s, prompt of %zu tokens%s, lookup %s %u, temperature %g; %zu tokens of %zu, the "
           "first %zu the same; %zu cached, parked %zu times, %zu filled in again\n",
           atomic_load(&c->number), (unsigned long long)s->seed, (size_t)(q - s->questions), what,
           q->where == SMALL ? "small" : "large",
           q->classify ? "classification" : priority_name(c->how.priority), q->prompt.length,
           q->goes_on ? " (goes on)" : "",
           c->how.lookup.mode == LOOKUP_OFF    ? "off"
           : c->how.lookup.mode == LOOKUP_AUTO ? "auto"
                                               : "fixed",
           c->how.lookup.length, (double)q->sampling.temperature, most, c->solo->tokens.length,
           same, c->got.last.stats.cached_tokens, c->got.last.stats.parked,
           c->got.last.stats.refilled_tokens);
}

static void count(totals *t, const client *c)
{
    const sequence_stats *stats = &c->got.last.stats;
    t->finished += c->got.last.state == SEQUENCE_FINISHED ? 1 : 0;
    t->abandoned += c->got.last.state == SEQUENCE_RUNNING ? 1 : 0;
    t->cancelled += c->got.last.failure.code == ERR_CANCELLED ? 1 : 0;
    t->late += c->got.last.failure.code == ERR_TIMEOUT ? 1 : 0;
    t->reply_tokens += c->got.tokens.length;
    t->cached_tokens += stats->cached_tokens;
    t->went_on_cached += c->asked->goes_on ? stats->cached_tokens : 0;
    t->drafted += stats->drafted;
    t->accepted += stats->accepted;
    t->parked += stats->parked;
    t->refilled_tokens += stats->refilled_tokens;
}

/* ---- clients -------------------------------------------------------------------------------- */

/* What a draw decides, of a request. */
enum {
    QUESTION,
    LOOKUP,
    LENGTH,
    PRIOR,
    PRIORITY,
    DEADLINE,
    DEADLINE_MS,
    END,
    END_MS,
    END_AT,
    PAUSE
};

/* Questions have the numbers from 0 on. */
static double draw(const stress *s, size_t number, uint64_t field)
{
    return stress_draw(s->seed + 1, number, field);
}

static void choose_manner(const stress *s, client *c, size_t number)
{
    double lookup = draw(s, number, LOOKUP);
    c->how = (manner){.priority =
                          draw(s, number, PRIORITY) < 0.45 ? PRIORITY_BATCH : PRIORITY_INTERACTIVE};
    c->how.lookup.mode = lookup < 0.25 ? LOOKUP_OFF : lookup < 0.6 ? LOOKUP_FIXED : LOOKUP_AUTO;
    c->how.lookup.length = 1 + (uint32_t)(draw(s, number, LENGTH) * LOOKUP_MAX_DRAFT);
    c->how.lookup.prior = (uint32_t)(draw(s, number, PRIOR) * LOOKUP_CLASSES);
    if (draw(s, number, DEADLINE) < 0.1)
        c->how.deadline_ms = 1 + 60 * draw(s, number, DEADLINE_MS);
}

static void choose_end(const stress *s, client *c, size_t number, double now_ms)
{
    double end = draw(s, number, END);
    c->cancel_ms = 0;
    c->cancel_at = 0;
    c->cancelled = false;
    c->abandons = end < 0.05;
    if (end < 0.12)
        c->cancel_ms = now_ms + 15 * draw(s, number, END_MS);
    else if (end < 0.2)
        c->cancel_at = 1 + (size_t)(draw(s, number, END_AT) * STRESS_REPLY / 2);
}

/* Half of the clients come back at once; all of them rest now and then, so that the loop sleeps. */
static double choose_pause_ms(const stress *s, size_t number)
{
    double u = 2 * draw(s, number, PAUSE);
    if (number / s->n_streams % 64 == 63)
        return 40;
    return u < 1 ? 0 : 6 * (u - 1);
}

typedef struct bell {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    bool ringing;
} bell;

static bell news = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};

static void ring(void *context)
{
    bell *b = context;
    pthread_mutex_lock(&b->lock);
    b->ringing = true;
    pthread_cond_signal(&b->rung);
    pthread_mutex_unlock(&b->lock);
}

/* Until something has come, or a client's time may have. */
static void wait_for_news(bell *b)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_nsec += 500000;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    pthread_mutex_lock(&b->lock);
    if (!b->ringing)
        pthread_cond_timedwait(&b->rung, &b->lock, &end);
    b->ringing = false;
    pthread_mutex_unlock(&b->lock);
}

static void ask(stress *s, client *c, double now_ms)
{
    failure fail;
    sequence *out;
    size_t number = s->sum.asked;
    size_t which = (size_t)(draw(s, number, QUESTION) * (double)s->n_questions);
    c->asked = &s->questions[which];
    c->solo = &s->answers[which];
    choose_manner(s, c, number);
    choose_end(s, c, number, now_ms);
    error_code code =
        question_submit(c->asked, &c->how, s->engines[c->asked->where], ring, &news, &out, &fail);
    if (code == ERR_BUSY) {
        s->sum.refused++;
        c->next_ms = now_ms + 1;
        return;
    }
    stress_must(code, &fail);
    s->sum.asked++;
    c->got.tokens.length = 0;
    buffer_clear(&c->got.text);
    c->got.last = (sequence_poll_result){0};
    atomic_store(&c->number, number);
    atomic_fetch_add(&c->progress, 1);
    atomic_store(&c->sequence, out);
}

static void close_request(stress *s, client *c, double now_ms)
{
    sequence *ended = atomic_exchange(&c->sequence, NULL);
    const char *what = stress_judge(c);
    sequence_release(ended);
    count(&s->sum, c);
    s->sum.passed += what == NULL ? 1 : 0;
    s->sum.failed += what == NULL ? 0 : 1;
    if (what != NULL && s->sum.failed <= SHOWN_FAILURES)
        print_failure(s, c, what);
    c->next_ms = now_ms + choose_pause_ms(s, atomic_load(&c->number));
}

static void look(stress *s, client *c, double now_ms)
{
    failure fail;
    size_t before = c->got.tokens.length;
    error_code code = sequence_poll(c->sequence, &c->got.last, &c->got.text, &c->got.tokens);
    stress_must(code == OK ? OK : failure_set(&fail, code, "no memory"), &fail);
    if (c->got.tokens.length > before)
        atomic_fetch_add(&c->progress, 1);
    bool is_time = (c->cancel_ms > 0 && now_ms >= c->cancel_ms) ||
                   (c->cancel_at > 0 && c->got.tokens.length >= c->cancel_at);
    if (c->got.last.state != SEQUENCE_RUNNING || (is_time && c->abandons)) {
        close_request(s, c, now_ms);
    } else if (is_time && !c->cancelled) {
        sequence_cancel(c->sequence);
        c->cancelled = true;
    }
}

/* ---- company -------------------------------------------------------------------------------- */

static size_t kv_bytes(const stress *s)
{
    engine_status small, large;
    engine_read_status(s->engines[SMALL], &small);
    engine_read_status(s->engines[LARGE], &large);
    return small.kv_bytes + large.kv_bytes;
}

/* The two are not read in the same moment, so one reading is no proof. */
static void check_limit(stress *s)
{
    for (int i = 0; i < 3; i++)
        if (kv_bytes(s) <= KV_ROOM)
            return;
    s->sum.over_limit++;
}

static void open_company(stress *s)
{
    failure fail;
    int threads = (int)sysconf(_SC_NPROCESSORS_ONLN);
    stress_must(conductor_create(&s->conductor, threads < 4 ? threads : 4, &fail), &fail);
    for (int i = 0; i < MODELS; i++) {
        engine_options o = stress_options(i);
        o.slots = 3;
        o.parked = 2;
        o.queue_limit = 2;
        o.ageing_ms = 100;
        stress_must(conductor_add(s->conductor, s->models[i], &o, &s->engines[i], &fail), &fail);
    }
    conductor_limit_memory(s->conductor, s->models[SMALL]->weight_bytes +
                                             s->models[LARGE]->weight_bytes + KV_ROOM);
    stress_must(conductor_start(s->conductor, &fail), &fail);
}

static bool is_busy(const stress *s)
{
    for (size_t i = 0; i < s->n_streams; i++)
        if (atomic_load(&s->clients[i].sequence) != NULL)
            return true;
    return false;
}

/* Until so many requests have been asked and, at the very end, answered. */
static void run_company(stress *s, size_t until, progress *bar)
{
    while (s->sum.asked < until || (until == s->n_requests && is_busy(s))) {
        double now_ms = clock_ms();
        for (size_t i = 0; i < s->n_streams; i++) {
            client *c = &s->clients[i];
            if (atomic_load(&c->sequence) != NULL)
                look(s, c, now_ms);
            else if (s->sum.asked < until && now_ms >= c->next_ms)
                ask(s, c, now_ms);
        }
        check_limit(s);
        progress_show(bar, (double)s->sum.asked / (double)s->n_requests);
        wait_for_news(&news);
    }
}

typedef struct resident {
    size_t start, tenth, end; /* bytes */
    size_t tenth_kv;
} resident;

/* Called by the watch. What hangs cannot be freed. */
static void end_stalled(void *context)
{
    const stress *s = context;
    printf("%zu passed, %zu failed\n", s->sum.passed, s->sum.failed + 1);
    fflush(stdout);
    _exit(1);
}

/* What the solo runs have left goes back first. */
static resident keep_company(stress *s)
{
    progress bar;
    resident r;
    malloc_trim(0);
    open_company(s);
    watch *w = watch_start(s->clients, s->n_streams, s->engines, PATIENCE_S, end_stalled, s);
    progress_start(&bar, "stress");
    r.start = memory_resident_bytes();
    run_company(s, s->n_requests / 10, &bar);
    r.tenth = memory_resident_bytes();
    r.tenth_kv = kv_bytes(s);
    run_company(s, s->n_requests, &bar);
    r.end = memory_resident_bytes();
    progress_end(&bar);
    watch_end(w);
    return r;
}

/* ---- the report ----------------------------------------------------------------------------- */

static void print_totals(const stress *s)
{
    const totals *t = &s->sum;
    printf("asked %zu: %zu finished, %zu cancelled, %zu abandoned, %zu late; %zu times refused\n",
           t->asked, t->finished, t->cancelled, t->abandoned, t->late, t->refused);
    printf("%zu reply tokens; %zu drafted, %zu accepted; %zu prompt tokens from the prefix cache, "
           "%zu of them of conversations that go on\n",
           t->reply_tokens, t->drafted, t->accepted, t->cached_tokens, t->went_on_cached);
    engine_status status[MODELS];
    for (int i = 0; i < MODELS; i++)
        engine_read_status(s->engines[i], &status[i]);
    printf("parked %zu times, %zu tokens filled in again; %zu pauses for classifications\n",
           t->parked, t->refilled_tokens, status[SMALL].pauses + status[LARGE].pauses);
}

static size_t count_check(bool holds, const char *what)
{
    if (!holds)
        printf("FAILED: %s\n", what);
    return holds ? 0 : 1;
}

/* Failures that are no request's own. */
static size_t check_whole(const stress *s, const resident *r)
{
    const totals *t = &s->sum;
    size_t kv_room = KV_ROOM > r->tenth_kv ? KV_ROOM - r->tenth_kv : 0;
    size_t most = r->tenth + kv_room + GROWTH_ROOM;
    bool judged = !SANITIZED && s->n_requests >= WHOLE;
    printf("resident memory: %.1f MB at the start, %.1f after a tenth, %.1f at the end (%s%.1f)\n",
           (double)r->start / 1e6, (double)r->tenth / 1e6, (double)r->end / 1e6,
           judged ? "at most " : "not judged here; else at most ", (double)most / 1e6);
    size_t failed = count_check(!judged || r->end <= most, "resident memory has grown");
    failed += count_check(t->over_limit == 0, "KV was larger than its limit");
    if (s->n_requests < WHOLE)
        return failed;
    failed +=
        count_check(t->accepted > 0 && t->drafted > t->accepted, "no drafts, or no wrong ones");
    failed += count_check(t->went_on_cached > 0, "no conversation found its history");
    failed += count_check(t->parked > 0, "nothing was parked");
    failed += count_check(t->refilled_tokens > 0, "nothing gave up its KV");
    failed += count_check(t->cancelled > 0 && t->late > 0, "nothing was cancelled, or late");
    return failed;
}

/* ---- the program ---------------------------------------------------------------------------- */

static uint64_t argument(int argc, char **argv, int at, const char *name, uint64_t most,
                         uint64_t otherwise)
{
    failure fail;
    uint64_t value = otherwise;
    if (argc > at)
        stress_must(option_number(name, argv[at], 1, most, &value, &fail), &fail);
    return value;
}

static void load_models(stress *s)
{
    static const char *const paths[MODELS] = {"models/demo/small.gguf", "models/demo/large.gguf"};
    failure fail;
    stress_must(kernel_init(NULL, &fail), &fail);
    for (int i = 0; i < MODELS; i++)
        stress_must(
            model_load(&s->models[i], paths[i], &(model_options){.chat_template = "none"}, &fail),
            &fail);
}

static void free_all(stress *s)
{
    conductor_destroy(s->conductor);
    for (size_t i = 0; i < s->n_streams; i++)
        answer_free(&s->clients[i].got);
    for (size_t i = 0; i < s->n_questions; i++) {
        question_free(&s->questions[i]);
        answer_free(&s->answers[i]);
    }
    free(s->questions);
    free(s->answers);
    for (int i = 0; i < MODELS; i++)
        model_destroy(s->models[i]);
}

int main(int argc, char **argv)
{
    static stress s;
    s.n_requests = argument(argc, argv, 1, "REQUESTS", 1000000000, 300);
    s.seed = argument(argc, argv, 2, "SEED", UINT32_MAX, 1);
    s.n_streams = argument(argc, argv, 3, "STREAMS", STRESS_CLIENTS, 8);
    s.n_questions = s.n_requests / ASKED_AGAIN + 1;
    for (size_t i = 0; i < s.n_streams; i++)
        buffer_init(&s.clients[i].got.text, SIZE_MAX);
    setvbuf(stdout, NULL, _IOLBF, 0);
    load_models(&s);
    double start_ms = clock_ms();
    answer_all_alone(&s);
    double solo_ms = clock_ms();
    printf(
        "stress: %llu requests of %zu questions, seed %llu, %llu at once; solo runs took %.1f s\n",
        (unsigned long long)s.n_requests, s.n_questions, (unsigned long long)s.seed,
        (unsigned long long)s.n_streams, (solo_ms - start_ms) / 1e3);
    resident r = keep_company(&s);
    printf("company took %.1f s\n", (clock_ms() - solo_ms) / 1e3);
    print_totals(&s);
    size_t failed = s.sum.failed + check_whole(&s, &r);
    printf("%zu passed, %zu failed\n", s.sum.passed, failed);
    free_all(&s);
    return failed == 0 ? 0 : 1;
}
