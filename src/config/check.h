/* check.h: what a configuration must hold beyond its shape. Inside the room only. */
#ifndef CONFIG_CHECK_H
#define CONFIG_CHECK_H

#include "config/config.h"
#include "config/schema.h"

/* Checks the models alone, as the file lists them. */
error_code config_check_models(const config *c, failure *fail);

/* Checks a complete configuration; the message names the key and what is allowed. */
error_code config_check(const config *c, failure *fail);

/* Refuses what the file says but its policy would not read (`f` NULL: the file says nothing). */
error_code config_check_policy_keys(const file_policy *f, const char *name, failure *fail);

/* Checks the policy's name, its rules and the labels they need. */
error_code config_check_policy(const config *c, failure *fail);

#endif
