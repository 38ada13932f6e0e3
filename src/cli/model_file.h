/*
 * model_file.h: the file of a model, however the user named it: a path ("~" is the home), or a name
 * at the Hugging Face hub, which is fetched when the cache does not have it.
 *
 * A file that exists wins over a name. Fetching shows a bar on a terminal, and an interrupt stops
 * it politely.
 */
#ifndef CLI_MODEL_FILE_H
#define CLI_MODEL_FILE_H

#include "hub/hub.h"

/* Nothing is fetched from now on, as with HF_HUB_OFFLINE=1. */
void model_files_stay_offline(void);

/* `given` as the user wrote it; `path` is where a file of this name would be, NULL: as it is given.
 * *out is the caller's to free; it need not exist when the text is no name. */
error_code model_file_find(const char *given, const char *path, char **out, failure *fail);

/* hub_settings_read, with what model_files_stay_offline said. */
error_code model_file_settings(hub_settings *out, failure *fail);
/* hub_fetch with the bar and the interrupt. */
error_code model_file_fetch(const hub_settings *s, const hub_name *name, hub_files *out,
                            failure *fail);

#endif
