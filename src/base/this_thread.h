/*
 * this_thread.h: what a thread is known by. Unlike a pthread_t it may be atomic, compared with ==,
 * and be none (NULL). After a thread has ended another one may have its name.
 */
#ifndef BASE_THIS_THREAD_H
#define BASE_THIS_THREAD_H

const void *this_thread(void);

#endif
