/* rules.h: from a rule as the file has it to the plain struct. Inside the room only. */
#ifndef CONFIG_RULES_H
#define CONFIG_RULES_H

#include "config/config.h"
#include "config/schema.h"

/* `i` is the rule's number, for messages. The config's models and labels are there already. What
 * was taken before a failure is config_rule_free's. */
error_code config_rule_take(config_rule *r, const file_rule *f, const config *c, size_t i,
                            failure *fail);
void config_rule_free(config_rule *r); /* a zeroed one too */

#endif
