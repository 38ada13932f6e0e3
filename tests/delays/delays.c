/*
 * delays.c: a library to be preloaded: some calls of a-io (and of C tests) that make an order
 * visible to others, or decide one, take 1 to 40 ms longer, before they are made or after, so that
 * what happens once in a thousand runs on a busy machine happens in one. DELAY_SEED says which; the
 * same seed draws the same for a thread's n-th call. DELAY_CALL: calls of that kind alone. In the
 * file DELAY_COUNT the delays of all processes are counted.
 *
 * A thread is delayed for at most half of its life (SHARE), however many calls it makes. Only calls
 * of the program and its libraries are seen, not what the C library calls within itself; futexes of
 * the kernels' threads are left alone.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../shared_count.h"

#define MOST_MS 40
#define SHARE 0.5
#define SAVED_NS 200e6 /* of a thread that waited for long, at most */

/* How many of a thousand calls are delayed before, and how many after: the rarer a kind, the more.
 */
enum { OFTEN = 200, SELDOM = 50, RARELY = 5 };

static bool is_on;
static uint64_t seed;
static const char *only; /* NULL: every kind */
static atomic_long *count;

static atomic_uint threads;
static __thread struct {
    uint64_t random; /* 0: not begun */
    double saved_ns, at_ns;
} own;

__attribute__((constructor)) static void begin(void)
{
    const char *text = getenv("DELAY_SEED");
    const char *name = program_invocation_short_name;
    bool is_ours = strcmp(name, "a-io") == 0 || strncmp(name, "test_", 5) == 0;
    if (text == NULL || !is_ours)
        return;
    count = shared_count("DELAY_COUNT");
    seed = strtoull(text, NULL, 10);
    only = getenv("DELAY_CALL");
    is_on = true;
}

/* ---- when, and for how long ------------------------------------------------------------------ */

/* splitmix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Takes it from what the thread has saved; false: it has too little. */
static bool affords(double ns)
{
    double now = now_ns();
    double saved = own.saved_ns + SHARE * (now - own.at_ns);
    own.saved_ns = saved < SAVED_NS ? saved : SAVED_NS;
    own.at_ns = now;
    if (own.saved_ns < ns)
        return false;
    own.saved_ns -= ns;
    return true;
}

/* One place before or after a call of that kind. */
static void delay(const char *name, unsigned of_thousand)
{
    if (!is_on || (only != NULL && strcmp(only, name) != 0))
        return;
    if (own.random == 0) {
        uint64_t number = atomic_fetch_add(&threads, 1) + 1;
        own.random = (seed << 20 | number) * 0x9e3779b97f4a7c15 | 1;
        own.saved_ns = SAVED_NS;
        own.at_ns = now_ns();
    }
    uint64_t drawn = draw(&own.random);
    if (drawn % 1000 >= of_thousand)
        return;
    long ns = (long)(1 + (drawn >> 32) % MOST_MS) * 1000000;
    if (!affords((double)ns))
        return;
    int error = errno;
    atomic_fetch_add(count, 1);
    nanosleep(&(struct timespec){0, ns}, NULL);
    errno = error;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* The C library's own. Of several versions of one name dlsym may find the oldest, with which the
 * newer ones' conditions do not work. */
static void *next(const char *name)
{
    void *found =
        strncmp(name, "pthread_cond_", 13) == 0 ? dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2") : NULL;
    return found != NULL ? found : dlsym(RTLD_NEXT, name);
}

/* A call with a delay before it and one after. */
#define DELAYED(type, name, of_thousand, parameters, arguments)                                    \
    type name parameters                                                                           \
    {                                                                                              \
        static __typeof__(&name) real;                                                             \
        if (real == NULL)                                                                          \
            real = (__typeof__(&name))next(#name);                                                 \
        delay(#name, of_thousand);                                                                 \
        type made = real arguments;                                                                \
        delay(#name, of_thousand);                                                                 \
        return made;                                                                               \
    }

DELAYED(ssize_t, write, SELDOM, (int fd, const void *from, size_t size), (fd, from, size))
DELAYED(ssize_t, writev, SELDOM, (int fd, const struct iovec *from, int n), (fd, from, n))
DELAYED(ssize_t, send, SELDOM, (int fd, const void *from, size_t size, int flags),
        (fd, from, size, flags))
DELAYED(ssize_t, sendmsg, SELDOM, (int fd, const struct msghdr *message, int flags),
        (fd, message, flags))
DELAYED(ssize_t, read, SELDOM, (int fd, void *into, size_t size), (fd, into, size))
DELAYED(ssize_t, recv, SELDOM, (int fd, void *into, size_t size, int flags),
        (fd, into, size, flags))
DELAYED(int, accept4, OFTEN, (int fd, struct sockaddr *address, socklen_t *length, int flags),
        (fd, address, length, flags))
DELAYED(int, shutdown, OFTEN, (int fd, int how), (fd, how))
DELAYED(int, close, SELDOM, (int fd), (fd))
DELAYED(int, epoll_wait, SELDOM, (int fd, struct epoll_event *events, int most, int within_ms),
        (fd, events, most, within_ms))
DELAYED(int, poll, SELDOM, (struct pollfd * fds, nfds_t n, int within_ms), (fds, n, within_ms))
DELAYED(int, rename, OFTEN, (const char *old, const char *new), (old, new))
DELAYED(int, unlink, OFTEN, (const char *path), (path))
DELAYED(int, fsync, OFTEN, (int fd), (fd))
DELAYED(int, fclose, OFTEN, (FILE * file), (file))
DELAYED(int, fflush, OFTEN, (FILE * file), (file))
DELAYED(int, kill, OFTEN, (pid_t process, int number), (process, number))
DELAYED(pid_t, waitpid, OFTEN, (pid_t process, int *status, int options),
        (process, status, options))

DELAYED(int, pthread_mutex_lock, RARELY, (pthread_mutex_t * mutex), (mutex))
DELAYED(int, pthread_mutex_unlock, RARELY, (pthread_mutex_t * mutex), (mutex))
DELAYED(int, pthread_cond_signal, SELDOM, (pthread_cond_t * condition), (condition))
DELAYED(int, pthread_cond_broadcast, SELDOM, (pthread_cond_t * condition), (condition))
DELAYED(int, pthread_cond_wait, SELDOM, (pthread_cond_t * condition, pthread_mutex_t *mutex),
        (condition, mutex))
DELAYED(int, pthread_join, OFTEN, (pthread_t thread, void **out), (thread, out))

/* As a fortified build calls them. */
DELAYED(ssize_t, __read_chk, SELDOM, (int fd, void *into, size_t size, size_t room),
        (fd, into, size, room))
DELAYED(ssize_t, __recv_chk, SELDOM, (int fd, void *into, size_t size, size_t room, int flags),
        (fd, into, size, room, flags))

/* ---- lines of the log ------------------------------------------------------------------------ */

#define LINE(file) ((file) == stderr ? OFTEN : 0)

DELAYED(int, fputs, LINE(file), (const char *text, FILE *file), (text, file))
DELAYED(size_t, fwrite, LINE(file), (const void *from, size_t size, size_t n, FILE *file),
        (from, size, n, file))

/* ---- threads, which begin late --------------------------------------------------------------- */

struct beginning {
    void *(*call)(void *);
    void *context;
};

static void *begin_late(void *given)
{
    struct beginning it = *(struct beginning *)given;
    free(given);
    delay("pthread_create", OFTEN);
    return it.call(it.context);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*call)(void *),
                   void *context)
{
    static __typeof__(&pthread_create) real;
    if (real == NULL)
        real = (__typeof__(&pthread_create))next("pthread_create");
    struct beginning *it = malloc(sizeof *it);
    if (it == NULL)
        return EAGAIN;
    *it = (struct beginning){call, context};
    int error = real(out, attributes, begin_late, it);
    if (error != 0)
        free(it);
    delay("pthread_create", OFTEN);
    return error;
}
