/* remote.h: a model at another server, as the file says it. Inside the room only. */
#ifndef CONFIG_REMOTE_H
#define CONFIG_REMOTE_H

#include "config/config.h"
#include "config/schema.h"

/* All but key_file and ca_file, which are paths. `i`: the model's place in the list, for messages.
 * ERR_CONFIG for a model with neither a path nor a url, or both, and for keys that the other kind
 * has. */
error_code config_remote_take(config_remote *out, const file_model *f, size_t i, failure *fail);
void config_remote_free(config_remote *r);

#endif
