/*
 * house.h: where backends come from: one house for each kind of backend that a configuration asks
 * for, which loads, keeps and ends what its backends share (threads, memory, connections).
 */
#ifndef BACKEND_HOUSE_H
#define BACKEND_HOUSE_H

#include <sys/epoll.h>

#include "backend/backend.h"
#include "backend/machine.h"
#include "config/config.h"

typedef struct backend_house backend_house;

/* What all models of a configuration share. */
typedef struct house_setting {
    const config_engine *engine;
    const machine_record *machine; /* what steps cost on engine->machine's machine; NULL: unknown */
} house_setting;

/* Tells how far a model is loaded; `call` may be NULL. */
typedef struct house_progress {
    void (*call)(void *context, const char *model, double fraction);
    void *context;
} house_progress;

/* A kind of house. */
typedef struct house_kind {
    bool (*takes)(const config_model *m);
    error_code (*open)(backend_house **out, const house_setting *setting, failure *fail);
    /* The config's model must outlive the backend, which is destroyed before the house is closed.
     */
    error_code (*add)(backend_house *h, const config_model *m, const house_progress *progress,
                      backend **out, failure *fail);
    /* Once, after all models were added. */
    error_code (*start)(backend_house *h, failure *fail);
    void (*close)(backend_house *h);
    /* All NULL: its threads do its work. Else the caller's may, see backend_houses_adopt. */
    error_code (*adopt)(backend_house *h, const int *epolls, size_t n, failure *fail);
    void (*note)(backend_house *h, size_t lane, const struct epoll_event *event);
    double (*turn)(backend_house *h, size_t lane);
} house_kind;

/* What a house begins with, whatever its kind. */
struct backend_house {
    const house_kind *kind;
    double read_peak; /* the most bytes a second that its memory gives; 0: not measured */
};

/* NULL ends them. */
extern const house_kind *const house_kinds[];
extern const house_kind local_house;   /* models in this process */
extern const house_kind remote_models; /* at other servers */

/* Of a model in this process. */
kv_type house_kv_type(const config_model *m);

#define MAX_HOUSES 4

/* The houses that are open, at most one of a kind; start from {0}. */
typedef struct backend_houses {
    backend_house *open[MAX_HOUSES];
    size_t n;
} backend_houses;

/* A backend for the model, by the first of the kinds that takes it. */
error_code backend_houses_add(backend_houses *h, const house_kind *const *kinds,
                              const house_setting *setting, const config_model *m,
                              const house_progress *progress, backend **out, failure *fail);
double backend_houses_read_peak(const backend_houses *h); /* bytes a second; 0: not measured */
error_code backend_houses_start(backend_houses *h, failure *fail);
void backend_houses_close(backend_houses *h);

#define HOUSE_MOST_LANES 32

/* For who has threads that wait for descriptors: from now on they do the work of what only waits
 * for other servers, so that a request passes from thread to thread no more. Each has a lane, from
 * 0 to n - 1, with connections of its own and those requests that name it (request.lane). What a
 * lane waits for is in its epoll from now on, which may be closed at any time; its data are odd
 * numbers. Once, after backend_houses_start and before there is a request; n <= HOUSE_MOST_LANES.
 */
error_code backend_houses_adopt(backend_houses *h, const int *epolls, size_t n, failure *fail);
/* By that thread: what came with such data. */
void backend_houses_note(backend_houses *h, size_t lane, const struct epoll_event *event);
/* By that thread, before each of its waits. Does what there is to do, and returns after how many
 * milliseconds it wants to be called at the latest; INFINITY: there is nothing. */
double backend_houses_turn(backend_houses *h, size_t lane);

#endif
