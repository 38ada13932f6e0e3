/* fuzz_decisions.c: a decision log: decided again, and read as requests; torn lines are passed
 * over, others refused with their number. */
#include "fuzz/target.h"

#include "base/log.h"
#include "evidence/redecide.h"
#include "evidence/trace.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = file_of(data, size);
    failure fail = {0};
    redecided seen = {0};
    task_list list = {.length = 0};
    check_refusal(redecide_log(path, &seen, &fail), &fail);
    HOLDS(seen.same <= seen.decisions);
    check_refusal(trace_read(&list, path, &fail), &fail);
    task_list_free(&list);
    return 0;
}
