/* result_file.h: results on the disk, whole or not at all. */
#ifndef CLI_RESULT_FILE_H
#define CLI_RESULT_FILE_H

#include "base/buffer.h"

/* The old file stays until the new one is complete. */
error_code result_file_write(const char *path, const buffer *text, failure *fail);

#endif
