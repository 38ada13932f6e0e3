/*
 * yaml_reader.h: libcyaml, set up for files that people write.
 */
#ifndef CONFIG_YAML_READER_H
#define CONFIG_YAML_READER_H

#include <cyaml/cyaml.h>
#include <stdarg.h>

#define YAML_LINE_SIZE 256

/* Aliases are refused: they would let a short file grow without bound. `hear` gets warnings and
 * errors, with `context`. */
cyaml_config_t yaml_reader(cyaml_log_fn_t hear, void *context);

/* What libcyaml logs, as one line in `text`, without the word that it begins every complaint with.
 */
const char *yaml_reader_line(char text[YAML_LINE_SIZE], const char *format, va_list args);

#endif
