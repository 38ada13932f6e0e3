/* fuzz_hub.c: the hub's list of a repository's files, and a choice among them: names that lead
 * nowhere else, or a refusal in words. */
#include "fuzz/target.h"

#include "base/log.h"
#include "hub/internal.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hub_listing list = {.n = 0};
    failure fail = {0};
    buffer text = {.data = text_of(data, size), .length = size};
    error_code code = hub_listing_parse(&text, "http://hub", &list, &fail);
    check_refusal(code, &fail);
    free(text.data);
    if (code != OK)
        return 0;
    for (size_t i = 0; i < list.n; i++)
        HOLDS(hub_file_is_valid(list.files[i].name));
    const hub_name name = {.repository = "a/b", .quant = "Q4_K_M"};
    size_t *chosen = NULL, n = 0;
    code = hub_choose(&list, &name, &chosen, &n, &fail);
    check_refusal(code, &fail);
    for (size_t i = 0; code == OK && i < n; i++)
        HOLDS(chosen[i] < list.n);
    if (code == OK)
        free(chosen);
    hub_listing_free(&list);
    return 0;
}
