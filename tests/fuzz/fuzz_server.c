/* fuzz_server.c: bytes on a socket of a server that runs, its two models the demo pair's: they are
 * answered or the connection is closed, and the server still says that it is well. */
#include "fuzz/target.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "kernel/kernel.h"
#include "server/server.h"

#define SOCKET "/tmp/a-io-fuzz-%d.sock"
#define PATIENCE_MS 50 /* what a request that is not whole is waited for */
/* One length in so many is waited for: of others the client has gone, which ends their work. */
#define WAITED_FOR 4

static char path[64];
static server *door;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    failure fail;
    config *settings;
    orchestra *players;
    log_set_level(LOG_ERROR);
    snprintf(path, sizeof path, SOCKET, (int)getpid());
    HOLDS(kernel_init(NULL, &fail) == OK);
    HOLDS(config_load(&settings, "config/demo.yaml", &fail) == OK);
    HOLDS(orchestra_create(&players, settings, (house_progress){.call = NULL}, &fail) == OK);
    const server_options options = {.host = "localhost",
                                    .socket = path,
                                    .max_body_bytes = 1 << 20,
                                    .max_connections = 64,
                                    .defaults = {.max_tokens = 1}};
    HOLDS(server_create(&door, &options, &fail) == OK);
    HOLDS(server_start(door, players, &fail) == OK);
    return 0;
}

static int dial(void)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(to.sun_path, sizeof to.sun_path, "%s", path);
    HOLDS(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* Bytes that come until the end, or until nothing comes. */
static size_t read_all(int fd, char *into, size_t size, int within_ms)
{
    size_t n = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    while (n < size && poll(&ready, 1, within_ms) > 0) {
        ssize_t got = recv(fd, into + n, size - n, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    return n;
}

static void expect_well(void)
{
    static const char health[] =
        "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    char answer[4096];
    int fd = dial();
    HOLDS(send(fd, health, sizeof health - 1, MSG_NOSIGNAL) == (ssize_t)sizeof health - 1);
    size_t n = read_all(fd, answer, sizeof answer - 1, 10000);
    answer[n] = '\0';
    HOLDS(strncmp(answer, "HTTP/1.1 200", 12) == 0);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned rounds;
    char answer[1 << 16];
    int fd = dial();
    send(fd, data, size, MSG_NOSIGNAL);
    bool stays = size % WAITED_FOR == 0;
    if (!stays)
        shutdown(fd, SHUT_WR);
    read_all(fd, answer, sizeof answer, PATIENCE_MS);
    close(fd);
    if (rounds++ % 16 == 0)
        expect_well();
    return 0;
}
