/* log.c: a line a message, written whole, so that threads do not mix theirs. */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static atomic_int current_level = LOG_INFO;

void log_set_level(log_level level)
{
    atomic_store(&current_level, (int)level);
}

bool log_level_parse(const char *name, log_level *level)
{
    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (log_level)i;
            return true;
        }
    }
    return false;
}

void log_write(log_level level, const char *format, ...)
{
    if ((int)level > atomic_load(&current_level))
        return;
    char line[1024];
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &parts);
    int n = snprintf(line + used, sizeof line - used, ".%03ldZ %-5s ", now.tv_nsec / 1000000,
                     level_names[level]);
    used += n > 0 ? (size_t)n : 0;
    va_list args;
    va_start(args, format);
    vsnprintf(line + used, sizeof line - used - 1, format, args);
    va_end(args);
    strcat(line, "\n");
    fputs(line, stderr); /* one write: lines of two threads never mix */
}
