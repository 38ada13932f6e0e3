/*
 * json_memory.h: inside base only: jansson's allocations.
 *
 * jansson drops characters, or ends the process by an assertion, where a text that it reads cannot
 * grow. So its allocations do not fail while that can be helped: where the system has no memory,
 * it comes from a reserve of addresses whose pages cost nothing until then, and the thread is told.
 */
#ifndef BASE_JSON_MEMORY_H
#define BASE_JSON_MEMORY_H

#include <stdbool.h>

/* Whether the system had no memory for a value of this thread since the last call. */
bool json_memory_was_short(void);
/* The same, without forgetting it. */
bool json_memory_is_short(void);
/* For what fails beside jansson's own allocations. */
void json_memory_note_shortage(void);

#endif
