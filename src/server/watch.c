#include "server/watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"

#define EVENTS_A_WAIT 64
#define NO_FD UINT32_MAX

typedef struct entry {
    watch_call call; /* NULL: free */
    void *context;
    uint32_t generation; /* tells an event of an earlier owner of the descriptor from one of this */
    double next_tick_ms;
} entry;

struct watch {
    int epoll_fd;
    int wake_fd; /* the thread sleeps without a limit while nothing is watched */
    pthread_t thread;
    atomic_bool stop;
    pthread_mutex_t lock; /* guards what follows; held while callbacks run */
    entry *entries;       /* by descriptor */
    size_t n_entries;
    size_t n_used;
};

static uint64_t event_key(int fd, uint32_t generation)
{
    return (uint64_t)generation << 32 | (uint32_t)fd;
}

static void tell_gone(watch *w, uint64_t key)
{
    uint32_t fd = (uint32_t)key;
    pthread_mutex_lock(&w->lock);
    if (fd < w->n_entries) {
        entry *e = &w->entries[fd];
        if (e->call != NULL && e->generation == (uint32_t)(key >> 32))
            e->call(e->context, WATCH_GONE);
    }
    pthread_mutex_unlock(&w->lock);
}

/* Tells what is due; returns how long to sleep, -1 when nothing is watched. */
static int tell_ticks(watch *w)
{
    pthread_mutex_lock(&w->lock);
    double now = clock_ms();
    double next = now + WATCH_TICK_MS;
    for (size_t fd = 0; w->n_used > 0 && fd < w->n_entries; fd++) {
        entry *e = &w->entries[fd];
        if (e->call == NULL)
            continue;
        if (e->next_tick_ms <= now) {
            e->next_tick_ms = now + WATCH_TICK_MS;
            e->call(e->context, WATCH_TICK);
        }
        if (e->next_tick_ms < next)
            next = e->next_tick_ms;
    }
    int timeout = w->n_used > 0 ? (int)(next - now) + 1 : -1;
    pthread_mutex_unlock(&w->lock);
    return timeout;
}

static void *watch_thread(void *context)
{
    watch *w = context;
    struct epoll_event events[EVENTS_A_WAIT];
    while (!atomic_load(&w->stop)) {
        int n = epoll_wait(w->epoll_fd, events, EVENTS_A_WAIT, tell_ticks(w));
        for (int i = 0; i < n; i++) {
            if ((uint32_t)events[i].data.u64 == NO_FD) {
                uint64_t count;
                if (read(w->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
                    return NULL;
            } else {
                tell_gone(w, events[i].data.u64);
            }
        }
    }
    return NULL;
}

static void wake_thread(watch *w)
{
    uint64_t one = 1;
    if (write(w->wake_fd, &one, sizeof one) < 0) {
        /* The counter is full: the thread has been woken already. */
    }
}

static error_code watch_open(watch *w, failure *fail)
{
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = NO_FD};
    if (w->epoll_fd < 0 || w->wake_fd < 0 ||
        epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, w->wake_fd, &event) != 0)
        return failure_set(fail, ERR_IO, "cannot watch connections: %s", strerror(errno));
    int error = pthread_create(&w->thread, NULL, watch_thread, w);
    if (error != 0)
        return failure_set(fail, ERR_IO, "cannot start the thread that watches connections: %s",
                           strerror(error));
    return OK;
}

static void watch_close(watch *w)
{
    if (w->epoll_fd >= 0)
        close(w->epoll_fd);
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    pthread_mutex_destroy(&w->lock);
    free(w->entries);
    free(w);
}

error_code watch_create(watch **out, failure *fail)
{
    watch *w = calloc(1, sizeof *w);
    if (w == NULL)
        return failure_set(fail, ERR_MEMORY, "no memory to watch connections");
    w->epoll_fd = w->wake_fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    error_code code = watch_open(w, fail);
    if (code != OK) {
        watch_close(w);
        return code;
    }
    *out = w;
    return OK;
}

void watch_destroy(watch *w)
{
    if (w == NULL)
        return;
    atomic_store(&w->stop, true);
    wake_thread(w);
    pthread_join(w->thread, NULL);
    watch_close(w);
}

static error_code make_room(watch *w, size_t fd)
{
    if (fd < w->n_entries)
        return OK;
    size_t n = w->n_entries < 64 ? 64 : w->n_entries;
    while (n <= fd)
        n *= 2;
    entry *entries = realloc(w->entries, n * sizeof *entries);
    if (entries == NULL)
        return ERR_MEMORY;
    memset(entries + w->n_entries, 0, (n - w->n_entries) * sizeof *entries);
    w->entries = entries;
    w->n_entries = n;
    return OK;
}

error_code watch_add(watch *w, int fd, watch_call call, void *context, failure *fail)
{
    pthread_mutex_lock(&w->lock);
    error_code code = make_room(w, (size_t)fd);
    if (code != OK) {
        pthread_mutex_unlock(&w->lock);
        return failure_set(fail, code, "no memory to watch a connection");
    }
    entry *e = &w->entries[fd];
    *e = (entry){call, context, e->generation + 1, clock_ms() + WATCH_TICK_MS};
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLONESHOT,
                                .data.u64 = event_key(fd, e->generation)};
    bool was_idle = w->n_used == 0;
    if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0) {
        w->n_used++;
    } else {
        e->call = NULL;
        code = failure_set(fail, ERR_IO, "cannot watch a connection: %s", strerror(errno));
    }
    pthread_mutex_unlock(&w->lock);
    if (was_idle)
        wake_thread(w);
    return code;
}

void watch_remove(watch *w, int fd)
{
    pthread_mutex_lock(&w->lock);
    if (fd >= 0 && (size_t)fd < w->n_entries && w->entries[fd].call != NULL) {
        w->entries[fd].call = NULL;
        w->n_used--;
        epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    }
    pthread_mutex_unlock(&w->lock);
}
