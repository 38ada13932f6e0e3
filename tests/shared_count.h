/* shared_count.h: a counter in a file, for libraries that are loaded before a program: it is there
 * however the program ends. */
#ifndef TESTS_SHARED_COUNT_H
#define TESTS_SHARED_COUNT_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of the file that the environment's `variable` names, or one of this process alone. */
static inline atomic_long *shared_count(const char *variable)
{
    static atomic_long lost;
    const char *path = getenv(variable);
    int fd = path != NULL ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    void *shared = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof lost) == 0)
        shared = mmap(NULL, sizeof lost, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    return shared != MAP_FAILED ? shared : &lost;
}

#endif
