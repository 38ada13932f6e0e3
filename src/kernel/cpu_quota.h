/* cpu_quota.h: inside the kernel room: what a container lets this process use of the processors. */
#ifndef KERNEL_CPU_QUOTA_H
#define KERNEL_CPU_QUOTA_H

/* CPUs' worth of time that the control groups (version 1 or 2) of this process and those around
 * them allow, the least of them; infinity where none says so. `root` stands before /proc and the
 * mount points, for tests; "" otherwise. */
double cpu_quota(const char *root);

#endif
