/* sandbox_confine.h: takes rights from the calling process, for good. Inside the room only. */
#ifndef EVIDENCE_SANDBOX_CONFINE_H
#define EVIDENCE_SANDBOX_CONFINE_H

#include <stdbool.h>

#include "evidence/sandbox.h"

/* Between fork and exec. 0, or the errno of what could not be had. As root it becomes nobody. */
int sandbox_confine(const sandbox_limits *limits);
/* Whether this build knows the processor's system calls. */
bool sandbox_is_possible(void);

#define SANDBOX_NOBODY 65534

#endif
