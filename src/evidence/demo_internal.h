/* demo_internal.h: what the generators of the built-in tasks share. Inside the room only. */
#ifndef EVIDENCE_DEMO_INTERNAL_H
#define EVIDENCE_DEMO_INTERNAL_H

#include "base/buffer.h"
#include "evidence/demo_tasks.h"
#include "evidence/python_random.h"

#define COUNT(table) (sizeof(table) / sizeof(table)[0])
#define CHOICE(random, table) ((table)[python_random_below((random), COUNT(table))])

/* What stands for a {key}: a text, or else the number. */
typedef struct filling {
    const char *key;
    const char *text;
    long number;
} filling;

/* Appends the template with every {key} filled in; keys that are not there stay as they are. The
 * list ends with a NULL key. Buffers here are unlimited: ERR_MEMORY alone, told when all is done.
 */
void demo_fill(buffer *out, const char *template, const filling *fillings);
/* Whether a text belongs to the test side: its CRC-32 is a multiple of eight. */
bool demo_is_test(const char *text);

typedef struct demo_task {
    buffer prompt;
    json_t *check;
} demo_task;

error_code demo_code_make(python_random *r, demo_task *out);
error_code demo_long_make(python_random *r, token_counter count, demo_task *out, failure *fail);
error_code demo_math_make(python_random *r, demo_task *out);

/* All facts of the invented world; one for the process's life is enough. */
typedef struct demo_world demo_world;
error_code demo_world_create(demo_world **out);
void demo_world_destroy(demo_world *w);
size_t demo_world_facts(const demo_world *w);
error_code demo_qa_make(const demo_world *w, size_t fact, python_random *r, demo_task *out);

#endif
