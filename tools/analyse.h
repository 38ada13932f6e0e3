/* analyse.h: what clang's analyser has to be told, which looks into one file at a time: a failure
 * that was set is no OK. `make analyse` includes it before each file of src. */
#ifndef TOOLS_ANALYSE_H
#define TOOLS_ANALYSE_H

#include "base/failure.h"

static inline error_code analysed_failure(error_code code)
{
    if (code == OK)
        __builtin_unreachable();
    return code;
}

#define failure_set(...) analysed_failure(failure_set(__VA_ARGS__))
#define failure_prefix(...) analysed_failure(failure_prefix(__VA_ARGS__))

#endif
