/* this_thread.c: the address of something that each thread has one of. */
#include "base/this_thread.h"

const void *this_thread(void)
{
    static _Thread_local char own;
    return &own;
}
