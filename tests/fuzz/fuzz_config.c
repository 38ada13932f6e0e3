/* fuzz_config.c: a configuration in YAML: refused with a line, or read. */
#include "fuzz/target.h"

#include "base/log.h"
#include "config/config.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    config *c;
    failure fail = {0};
    error_code code = config_parse(&c, (const char *)data, size, "input", &fail);
    check_refusal(code, &fail);
    if (code == OK)
        config_free(c);
    return 0;
}
