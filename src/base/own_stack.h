/* own_stack.h: work on a stack of its own, for parsers that recurse. For the rooms in Rust, too
 * (own_stack.rs). */
#ifndef BASE_OWN_STACK_H
#define BASE_OWN_STACK_H

#include <stdbool.h>
#include <stddef.h>

/* Does the work on a thread with a stack of so many bytes, and returns when it is done. False: it
 * was not begun, for want of memory or of threads. Any thread may call. */
bool own_stack_run(size_t bytes, void (*work)(void *), void *context);

#endif
