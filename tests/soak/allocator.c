/* Preloaded into a server under soak: what glibc's allocator has given out, written every five
 * seconds to the file that ALLOCATOR_FILE names, as "in-use mapped free" in bytes. What is in use
 * grows only where something is kept; resident memory moves with holes and caches, too. */
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *path;

static void *watch(void *unused)
{
    for (;;) {
        const struct mallinfo2 m = mallinfo2();
        char line[96];
        const int n =
            snprintf(line, sizeof line, "%20zu %20zu %20zu\n", m.uordblks, m.hblkhd, m.fordblks);
        const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (file >= 0) {
            if (pwrite(file, line, (size_t)n, 0) != n)
                perror(path);
            close(file);
        }
        sleep(5);
    }
    return unused;
}

/* The program's signals are not this thread's. */
__attribute__((constructor)) static void begin(void)
{
    path = getenv("ALLOCATOR_FILE");
    sigset_t all, before;
    pthread_t thread;
    if (path == NULL || sigfillset(&all) != 0)
        return;
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, watch, NULL) == 0)
        pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
