/*
 * faults.c: a library to be preloaded: the calls of one kind that a program makes fail, the
 * FAULT_FROM-th alone or (FAULT_ALL=1) it and all that follow. FAULT_CALL names the kind. Whether
 * one fails or not, their number is left in the file FAULT_COUNT, so that a run without FAULT_FROM
 * says how many there are.
 *
 * Only calls of the program itself are seen, not what the C library calls within itself.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../shared_count.h"

static const char *kind;
static long from; /* 0: none fails */
static bool all;
static atomic_long *count; /* in a file, so that it is there however the program ends */

__attribute__((constructor)) static void begin(void)
{
    const char *first = getenv("FAULT_FROM");
    count = shared_count("FAULT_COUNT");
    from = first != NULL ? atol(first) : 0;
    all = getenv("FAULT_ALL") != NULL;
    kind = getenv("FAULT_CALL");
}

/* One call of that kind: shall it fail? */
static bool fails(const char *name, int error)
{
    if (kind == NULL || strcmp(kind, name) != 0)
        return false;
    long now = atomic_fetch_add(count, 1) + 1;
    bool failed = from > 0 && (now == from || (now > from && all));
    if (failed)
        errno = error;
    return failed;
}

/* The C library's own. */
#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* ---- memory ---------------------------------------------------------------------------------- */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size)
{
    return fails("memory", ENOMEM) ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails("memory", ENOMEM) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails("memory", ENOMEM) ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails("memory", ENOMEM) ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    void *made = fails("memory", ENOMEM) ? NULL : __libc_memalign(alignment, size);
    if (made == NULL)
        return ENOMEM;
    *out = made;
    return 0;
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    return fails("mmap", ENOMEM) ? MAP_FAILED
                                 : NEXT(mmap)(at, length, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, length, protection, flags, fd, offset);
}

int madvise(void *at, size_t length, int advice)
{
    return fails("madvise", ENOMEM) ? -1 : NEXT(madvise)(at, length, advice);
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*call)(void *),
                   void *context)
{
    return fails("thread", EAGAIN) ? EAGAIN : NEXT(pthread_create)(out, attributes, call, context);
}

/* ---- counters between threads, whose reads and writes the system does not refuse ------------- */

#define MOST_FDS 4096

static atomic_bool is_counter[MOST_FDS];

int eventfd(unsigned value, int flags)
{
    int fd = fails("eventfd", EMFILE) ? -1 : NEXT(eventfd)(value, flags);
    if (fd >= 0 && fd < MOST_FDS)
        atomic_store(&is_counter[fd], true);
    return fd;
}

int close(int fd)
{
    if (fd >= 0 && fd < MOST_FDS)
        atomic_store(&is_counter[fd], false);
    return NEXT(close)(fd);
}

static bool fails_on(int fd, const char *name, int error)
{
    bool is_safe = fd >= 0 && fd < MOST_FDS && atomic_load(&is_counter[fd]);
    return !is_safe && fails(name, error);
}

/* ---- files ----------------------------------------------------------------------------------- */

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return fails("open", EMFILE) ? -1 : NEXT(open)(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open(path, flags, mode);
}

FILE *fopen(const char *path, const char *mode)
{
    return fails("open", EMFILE) ? NULL : NEXT(fopen)(path, mode);
}

FILE *fopen64(const char *path, const char *mode)
{
    return fopen(path, mode);
}

ssize_t read(int fd, void *into, size_t size)
{
    return fails_on(fd, "read", EIO) ? -1 : NEXT(read)(fd, into, size);
}

ssize_t __read_chk(int fd, void *into, size_t size, size_t room)
{
    if (size > room)
        abort();
    return read(fd, into, size);
}

ssize_t pread(int fd, void *into, size_t size, off_t at)
{
    return fails("read", EIO) ? -1 : NEXT(pread)(fd, into, size, at);
}

size_t fread(void *into, size_t size, size_t n, FILE *file)
{
    return fails("read", EIO) ? 0 : NEXT(fread)(into, size, n, file);
}

ssize_t write(int fd, const void *from_here, size_t size)
{
    return fails_on(fd, "write", ENOSPC) ? -1 : NEXT(write)(fd, from_here, size);
}

size_t fwrite(const void *from_here, size_t size, size_t n, FILE *file)
{
    return fails("write", ENOSPC) ? 0 : NEXT(fwrite)(from_here, size, n, file);
}

int fsync(int fd)
{
    return fails("sync", EIO) ? -1 : NEXT(fsync)(fd);
}

int rename(const char *old, const char *new)
{
    return fails("rename", EACCES) ? -1 : NEXT(rename)(old, new);
}

int fstat(int fd, struct stat *out)
{
    return fails("stat", EIO) ? -1 : NEXT(fstat)(fd, out);
}

int stat(const char *path, struct stat *out)
{
    return fails("stat", EACCES) ? -1 : NEXT(stat)(path, out);
}

/* ---- sockets --------------------------------------------------------------------------------- */

int socket(int domain, int type, int protocol)
{
    return fails("socket", EMFILE) ? -1 : NEXT(socket)(domain, type, protocol);
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
    return fails("bind", EADDRINUSE) ? -1 : NEXT(bind)(fd, address, length);
}

int listen(int fd, int backlog)
{
    return fails("listen", EADDRINUSE) ? -1 : NEXT(listen)(fd, backlog);
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return fails("accept", EMFILE) ? -1 : NEXT(accept4)(fd, address, length, flags);
}

ssize_t recv(int fd, void *into, size_t size, int flags)
{
    return fails("receive", ECONNRESET) ? -1 : NEXT(recv)(fd, into, size, flags);
}

ssize_t __recv_chk(int fd, void *into, size_t size, size_t room, int flags)
{
    if (size > room)
        abort();
    return recv(fd, into, size, flags);
}

ssize_t send(int fd, const void *from_here, size_t size, int flags)
{
    return fails("send", EPIPE) ? -1 : NEXT(send)(fd, from_here, size, flags);
}

int epoll_create1(int flags)
{
    return fails("epoll", EMFILE) ? -1 : NEXT(epoll_create1)(flags);
}

int epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event)
{
    return fails("epoll", ENOMEM) ? -1 : NEXT(epoll_ctl)(epoll_fd, operation, fd, event);
}

int epoll_wait(int epoll_fd, struct epoll_event *events, int most, int within_ms)
{
    return fails("epoll_wait", EINTR) ? -1 : NEXT(epoll_wait)(epoll_fd, events, most, within_ms);
}
