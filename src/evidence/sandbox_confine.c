/* sandbox_confine.c: seccomp, resource limits and another user, between fork and exec. */
#include "evidence/sandbox_confine.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* No way to the network, to other processes, or out of the group that will be killed. */
static const int denied[] = {
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(setsid),
    SCMP_SYS(setpgid),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(mount),
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(keyctl),
};

#define REFUSED SCMP_ACT_ERRNO(EPERM)
/* The kernel looks at the lower half of such an argument alone. */
#define IS(command) SCMP_CMP_MASKED_EQ, 0xffffffffu, (scmp_datum_t)(command)

/* Other ways to end a process, or to act as its user: a limit set for it, signals that a descriptor
 * sends to it, what is typed into a terminal. */
static bool deny_detours(scmp_filter_ctx rules)
{
    static const unsigned long owning[] = {F_SETOWN, F_SETOWN_EX, F_SETSIG},
                               typing[] = {TIOCSTI, FIOASYNC};
    bool done =
        seccomp_rule_add(rules, REFUSED, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0, 0)) == 0 &&
        seccomp_rule_add(rules, REFUSED, SCMP_SYS(fcntl), 2, SCMP_A1(IS(F_SETFL)),
                         SCMP_A2(SCMP_CMP_MASKED_EQ, O_ASYNC, O_ASYNC)) == 0;
    for (size_t i = 0; i < sizeof owning / sizeof owning[0]; i++)
        done = done &&
               seccomp_rule_add(rules, REFUSED, SCMP_SYS(fcntl), 1, SCMP_A1(IS(owning[i]))) == 0;
    for (size_t i = 0; i < sizeof typing / sizeof typing[0]; i++)
        done = done &&
               seccomp_rule_add(rules, REFUSED, SCMP_SYS(ioctl), 1, SCMP_A1(IS(typing[i]))) == 0;
    return done;
}

static error_code deny(scmp_filter_ctx rules)
{
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
        if (seccomp_rule_add(rules, REFUSED, denied[i], 0) != 0)
            return ERR_UNSUPPORTED;
    if (!deny_detours(rules))
        return ERR_UNSUPPORTED;
    /* Calls by another processor's numbers, those of x32 among them, end the process. */
    return seccomp_attr_set(rules, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) == 0
               ? OK
               : ERR_UNSUPPORTED;
}

/* libseccomp writes a filter to a descriptor only. */
static error_code take_filter(buffer *filter, scmp_filter_ctx rules)
{
    int fd = memfd_create("seccomp", MFD_CLOEXEC);
    if (fd < 0)
        return ERR_IO;
    error_code code = ERR_UNSUPPORTED;
    if (seccomp_export_bpf(rules, fd) == 0 && lseek(fd, 0, SEEK_SET) == 0)
        code = buffer_read_fd(filter, fd, NULL);
    close(fd);
    return code;
}

error_code sandbox_filter_make(buffer *filter, failure *fail)
{
    scmp_filter_ctx rules = seccomp_init(SCMP_ACT_ALLOW);
    error_code code = rules == NULL ? ERR_UNSUPPORTED : deny(rules);
    if (code == OK)
        code = take_filter(filter, rules);
    if (rules != NULL)
        seccomp_release(rules);
    return code == OK ? OK : failure_set(fail, code, "cannot make a filter of system calls");
}

static int load_filter(const buffer *filter)
{
    struct sock_fprog program = {
        .len = (unsigned short)(filter->length / sizeof(struct sock_filter)),
        .filter = (struct sock_filter *)(void *)filter->data,
    };
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : errno;
}

static int limit(__rlimit_resource_t what, size_t value)
{
    struct rlimit r = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(what, &r) == 0 ? 0 : errno;
}

static int become_nobody(void)
{
    if (geteuid() != 0)
        return 0;
    bool done =
        setgroups(0, NULL) == 0 && setgid(SANDBOX_NOBODY) == 0 && setuid(SANDBOX_NOBODY) == 0;
    /* A container may have no nobody to become; the other limits hold all the same. */
    return done || errno == EINVAL || errno == EPERM ? 0 : errno;
}

/* Whoever is in a domain of Landlock's can neither trace who is not, nor read its memory and its
 * environment in /proc. Making a device and moving files between folders is what this one forbids
 * besides. Linux has it from 5.13 on where it is turned on: without it the user's own other
 * processes can be read. */
static void leave_others_alone(void)
{
    const struct landlock_ruleset_attr rules = {.handled_access_fs = LANDLOCK_ACCESS_FS_MAKE_BLOCK};
    long fd = syscall(SYS_landlock_create_ruleset, &rules, sizeof rules, 0);
    if (fd >= 0) {
        syscall(SYS_landlock_restrict_self, fd, 0);
        close((int)fd);
    }
}

int sandbox_confine(const sandbox_limits *limits, const buffer *filter)
{
    int error = limit(RLIMIT_AS, limits->memory_bytes);
    if (error == 0)
        error = limit(RLIMIT_FSIZE, limits->file_bytes);
    if (error == 0)
        error = limit(RLIMIT_CORE, 0);
    if (error == 0)
        error = limit(RLIMIT_NOFILE, 64);
    if (error == 0)
        error = become_nobody();
    if (error == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        error = errno;
    if (error == 0)
        leave_others_alone();
    return error == 0 ? load_filter(filter) : error;
}
