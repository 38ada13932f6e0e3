/* memory.c: what the process holds, and what is left, as Linux tells it in /proc. */
#include "measure/measure.h"

#include <stdio.h>
#include <string.h>

static size_t field_bytes(const char *path, const char *field)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    char line[128];
    unsigned long long kib = 0;
    size_t length = strlen(field);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, field, length) == 0 && sscanf(line + length, ": %llu kB", &kib) == 1)
            break;
    fclose(file);
    return (size_t)kib * 1024;
}

size_t memory_resident_bytes(void)
{
    return field_bytes("/proc/self/status", "VmRSS");
}

size_t memory_peak_bytes(void)
{
    return field_bytes("/proc/self/status", "VmHWM");
}

bool memory_peak_reset(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "we");
    if (file == NULL)
        return false;
    bool written = fputs("5", file) >= 0; /* proc(5): resets VmHWM */
    return fclose(file) == 0 && written;
}

size_t memory_available_bytes(void)
{
    return field_bytes("/proc/meminfo", "MemAvailable");
}
