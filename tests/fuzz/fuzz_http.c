/* fuzz_http.c: bytes of a client's socket, whole and in pieces of a size that the first byte gives:
 * the same head and body, or the same fault. */
#include "fuzz/target.h"

#include "base/log.h"
#include "fuzz/http_reading.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_set_level(LOG_ERROR);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *text = (const char *)data + 1;
    outcome whole = read_request(text, size - 1, size - 1);
    outcome cut = read_request(text, size - 1, piece_of(data[0], 40, size - 1));
    HOLDS(memcmp(&whole, &cut, sizeof whole) == 0);
    HOLDS(whole.status == 0 || (whole.status >= 400 && whole.status <= 505));
    return 0;
}
