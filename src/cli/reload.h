/* reload.h: what a server reads again while it serves: keys, certificate, and from the
 * configuration probe, labels, calibrations and policy. What is wrong changes nothing and is a
 * warning. */
#ifndef CLI_RELOAD_H
#define CLI_RELOAD_H

#include "cli/common.h"
#include "cli/probe_check.h"
#include "server/server.h"

typedef struct reload_source {
    server *server;
    stage *stage;
    /* The configuration as at the start, options included. */
    error_code (*configure)(stage *s, const void *options, failure *fail);
    const void *options;
    probe_watch *watch; /* it checks what was reloaded */
} reload_source;

/* On SIGHUP: everything. Neither a terminal that is closed nor an operator who wants a reload ends
 * a reply. */
void reload_all(const reload_source *from);
/* Now and then: only where the files have changed. */
void reload_certificate(server *s);

#endif
