/* sections.h: the parts of a configuration, each from what the file says of it. Inside the room
 * only.
 *
 * `file`: its name, for relative paths. What was taken before a failure is config_free's. */
#ifndef CONFIG_SECTIONS_H
#define CONFIG_SECTIONS_H

#include "config/config.h"
#include "config/schema.h"

#define CONFIG_DEFAULT_SLOTS 4

extern const config config_defaults; /* defaults.c; its texts are static */

/* models.c: checked, and in the order of escalation. */
error_code config_take_models(config *c, const file_config *f, const char *file, failure *fail);
void config_free_models(config *c);

/* routing.c, each after the models; the policy after the probe. `f` NULL: the file says nothing. */
error_code config_take_probe(config *c, const file_probe *f, const char *file, failure *fail);
error_code config_take_success(config_success *s, const file_success *f, const char *file,
                               failure *fail);
error_code config_take_policy(config *c, const file_policy *f, failure *fail);

/* serving.c: engine, server and decisions, after the models. */
error_code config_take_serving(config *c, const file_config *f, const char *file, failure *fail);
void config_free_server(config_server *s);

#endif
