/* forward.c: what bench/forward.py measures with: servers that refuse what is too much for them,
 * and their clients, all on one thread, so that nothing but the router lies between a refusal and
 * the next server.
 *
 * Writes the servers' ports, reads the router's, asks, and writes a line of JSON: refusals, errors,
 * and for each refusal while an honest server had room the milliseconds until the same request was
 * at the next one.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SERVERS = 4, CAPACITY = 4, CLIENTS = 12, REQUESTS = 500, MOST = 256, BUFFER = 1 << 16 };
#define LIAR (SERVERS - 1) /* says that it is idle, and refuses nine of ten */
#define WORK_NS 10000000ll

/* A server's connection or a client's. */
typedef struct peer {
    int fd;     /* 0: none */
    int server; /* -1: a client's */
    size_t length;
    char data[BUFFER];
    int64_t due_ns; /* of the server's answer; 0: none is due */
} peer;

static peer peers[MOST];
static int listeners[SERVERS], epoll;
static int running[SERVERS];
static int asked_liar, next_question, answered, refusals, errors, n_forwards;
static int64_t refused_ns[REQUESTS]; /* 0: it was not, or there was no room */
static double forwards_ms[REQUESTS * SERVERS];

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void say(const peer *p, const char *text)
{
    size_t n = strlen(text);
    if (send(p->fd, text, n, MSG_NOSIGNAL) != (ssize_t)n)
        die("send");
}

static void add_peer(int fd, int server)
{
    int on = 1;
    size_t i = 0;
    while (i < MOST && peers[i].fd > 0)
        i++;
    if (i == MOST)
        die("connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peers[i].fd = fd;
    peers[i].server = server;
    peers[i].length = 0;
    peers[i].due_ns = 0;
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = SERVERS + i};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
}

/* ---- servers --------------------------------------------------------------------------------- */

static const char models[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 28\r\n\r\n{\"object\":\"list\",\"data\":[ ]}";
static const char refused[] =
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    "X-Queue-Length: 0\r\nContent-Length: 28\r\n\r\n"
    "{\"error\":{\"message\":\"busy\"}}";
static const char well[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 95\r\n\r\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"ok\"},\"finish_reason\":\"stop\"}]}"
    "\n\ndata: [DONE]\n\n";

static bool has_room(void)
{
    for (int i = 0; i < SERVERS; i++)
        if (i != LIAR && running[i] < CAPACITY)
            return true;
    return false;
}

static void take_request(peer *p, const char *request)
{
    if (strncmp(request, "GET", 3) == 0) {
        say(p, models);
        return;
    }
    int question = atoi(strstr(request, "question ") + strlen("question "));
    if (refused_ns[question] > 0)
        forwards_ms[n_forwards++] = (double)(now_ns() - refused_ns[question]) / 1e6;
    refused_ns[question] = 0;
    bool lies = p->server == LIAR && ++asked_liar % 10 != 0;
    if (running[p->server] < CAPACITY && !lies) {
        running[p->server]++;
        p->due_ns = now_ns() + WORK_NS;
        return;
    }
    bool counts = has_room();
    say(p, refused);
    refusals++;
    refused_ns[question] = counts ? now_ns() : 0;
}

static void answer_due(void)
{
    for (size_t i = 0; i < MOST; i++) {
        peer *p = &peers[i];
        if (p->fd <= 0 || p->due_ns == 0 || now_ns() < p->due_ns)
            continue;
        p->due_ns = 0;
        running[p->server]--;
        say(p, well);
    }
}

/* ---- clients --------------------------------------------------------------------------------- */

static void ask(const peer *p)
{
    char body[256], text[512];
    if (next_question == REQUESTS)
        return;
    int n = snprintf(body, sizeof body,
                     "{\"model\":\"large\",\"max_tokens\":4,\"messages\":[{\"role\":\"user\","
                     "\"content\":\"question %d\"}]}",
                     next_question++);
    snprintf(text, sizeof text,
             "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
             "application/json\r\nContent-Length: %d\r\n\r\n%s",
             n, body);
    say(p, text);
}

static void take_answer(const peer *p, const char *answer)
{
    errors += strncmp(answer, "HTTP/1.1 200", 12) != 0;
    answered++;
    ask(p);
}

/* ---- all ------------------------------------------------------------------------------------- */

/* Each whole message that is there. */
static void take_messages(peer *p)
{
    for (;;) {
        p->data[p->length] = '\0';
        const char *end = strstr(p->data, "\r\n\r\n");
        const char *said = strcasestr(p->data, "\r\ncontent-length:");
        if (end == NULL)
            return;
        size_t whole = (size_t)(end + 4 - p->data) +
                       (said != NULL && said < end ? strtoul(said + 17, NULL, 10) : 0);
        if (p->length < whole)
            return;
        if (p->server < 0)
            take_answer(p, p->data);
        else
            take_request(p, p->data);
        p->length -= whole;
        memmove(p->data, p->data + whole, p->length);
    }
}

static void receive(peer *p)
{
    ssize_t n = recv(p->fd, p->data + p->length, BUFFER - 1 - p->length, 0);
    if (n > 0) {
        p->length += (size_t)n;
        take_messages(p);
        return;
    }
    close(p->fd);
    if (p->due_ns > 0)
        running[p->server]--;
    p->fd = 0;
}

static int listen_anywhere(int server)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, size) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) != 0)
        die("listen");
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)server};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
    listeners[server] = fd;
    return ntohs(a.sin_port);
}

static void connect_client(uint16_t port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    add_peer(fd, -1);
}

static void wait_once(int most_ms)
{
    struct epoll_event events[64];
    int n = epoll_wait(epoll, events, 64, most_ms);
    for (int i = 0; i < n; i++) {
        uint64_t of = events[i].data.u64;
        if (of < SERVERS)
            add_peer(accept(listeners[of], NULL, NULL), (int)of);
        else
            receive(&peers[of - SERVERS]);
    }
    answer_due();
}

/* The router asks the servers for their health while it starts. */
static uint16_t read_port(void)
{
    struct epoll_event e = {.events = EPOLLIN, .data.u64 = UINT64_MAX};
    struct epoll_event events[64];
    unsigned port = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e);
    for (bool told = false; !told;) {
        int n = epoll_wait(epoll, events, 1, -1);
        told = n == 1 && events[0].data.u64 == UINT64_MAX;
        if (!told)
            wait_once(0);
    }
    epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    if (scanf("%u", &port) != 1 || port > UINT16_MAX)
        die("port");
    return (uint16_t)port;
}

int main(void)
{
    epoll = epoll_create1(0);
    for (int i = 0; i < SERVERS; i++)
        printf("%d%c", listen_anywhere(i), i + 1 < SERVERS ? ' ' : '\n');
    fflush(stdout);
    uint16_t port = read_port();
    for (int i = 0; i < CLIENTS; i++)
        connect_client(port);
    for (size_t i = 0; i < MOST; i++)
        if (peers[i].fd > 0 && peers[i].server < 0)
            ask(&peers[i]);
    while (answered < REQUESTS)
        wait_once(1);
    printf("{\"refusals\": %d, \"errors\": %d, \"forwards_ms\": [", refusals, errors);
    for (int i = 0; i < n_forwards; i++)
        printf("%s%.4f", i > 0 ? ", " : "", forwards_ms[i]);
    printf("]}\n");
    return 0;
}
