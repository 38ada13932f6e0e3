/* fuzz_calibration.c: a calibration file: each of its parts is refused in words, or read. */
#include "fuzz/target.h"

#include "base/log.h"
#include "kernel/kernel.h"
#include "model/model.h"
#include "orchestra/calibration_file.h"
#include "orchestra/head.h"

static model *small;
static config *settings;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    failure fail;
    model_options options = {0};
    log_set_level(LOG_ERROR);
    HOLDS(kernel_init(NULL, &fail) == OK);
    HOLDS(model_load(&small, "models/demo/small.gguf", &options, &fail) == OK);
    HOLDS(config_load(&settings, "config/demo.yaml", &fail) == OK);
    return 0;
}

static void read_head(const char *part, const char *path)
{
    head_record head = {0};
    failure fail = {0};
    check_refusal(calibration_file_read_head(&head, part, path, settings, small, &fail), &fail);
    head_record_free(&head);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = file_of(data, size);
    probe_record probe = {0};
    machine_record machine = {0};
    failure fail = {0};
    check_refusal(calibration_file_read_probe(&probe, path, settings, small, &fail), &fail);
    check_refusal(calibration_file_read_machine(&machine, path, &fail), &fail);
    read_head("kind", path);
    read_head("success", path);
    return 0;
}
