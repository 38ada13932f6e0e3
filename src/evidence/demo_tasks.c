/* demo_tasks.c: drawing requests by kind; the kinds' own files make them. */
#include "evidence/demo_tasks.h"

#include <stdlib.h>
#include <stdio.h>
#include <string.h>

#include "evidence/demo_internal.h"

/* ---- shared ------------------------------------------------------------------------------- */

static const filling *find(const filling *fillings, const char *key, size_t length)
{
    for (; fillings->key != NULL; fillings++)
        if (strlen(fillings->key) == length && strncmp(fillings->key, key, length) == 0)
            return fillings;
    return NULL;
}

void demo_fill(buffer *out, const char *template, const filling *fillings)
{
    for (const char *at = template; *at != '\0';) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;
        const filling *f = end != NULL ? find(fillings, at + 1, (size_t)(end - at - 1)) : NULL;
        if (f == NULL) {
            buffer_add(out, at++, 1);
            continue;
        }
        if (f->text != NULL)
            buffer_add_text(out, f->text);
        else
            buffer_add_format(out, "%ld", f->number);
        at = end + 1;
    }
}

bool demo_is_test(const char *text)
{
    uint32_t crc = UINT32_MAX;
    for (const char *at = text; *at != '\0'; at++) {
        crc ^= (unsigned char)*at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ ((crc & 1) != 0 ? UINT32_C(0xedb88320) : 0);
    }
    return ~crc % 8 == 0;
}

/* ---- drawing ------------------------------------------------------------------------------ */

typedef struct drawing {
    python_random random;
    token_counter count;
    demo_world *world;
    size_t *order; /* of the facts */
} drawing;

static error_code make_code(drawing *d, size_t i, demo_task *out, failure *fail)
{
    (void)i, (void)fail;
    return demo_code_make(&d->random, out);
}

static error_code make_long(drawing *d, size_t i, demo_task *out, failure *fail)
{
    (void)i;
    return demo_long_make(&d->random, d->count, out, fail);
}

static error_code make_math(drawing *d, size_t i, demo_task *out, failure *fail)
{
    (void)i, (void)fail;
    return demo_math_make(&d->random, out);
}

static error_code prepare_qa(drawing *d)
{
    error_code code = demo_world_create(&d->world);
    if (code != OK)
        return code;
    size_t n = demo_world_facts(d->world);
    d->order = malloc(n * sizeof d->order[0]);
    if (d->order == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < n; i++)
        d->order[i] = i;
    python_random_shuffle(&d->random, d->order, n);
    return OK;
}

static error_code make_qa(drawing *d, size_t i, demo_task *out, failure *fail)
{
    (void)fail;
    if (d->world == NULL && prepare_qa(d) != OK)
        return ERR_MEMORY;
    return demo_qa_make(d->world, d->order[i % demo_world_facts(d->world)], &d->random, out);
}

static const struct kind {
    const char *name, *intent;
    error_code (*make)(drawing *d, size_t i, demo_task *out, failure *fail);
} kinds[] = {{"code", "code", make_code},
             {"qa", "qa", make_qa},
             {"math", "math", make_math},
             {"long", "code", make_long}};

static error_code draw_one(drawing *d, const struct kind *k, size_t i, uint64_t seed,
                           task_list *list, failure *fail)
{
    char id[64];
    demo_task made = {.check = NULL};
    buffer_init(&made.prompt, (size_t)1 << 20);
    failure_set(fail, ERR_MEMORY, "no memory for the tasks");
    error_code code = k->make(d, i, &made, fail);
    if (code == OK && made.check == NULL)
        code = ERR_MEMORY;
    snprintf(id, sizeof id, "%s-%llu-%zu", k->name, (unsigned long long)seed, i + 1);
    if (code == OK)
        code =
            task_list_add_prompt(list, id, k->name, k->intent, made.prompt.data, made.check, fail);
    else
        json_decref(made.check);
    buffer_free(&made.prompt);
    return code;
}

error_code demo_tasks_draw(task_list *list, const char *kind, size_t n, uint64_t seed,
                           token_counter count, failure *fail)
{
    const struct kind *k = NULL;
    for (size_t i = 0; i < COUNT(kinds); i++)
        if (strcmp(kinds[i].name, kind) == 0)
            k = &kinds[i];
    if (k == NULL)
        return failure_set(fail, ERR_NOT_FOUND,
                           "no built-in tasks \"%.60s\"; there are: code, qa, math, long", kind);
    drawing d = {.count = count};
    python_random_seed(&d.random, seed);
    error_code code = OK;
    for (size_t i = 0; code == OK && i < n; i++)
        code = draw_one(&d, k, i, seed, list, fail);
    demo_world_destroy(d.world);
    free(d.order);
    return code;
}
