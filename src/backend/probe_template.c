/* probe_template.c: finding the one placeholder. */
#include "backend/probe_template.h"

#include <string.h>

error_code probe_template_split(const char *text, probe_parts *parts, failure *fail)
{
    static const char conversation[] = "{conversation}", query[] = "{query}";
    const char *c = strstr(text, conversation), *q = strstr(text, query);
    if ((c == NULL) == (q == NULL))
        return failure_set(fail, ERR_CONFIG,
                           "the probe's template must have one placeholder, %s or %s", conversation,
                           query);
    const char *at = c != NULL ? c : q;
    const char *after = at + strlen(c != NULL ? conversation : query);
    if (strstr(after, c != NULL ? conversation : query) != NULL)
        return failure_set(fail, ERR_CONFIG, "the probe's template has its placeholder twice");
    *parts = (probe_parts){text, after, (size_t)(at - text), strlen(after), c != NULL};
    return OK;
}
