/* metrics_process.c: the process, under the names of Prometheus's own client libraries. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/metrics_parts.h"

/* The fields of /proc/self/stat that are asked for (proc(5)); 0 where there is no such file. */
typedef struct process_status {
    double cpu_s, start_s; /* start: Unix seconds */
    double virtual_bytes, resident_bytes;
    double threads;
} process_status;

/* "btime N" of /proc/stat: when the machine began, Unix seconds. */
static double boot_time(void)
{
    char line[256];
    double seconds = 0;
    FILE *file = fopen("/proc/stat", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "btime %lf", &seconds) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return seconds;
}

static void read_status(process_status *out)
{
    char text[1024];
    memset(out, 0, sizeof *out);
    FILE *file = fopen("/proc/self/stat", "r");
    if (file == NULL)
        return;
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    unsigned long user, kernel, bytes;
    long threads, pages;
    unsigned long long start;
    const double ticks = (double)sysconf(_SC_CLK_TCK);
    if (at == NULL || sscanf(at + 1,
                             " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d "
                             "%*d %ld %*d %llu %lu %ld",
                             &user, &kernel, &threads, &start, &bytes, &pages) != 6)
        return;
    out->cpu_s = (double)(user + kernel) / ticks;
    out->start_s = boot_time() + (double)start / ticks;
    out->virtual_bytes = (double)bytes;
    out->resident_bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);
    out->threads = (double)threads;
}

static size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        n++;
    closedir(folder);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the folder's own */
}

void write_process(metrics_text *t)
{
    process_status status;
    struct rlimit limit;
    read_status(&status);
    put_plain(t, "process_cpu_seconds_total", "counter",
              "Total user and system CPU time spent in seconds.", status.cpu_s);
    put_plain(t, "process_resident_memory_bytes", "gauge", "Resident memory size in bytes.",
              status.resident_bytes);
    put_plain(t, "process_virtual_memory_bytes", "gauge", "Virtual memory size in bytes.",
              status.virtual_bytes);
    put_plain(t, "process_start_time_seconds", "gauge",
              "Start time of the process since unix epoch in seconds.", status.start_s);
    put_plain(t, "process_threads", "gauge", "Number of OS threads in the process.",
              status.threads);
    put_plain(t, "process_open_fds", "gauge", "Number of open file descriptors.",
              (double)count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        put_plain(t, "process_max_fds", "gauge", "Maximum number of open file descriptors.",
                  (double)limit.rlim_cur);
}
