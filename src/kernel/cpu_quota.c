/* cpu_quota.c: the control groups above this process, found by its own mount table. */
#include "kernel/cpu_quota.h"

#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The hierarchy that limits CPU time: version 2 has one for everything. */
typedef struct hierarchy {
    bool is_v2;
    char mount[PATH_MAX]; /* where its files are */
    char top[PATH_MAX];   /* the group that is there: a container may see a part only */
} hierarchy;

/* Whether `name` is one of the names in a list with commas. */
static bool is_listed(const char *list, const char *name)
{
    size_t length = strlen(name);
    for (; *list != '\0'; list += strcspn(list, ","), list += *list == ',' ? 1 : 0)
        if (strcspn(list, ",\n") == length && strncmp(list, name, length) == 0)
            return true;
    return false;
}

/* "36 35 98:0 /top /mount options … - cgroup source rw,cpu,cpuacct" (proc(5)) */
static bool read_mount(const char *line, bool is_v2, hierarchy *h)
{
    char type[32], options[512];
    const char *rest = strstr(line, " - ");
    h->is_v2 = is_v2;
    return rest != NULL && sscanf(rest, " - %31s %*s %511s", type, options) == 2 &&
           strcmp(type, is_v2 ? "cgroup2" : "cgroup") == 0 &&
           (is_v2 || is_listed(options, "cpu")) &&
           sscanf(line, "%*s %*s %*s %4095s %4095s", h->top, h->mount) == 2;
}

static FILE *open_under(const char *root, const char *folder, const char *name)
{
    char path[2 * PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s/%s", root, folder, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

static bool find_mount(const char *root, bool is_v2, hierarchy *h)
{
    FILE *file = open_under(root, "/proc/self", "mountinfo");
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (file != NULL && !found && getline(&line, &capacity, file) > 0)
        found = read_mount(line, is_v2, h);
    free(line);
    if (file != NULL)
        fclose(file);
    return found;
}

/* "4:cpu,cpuacct:/group", or "0::/group" in version 2 (cgroups(7)) */
static bool read_group(const char *line, bool is_v2, char group[PATH_MAX])
{
    const char *names = strchr(line, ':');
    const char *path = names != NULL ? strchr(names + 1, ':') : NULL;
    char list[512] = "";
    if (path == NULL || (size_t)(path - names) > sizeof list)
        return false;
    memcpy(list, names + 1, (size_t)(path - names) - 1);
    if (is_v2 ? list[0] != '\0' : !is_listed(list, "cpu"))
        return false;
    return sscanf(path + 1, "%4095[^\n]", group) == 1;
}

static bool find_group(const char *root, bool is_v2, char group[PATH_MAX])
{
    FILE *file = open_under(root, "/proc/self", "cgroup");
    char *line = NULL;
    size_t capacity = 0;
    bool found = false;
    while (file != NULL && !found && getline(&line, &capacity, file) > 0)
        found = read_group(line, is_v2, group);
    free(line);
    if (file != NULL)
        fclose(file);
    return found;
}

static bool read_number(const char *root, const char *folder, const char *name, double *out)
{
    FILE *file = open_under(root, folder, name);
    bool right = file != NULL && fscanf(file, "%lf", out) == 1;
    if (file != NULL)
        fclose(file);
    return right;
}

/* Microseconds of CPU time in a period of so many: "150000 100000", "max 100000"; in version 1 two
 * files, of which the first says -1 for no limit. */
static double quota_of(const char *root, const char *folder, bool is_v2)
{
    double quota = -1, period = 0;
    if (is_v2) {
        FILE *file = open_under(root, folder, "cpu.max");
        if (file == NULL || fscanf(file, "%lf %lf", &quota, &period) != 2)
            quota = -1;
        if (file != NULL)
            fclose(file);
    } else if (!read_number(root, folder, "cpu.cfs_quota_us", &quota) ||
               !read_number(root, folder, "cpu.cfs_period_us", &period)) {
        quota = -1;
    }
    return quota > 0 && period > 0 ? quota / period : INFINITY;
}

/* Of the group and of all above it up to the top that is seen. */
static double least_quota(const char *root, const hierarchy *h, const char *group)
{
    char folder[2 * PATH_MAX];
    size_t top = strcmp(h->top, "/") == 0 ? 0 : strlen(h->top);
    bool is_under = strncmp(group, h->top, top) == 0 && (group[top] == '/' || group[top] == '\0');
    const char *below = is_under && strcmp(group + top, "/") != 0 ? group + top : "";
    snprintf(folder, sizeof folder, "%s%s", h->mount, below);
    double least = quota_of(root, folder, h->is_v2);
    for (size_t n = strlen(folder); n > strlen(h->mount);) {
        while (folder[n - 1] != '/')
            n--;
        folder[--n] = '\0';
        least = fmin(least, quota_of(root, folder, h->is_v2));
    }
    return least;
}

double cpu_quota(const char *root)
{
    double least = INFINITY;
    for (int version = 1; version <= 2; version++) {
        hierarchy h;
        char group[PATH_MAX];
        if (find_mount(root, version == 2, &h) && find_group(root, version == 2, group))
            least = fmin(least, least_quota(root, &h, group));
    }
    return least;
}
