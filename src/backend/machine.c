/* machine.c: which machine this is, and a record's figures for a model. */
#include "backend/machine.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

const machine_model *machine_find(const machine_record *r, const model *m, kv_type kv)
{
    char fingerprint[17];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, m->fingerprint);
    for (size_t i = 0; i < r->n_models; i++)
        if (strcmp(r->models[i].fingerprint, fingerprint) == 0 && r->models[i].kv == kv)
            return &r->models[i];
    return NULL;
}

void machine_cpu_name(char text[128])
{
    char line[256];
    snprintf(text, 128, "unknown");
    FILE *file = fopen("/proc/cpuinfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || colon == NULL)
            continue;
        snprintf(text, 128, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
}

bool machine_is_this(const machine_record *r, size_t threads, const char *file)
{
    char cpu[128];
    machine_cpu_name(cpu);
    if (strcmp(cpu, r->cpu) == 0 && strcmp(kernel_name(), r->kernel) == 0 && threads == r->threads)
        return true;
    log_warn("%s is of another machine (%s, kernel %s, %zu threads; this one: %s, kernel %s, %zu "
             "threads): steps are measured now",
             file, r->cpu, r->kernel, r->threads, cpu, kernel_name(), threads);
    return false;
}
