/* What a container's control groups allow, read from a pretended root: version 1 and 2, groups
 * inside groups, containers that see their own part of the tree only, and files that say nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/cpu_quota.h"
#include "kernel/kernel.h"

static char root[64];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/a-io-test-quota-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* A file with all folders above it. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *at = path + strlen(root) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void begin(const char *mounts, const char *groups)
{
    remove_root(NULL);
    assert_int_equal(mkdir(root, 0700), 0);
    put("/proc/self/mountinfo", mounts);
    put("/proc/self/cgroup", groups);
}

#define V2 "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1                                                                                         \
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                                   \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw shared:9 - cgroup cgroup rw,cpuset\n"                   \
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 - cgroup cgroup rw,cpu,cpuacct\n"

static void expect(double cpus)
{
    double got = cpu_quota(root);
    if (got != cpus)
        fail_msg("%g CPUs instead of %g", got, cpus);
}

static void test_version_2(void **state)
{
    (void)state;
    begin(V2, "0::/\n");
    expect(INFINITY); /* the topmost group has no file */
    put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
    expect(1.5);
    put("/sys/fs/cgroup/cpu.max", "max 100000\n");
    expect(INFINITY);
    begin("1 1 0:1 / / rw - ext4 /dev/root rw\n" V2, "0::/user.slice/job.scope\n");
    put("/sys/fs/cgroup/user.slice/job.scope/cpu.max", "400000 100000\n");
    expect(4);
    put("/sys/fs/cgroup/user.slice/cpu.max", "25000 50000\n"); /* the group around it */
    expect(0.5);
    put("/sys/fs/cgroup/user.slice/job.scope/cpu.max", "10000 100000\n");
    expect(0.1);
}

static void test_version_1(void **state)
{
    (void)state;
    begin(V1, "5:cpuset:/other\n4:cpu,cpuacct:/docker/abc\n1:name=systemd:/docker/abc\n");
    expect(INFINITY);
    put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "300000\n");
    expect(INFINITY); /* without a period it says nothing */
    put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    expect(3);
    put("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "200000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000\n");
    expect(2);
    put("/sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
    put("/sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "-1\n");
    expect(INFINITY);
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    expect(0.5);
}

/* The mount shows the container's own group at its top; the process's group is named as the host
 * sees it, or as the container does. */
static void test_containers(void **state)
{
    (void)state;
    static const char mounts[] = "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup "
                                 "rw,cpu\n";
    static const char *const groups[] = {"4:cpu:/docker/abc\n", "4:cpu:/\n",
                                         "4:cpu:/docker/abcdef\n", "4:cpu:/docker/abc/inner\n"};
    for (size_t i = 0; i < 4; i++) {
        begin(mounts, groups[i]);
        put("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "250000\n");
        put("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        expect(2.5);
    }
    put("/sys/fs/cgroup/cpu/inner/cpu.cfs_quota_us", "100000\n");
    put("/sys/fs/cgroup/cpu/inner/cpu.cfs_period_us", "100000\n");
    expect(1);
}

/* Both at once, where version 1 has the controller. */
static void test_both(void **state)
{
    (void)state;
    begin(V1 "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
          "4:cpu,cpuacct:/a\n0::/a\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "700000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n");
    expect(7);
}

static void test_nonsense(void **state)
{
    (void)state;
    static const char *const limits[] = {"",      "0 0\n", "-5 100000\n", "nan nan\n",
                                         "max\n", "1\n",   "100000 -1\n", "\xff\xfe"};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        begin(V2, "0::/a\n");
        put("/sys/fs/cgroup/a/cpu.max", limits[i]);
        expect(INFINITY);
    }
    static const char *const groups[] = {"", ":", "::", "0:", "0::", "garbage", "0::relative\n"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        begin(V2, groups[i]);
        expect(INFINITY);
        begin("- cgroup2\n - cgroup2 x rw\nx - cgroup2 cgroup2 rw\n", groups[i]);
        expect(INFINITY);
    }
    remove_root(NULL);
    expect(INFINITY);
    assert_int_equal(mkdir(root, 0700), 0);
}

static void test_threads(void **state)
{
    (void)state;
    double quota = cpu_quota("");
    int n = team_default_size();
    assert_true(n >= 1 && (n == 1 || (double)n <= quota));
}

/* Calls of read() that this process has made (proc(5)); 0: the system does not count them. */
static long reads_so_far(void)
{
    long n = 0;
    FILE *file = fopen("/proc/self/io", "re");
    if (file == NULL || fscanf(file, "rchar: %*d wchar: %*d syscr: %ld", &n) != 1)
        n = 0;
    if (file != NULL)
        fclose(file);
    return n;
}

/* It is asked for with every matrix that is packed. */
static void test_read_once(void **state)
{
    (void)state;
    int n = team_default_size();
    long first = reads_so_far(), second = reads_so_far();
    for (int i = 0; i < 100; i++)
        assert_int_equal(team_default_size(), n);
    assert_int_equal(reads_so_far() - second, second - first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_2),  cmocka_unit_test(test_version_1),
        cmocka_unit_test(test_containers), cmocka_unit_test(test_both),
        cmocka_unit_test(test_nonsense),   cmocka_unit_test(test_threads),
        cmocka_unit_test(test_read_once),
    };
    return cmocka_run_group_tests(tests, make_root, remove_root);
}
