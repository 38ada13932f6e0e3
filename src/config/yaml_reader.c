/* yaml_reader.c: libcyaml's settings, and the line of an error. */
#include "config/yaml_reader.h"

#include <stdio.h>
#include <string.h>

cyaml_config_t yaml_reader(cyaml_log_fn_t hear, void *context)
{
    return (cyaml_config_t){.log_level = CYAML_LOG_WARNING,
                            .log_fn = hear,
                            .log_ctx = context,
                            .mem_fn = cyaml_mem,
                            .flags = CYAML_CFG_NO_ALIAS};
}

const char *yaml_reader_line(char text[YAML_LINE_SIZE], const char *format, va_list args)
{
    vsnprintf(text, YAML_LINE_SIZE, format, args);
    text[strcspn(text, "\n")] = '\0';
    return strncmp(text, "Load: ", 6) == 0 ? text + 6 : text;
}
