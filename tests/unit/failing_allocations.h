/* failing_allocations.h: an allocator of which the n-th allocation fails, alone or with all that
 * follow, and what comes of a piece of work under it. In one file of a program; not where a
 * sanitizer brings its own malloc. */
#ifndef TESTS_FAILING_ALLOCATIONS_H
#define TESTS_FAILING_ALLOCATIONS_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"

/* ---- the allocator --------------------------------------------------------------------------- */

static atomic_long n_asked;   /* allocations since the count began */
static atomic_long fail_from; /* the first that fails; 0: none */
static atomic_bool fail_all;  /* and all after it */

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

static bool fails(void)
{
    long now = atomic_fetch_add(&n_asked, 1) + 1, from = atomic_load(&fail_from);
    bool failed = from > 0 && (now == from || (now > from && atomic_load(&fail_all)));
    if (failed)
        errno = ENOMEM;
    return failed;
}

void *malloc(size_t size)
{
    return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t size)
{
    return fails() ? NULL : __libc_realloc(p, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __libc_memalign(alignment, size);
}

static void begin_failing(long from, bool all)
{
    atomic_store(&fail_all, all);
    atomic_store(&n_asked, 0);
    atomic_store(&fail_from, from);
}

/* How many allocations there were. */
static long end_failing(void)
{
    atomic_store(&fail_from, 0);
    return atomic_load(&n_asked);
}

/* ---- trying ---------------------------------------------------------------------------------- */

/* Does something once; *out is what it made, in text, when it is OK. */
typedef error_code work_function(buffer *out, failure *fail);

static void try_one(const char *what, work_function *attempt, const buffer *sound, long at,
                    bool all)
{
    failure fail = {0};
    buffer got;
    buffer_init(&got, (size_t)1 << 24);
    assert_int_equal(buffer_reserve(&got, 1 << 16), OK);
    begin_failing(at, all);
    error_code code = attempt(&got, &fail);
    end_failing();
    if (code != OK && code != ERR_MEMORY)
        fail_msg("%s, allocation %ld%s: %s: %s", what, at, all ? " and all after it" : "",
                 error_code_text(code), fail.text);
    if (code == OK &&
        (got.length != sound->length || memcmp(got.data, sound->data, got.length) != 0))
        fail_msg("%s, allocation %ld%s: \"%s\" instead of \"%s\"", what, at,
                 all ? " and all after it" : "", got.data, sound->data);
    buffer_free(&got);
}

/* `most`: of works with thousands of allocations so many are tried, evenly spread. */
static void try_all(const char *what, work_function *attempt, long most)
{
    failure fail = {0};
    buffer sound;
    buffer_init(&sound, (size_t)1 << 24);
    assert_int_equal(buffer_reserve(&sound, 1 << 16), OK);
    begin_failing(0, false);
    if (attempt(&sound, &fail) != OK)
        fail_msg("%s: %s", what, fail.text);
    long n = end_failing(), step = n / most + 1;
    for (long at = 1; at <= n; at += step) {
        try_one(what, attempt, &sound, at, false);
        try_one(what, attempt, &sound, at, true);
    }
    printf("  %s: %ld allocations, every %ld. failed, twice\n", what, n, step);
    buffer_free(&sound);
}

#endif
