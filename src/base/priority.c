/* priority.c: what the two classes are called. */
#include "base/priority.h"

#include <string.h>

bool priority_parse(const char *text, request_priority *out)
{
    bool batch = strcmp(text, "batch") == 0;
    *out = batch ? PRIORITY_BATCH : PRIORITY_INTERACTIVE;
    return batch || strcmp(text, "interactive") == 0;
}

const char *priority_name(request_priority p)
{
    return p == PRIORITY_BATCH ? "batch" : "interactive";
}
