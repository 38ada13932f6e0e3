/* reload.c: keys, certificate and routing read again, each by itself. */
#include "cli/reload.h"

#include "base/log.h"
#include "cli/service_manager.h"
#include "config/difference.h"

void reload_certificate(server *s)
{
    failure fail;
    bool renewed;
    if (server_renew_certificate(s, &renewed, &fail) != OK)
        log_warn("the certificate stays as it was: %s", fail.text);
    else if (renewed)
        log_info("the certificate was read again");
}

static void reload_keys(const reload_source *from)
{
    failure fail;
    if (from->stage->config->server.keys_file == NULL)
        return;
    if (server_read_keys(from->server, &fail) != OK)
        log_warn("the keys stay as they were: %s", fail.text);
    else
        log_info("the keys were read again");
}

static void tell_of_rest(const config *before, const config *now)
{
    char changed[CONFIG_SECTIONS_SIZE];
    config_changed_sections(before, now, changed);
    if (changed[0] != '\0')
        log_warn("the configuration's %s changed: read at start-up only, so that they stay as they "
                 "were",
                 changed);
}

static error_code read_policy(const reload_source *from, failure *fail)
{
    stage fresh = {.config = NULL};
    error_code code = from->configure(&fresh, from->options, fail);
    if (code == OK) {
        tell_of_rest(from->stage->config, fresh.config);
        code = orchestra_reload(from->stage->orchestra, fresh.config, fail);
    }
    if (code == OK) {
        fresh.config->engine.kept = NULL; /* of the start alone */
        fresh.config = NULL;              /* the orchestra's now */
    }
    stage_close(&fresh);
    return code;
}

static void reload_policy(const reload_source *from)
{
    const orchestra *o = from->stage->orchestra;
    failure fail;
    if (orchestra_model_count(o) == 1 && orchestra_model_path(o, 0) != NULL)
        return;                    /* nothing is routed, and nothing of it is elsewhere */
    probe_watch_stop(from->watch); /* it looks at what is about to go */
    if (read_policy(from, &fail) != OK)
        log_warn("probe and policy stay as they were: %s", fail.text);
    else
        log_info("probe and policy were read again: policy %s, %zu labels",
                 routing_config(orchestra_routing(o))->policy.name,
                 routing_label_count(orchestra_routing(o)));
    probe_watch_start(from->watch, from->stage);
}

void reload_all(const reload_source *from)
{
    log_info("SIGHUP: reading again");
    service_manager_tell_reloading();
    reload_keys(from);
    reload_certificate(from->server);
    reload_policy(from);
    service_manager_tell("READY=1");
}
