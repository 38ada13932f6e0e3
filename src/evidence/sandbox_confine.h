/* sandbox_confine.h: takes rights from the calling process, for good. Inside the room only. */
#ifndef EVIDENCE_SANDBOX_CONFINE_H
#define EVIDENCE_SANDBOX_CONFINE_H

#include <linux/filter.h>

#include "base/buffer.h"
#include "evidence/sandbox.h"

/* The system calls that the process may make, as the kernel takes them. Made before the fork, since
 * between fork and exec nothing may be allocated. ERR_UNSUPPORTED: not on this system. */
error_code sandbox_filter_make(buffer *filter, failure *fail);
/* Between fork and exec. 0, or the errno of what could not be had. As root it becomes nobody. */
int sandbox_confine(const sandbox_limits *limits, const buffer *filter);

#define SANDBOX_NOBODY 65534

#endif
