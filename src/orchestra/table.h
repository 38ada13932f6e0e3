/* table.h: a policy's rules in JSON, with the configuration's own keys. Inside the room only. */
#ifndef ORCHESTRA_TABLE_H
#define ORCHESTRA_TABLE_H

#include <jansson.h>

#include "orchestra/policy.h"

/* New objects, or NULL when there is no memory. */
json_t *table_json(const policy *p);
json_t *sampling_json(const config_sampling *s);

#endif
