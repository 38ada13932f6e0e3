/* sandbox_confine.c: seccomp, resource limits and another user, between fork and exec. */
#include "evidence/sandbox_confine.h"

#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

bool sandbox_is_possible(void)
{
#ifdef ARCHITECTURE
    return true;
#else
    return false;
#endif
}

#ifdef ARCHITECTURE

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))
#define REFUSE SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)
/* The next instruction is for what is equal. */
#define UNLESS(value) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1)
#define DENY(call) UNLESS((unsigned)SYS_##call), ANSWER(REFUSE)

/* No way to the network, to other processes, or out of the group that will be killed. */
static int filter_system_calls(void)
{
    static struct sock_filter instructions[] = {
        LOAD(arch),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        ANSWER(SECCOMP_RET_KILL_PROCESS),
        LOAD(nr),
        /* The x32 numbers of x86-64; no other processor has numbers so high. */
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        ANSWER(REFUSE),
        DENY(socket),
        DENY(socketpair),
        DENY(io_uring_setup),
        DENY(kill),
        DENY(tkill),
        DENY(rt_sigqueueinfo),
        DENY(rt_tgsigqueueinfo),
        DENY(pidfd_open),
        DENY(pidfd_send_signal),
        DENY(ptrace),
        DENY(process_vm_readv),
        DENY(process_vm_writev),
        DENY(setsid),
        DENY(setpgid),
        DENY(unshare),
        DENY(setns),
        DENY(mount),
        DENY(bpf),
        DENY(perf_event_open),
        DENY(userfaultfd),
        DENY(keyctl),
        ANSWER(SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof instructions / sizeof instructions[0],
                                 .filter = instructions};
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

int sandbox_confine(const sandbox_limits *limits)
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
    return error == 0 ? filter_system_calls() : error;
}

#else

int sandbox_confine(const sandbox_limits *limits)
{
    (void)limits;
    return ENOSYS;
}

#endif
