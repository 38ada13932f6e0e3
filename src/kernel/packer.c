/* packer.c: jobs cut into pieces, and the threads that take them in order. */
#include "kernel/packer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* What one thread takes: about a huge page of packed weights, so that two threads rarely meet
     * in a new one, which both would clear. */
    PIECE_BYTES = 2 * 1024 * 1024,
    FETCH_BYTES = 256 * 1024,  /* at once: it stays in the second-level cache until it is packed */
    ALONE_BYTES = 1024 * 1024, /* in all; below, threads would cost more than they save */
    MAX_HELPERS = 31,
};

/* What a thread has fetched. */
typedef struct fetched {
    char *bytes;
    size_t room;
} fetched;

/* Bytes [at, end) of a job. */
typedef struct piece {
    size_t job;
    size_t at, end;
} piece;

struct packer {
    packer_fetch *fetch;
    void *fetch_context;
    packer_job *jobs;
    size_t n_jobs, jobs_room;
    size_t total_bytes;
    pthread_t helpers[MAX_HELPERS];
    size_t n_helpers;
    fetched own; /* of the caller's thread */
    pthread_mutex_t lock;
    pthread_cond_t idle; /* nobody packs */
    /* Guarded by lock: */
    piece next;         /* its job, and where in that the next one begins */
    size_t taken_bytes; /* of all jobs */
    size_t busy;        /* pieces being packed */
    bool stop;          /* no piece is taken any more */
    piece refused;      /* the first, in order, of which something was refused */
    failure why;        /* code OK: nothing was */
};

/* ---- jobs ------------------------------------------------------------------------------------ */

error_code packer_create(packer **out, packer_fetch *fetch, void *context, failure *fail)
{
    packer *p = calloc(1, sizeof *p);
    *out = p;
    if (p == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory for packing");
    p->fetch = fetch;
    p->fetch_context = context;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->idle, NULL);
    return OK;
}

static bool make_room(packer *p)
{
    if (p->n_jobs < p->jobs_room)
        return true;
    size_t room = p->jobs_room == 0 ? 8 : 2 * p->jobs_room;
    packer_job *grown = reallocarray(p->jobs, room, sizeof *grown);
    if (grown == NULL)
        return false;
    p->jobs = grown;
    p->jobs_room = room;
    return true;
}

error_code packer_add(packer *p, const packer_job *job, failure *fail)
{
    char *name = job->tensor != NULL ? strdup(job->tensor) : NULL;
    if (!make_room(p) || (name == NULL && job->tensor != NULL)) {
        free(name);
        return failure_set(fail, ERR_MEMORY, "no memory for packing");
    }
    p->jobs[p->n_jobs] = *job;
    p->jobs[p->n_jobs++].tensor = name;
    p->total_bytes += job->bytes;
    return OK;
}

static int compare_places(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const packer_job *)a)->data;
    uintptr_t y = (uintptr_t)((const packer_job *)b)->data;
    return (x > y) - (x < y);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* False: there is none. */
static bool take_piece(packer *p, piece *out)
{
    pthread_mutex_lock(&p->lock);
    bool found = !p->stop && p->next.job < p->n_jobs;
    if (found) {
        const packer_job *job = &p->jobs[p->next.job];
        size_t units = PIECE_BYTES / job->unit_bytes, left = job->bytes - p->next.at;
        size_t bytes = (units > 0 ? units : 1) * job->unit_bytes;
        *out = p->next;
        out->end = out->at + (bytes < left ? bytes : left);
        p->next.at = out->end;
        if (p->next.at == job->bytes)
            p->next = (piece){.job = p->next.job + 1};
        p->taken_bytes += out->end - out->at;
        p->busy++;
    }
    pthread_mutex_unlock(&p->lock);
    return found;
}

static bool comes_before(const piece *a, const piece *b)
{
    return a->job < b->job || (a->job == b->job && a->at < b->at);
}

/* Nothing was refused with code OK. */
static void leave_piece(packer *p, const piece *done, const failure *why)
{
    pthread_mutex_lock(&p->lock);
    if (why->code != OK && (p->why.code == OK || comes_before(done, &p->refused))) {
        p->refused = *done;
        p->why = *why;
        p->stop = true; /* whatever comes before has been taken by somebody */
    }
    if (--p->busy == 0)
        pthread_cond_signal(&p->idle);
    pthread_mutex_unlock(&p->lock);
}

/* Where the bytes are: NULL when they could not be fetched. */
static const void *fetch_bytes(const packer *p, fetched *f, const void *from, size_t bytes,
                               failure *why)
{
    if (p->fetch == NULL)
        return from;
    if (bytes > f->room) {
        free(f->bytes);
        f->bytes = malloc(bytes);
        f->room = f->bytes == NULL ? 0 : bytes;
    }
    if (f->bytes == NULL)
        failure_set(why, ERR_MEMORY, "no memory for %zu bytes of weights", bytes);
    else if (p->fetch(p->fetch_context, from, f->bytes, bytes, why) == OK)
        return f->bytes;
    return NULL;
}

static void check_numbers(const packer_job *job, const void *data, size_t at, size_t bytes,
                          failure *why)
{
    size_t n = bytes / job->type->block_bytes, finite = tensor_finite_blocks(job->type, data, n);
    if (finite < n)
        failure_set(why, ERR_FORMAT, "block %zu is not a number: NaN or infinite",
                    job->first_block + at / job->type->block_bytes + finite);
}

static void pack_piece(packer *p, fetched *f, const piece *whole)
{
    const packer_job *job = &p->jobs[whole->job];
    size_t units = FETCH_BYTES / job->unit_bytes;
    size_t step = (units > 0 ? units : 1) * job->unit_bytes;
    failure why = {.code = OK};
    for (size_t at = whole->at; why.code == OK && at < whole->end; at += step) {
        size_t n = whole->end - at < step ? whole->end - at : step;
        const void *data = fetch_bytes(p, f, (const char *)job->data + at, n, &why);
        if (data != NULL)
            check_numbers(job, data, at, n, &why);
        if (why.code == OK)
            job->use(job, data, at, n);
    }
    if (why.code != OK && job->tensor != NULL)
        failure_prefix(&why, "tensor '%s'", job->tensor);
    leave_piece(p, whole, &why);
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *help_to_the_end(void *context)
{
    packer *p = context;
    fetched f = {NULL, 0};
    piece next;
    while (take_piece(p, &next))
        pack_piece(p, &f, &next);
    free(f.bytes);
    return NULL;
}

/* What a thread that cannot be made would have done, the others do. */
void packer_start(packer *p)
{
    size_t n = p->total_bytes < ALONE_BYTES ? 0 : (size_t)team_default_size() - 1;
    n = n < MAX_HELPERS ? n : MAX_HELPERS;
    if (p->fetch != NULL && p->n_jobs > 0)
        qsort(p->jobs, p->n_jobs, sizeof *p->jobs, compare_places);
    while (p->n_helpers < n &&
           pthread_create(&p->helpers[p->n_helpers], NULL, help_to_the_end, p) == 0)
        p->n_helpers++;
}

bool packer_help(packer *p)
{
    piece next;
    if (!take_piece(p, &next))
        return false;
    pack_piece(p, &p->own, &next);
    return true;
}

double packer_progress(packer *p)
{
    pthread_mutex_lock(&p->lock);
    size_t taken = p->taken_bytes;
    pthread_mutex_unlock(&p->lock);
    return p->total_bytes > 0 ? (double)taken / (double)p->total_bytes : 1;
}

error_code packer_finish(packer *p, failure *fail)
{
    while (packer_help(p))
        continue;
    pthread_mutex_lock(&p->lock);
    while (p->busy > 0)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
    return p->why.code == OK ? OK : failure_set(fail, p->why.code, "%s", p->why.text);
}

void packer_destroy(packer *p)
{
    if (p == NULL)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->n_helpers; i++)
        pthread_join(p->helpers[i], NULL);
    for (size_t i = 0; i < p->n_jobs; i++)
        free((char *)(uintptr_t)p->jobs[i].tensor);
    free(p->jobs);
    free(p->own.bytes);
    pthread_cond_destroy(&p->idle);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
