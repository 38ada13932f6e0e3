/* sanitized.h: which sanitizer this test was built with: gcc says it in a macro, clang when asked.
 */
#ifndef TESTS_SANITIZED_H
#define TESTS_SANITIZED_H

#ifndef __has_feature
#define __has_feature(name) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
#define SANITIZES_ADDRESSES 1
#else
#define SANITIZES_ADDRESSES 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
#define SANITIZES_THREADS 1
#else
#define SANITIZES_THREADS 0
#endif

/* Either brings its own malloc, and takes memory and time that are not the program's. */
#define IS_SANITIZED (SANITIZES_ADDRESSES || SANITIZES_THREADS)

#endif
