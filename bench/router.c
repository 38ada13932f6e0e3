/* router.c: what bench/router.py measures with, on one thread each.
 *
 *   router upstream PORT            a server in OpenAI's form with canned answers: max_tokens
 * events, one each `seed` milliseconds (0: all at once), each holding when it was sent; or one JSON
 * body router load PORT CONNECTIONS SECONDS BYTES TOKENS GAP STREAM keeps that many requests of
 * that many bytes in flight; prints a line of JSON
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1024, BUFFER = 1 << 20, SAMPLES = 1 << 22 };

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void quick(int fd)
{
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static struct sockaddr_in address_of(const char *port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(port)),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* One connection, of either side. */
typedef struct peer {
    int fd;
    char *data; /* what came and is not done with, BUFFER bytes */
    size_t length;
    /* The server's: an answer under way. */
    int left, gap_ms;
    int64_t next_ns;
    /* The client's. */
    size_t sent;
    int64_t began_ns, first_ns;
    size_t seen; /* of data: bytes that were looked through for times */
    bool is_head_done, is_chunked;
    size_t body, body_length;
} peer;

static void send_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t some = send(fd, data, n, MSG_NOSIGNAL);
        if (some > 0) {
            data += some;
            n -= (size_t)some;
        } else if (errno != EAGAIN && errno != EINTR)
            return;
    }
}

/* ---- upstream -------------------------------------------------------------------------------- */

static size_t number_after(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at != NULL ? strtoul(at + strlen(key) + strspn(at + strlen(key), " :"), NULL, 10) : 0;
}

static int add_chunk(char *out, const char *event)
{
    return sprintf(out, "%zx\r\n%s\r\n", strlen(event), event);
}

static int add_token(char *out)
{
    char event[256];
    snprintf(
        event, sizeof event,
        "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
        "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
        "T%lld\"},\"finish_reason\":null}]}\n\n",
        (long long)now_ns());
    return add_chunk(out, event);
}

static int add_end(char *out)
{
    return add_chunk(
               out,
               "data: "
               "{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
               "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":"
               "{\"prompt_tokens\":9,\"completion_tokens\":9,\"total_tokens\":18}}\n\n"
               "data: [DONE]\n\n") +
           sprintf(out + strlen(out), "0\r\n\r\n");
}

/* Writes the tokens whose time has come. */
static void go_on(peer *p)
{
    static char out[1 << 16];
    int n = 0;
    while (p->left > 0 && now_ns() >= p->next_ns && n < (1 << 16) - 2048) {
        n += add_token(out + n);
        p->next_ns += p->gap_ms * 1000000ll;
        if (--p->left == 0)
            n += add_end(out + n);
    }
    send_all(p->fd, out, (size_t)n);
}

static void answer_whole(peer *p, int tokens)
{
    static char body[1 << 16], out[1 << 17];
    int n = sprintf(
        body,
        "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":"
        "[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"");
    for (int i = 0; i < tokens; i++)
        n += sprintf(body + n, " T%lld", (long long)now_ns());
    n += sprintf(body + n, "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":9,"
                           "\"completion_tokens\":9,\"total_tokens\":18}}");
    int all = sprintf(
        out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", n,
        body);
    send_all(p->fd, out, (size_t)all);
}

static void answer(peer *p, const char *head, char *body)
{
    static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n";
    static const char models[] =
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 54\r\n\r\n"
        "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}";
    if (strncmp(head, "GET", 3) == 0) {
        send_all(p->fd, models, sizeof models - 1);
        return;
    }
    int tokens = (int)number_after(body, "\"max_tokens\"");
    tokens = tokens < 1 ? 1 : tokens > 512 ? 512 : tokens;
    const char *streams = strstr(body, "\"stream\"");
    if (streams == NULL || streams[8 + strspn(streams + 8, ": ")] != 't') {
        answer_whole(p, tokens);
        return;
    }
    send_all(p->fd, stream, sizeof stream - 1);
    p->left = tokens;
    p->gap_ms = (int)number_after(body, "\"seed\"");
    p->next_ns = now_ns();
    go_on(p);
}

/* Answers each whole request that is there. */
static void serve(peer *p)
{
    for (;;) {
        p->data[p->length] = '\0';
        char *end = strstr(p->data, "\r\n\r\n");
        if (end == NULL)
            return;
        *end = '\0'; /* the head alone is searched */
        const char *said = strcasestr(p->data, "\r\ncontent-length:");
        size_t body = said != NULL ? strtoul(said + 17, NULL, 10) : 0;
        bool is_chunked = strcasestr(p->data, "\r\ntransfer-encoding: chunked") != NULL;
        *end = '\r';
        if (is_chunked && strstr(end, "\r\n0\r\n\r\n") == NULL)
            return;
        size_t whole = is_chunked ? p->length : (size_t)(end + 4 - p->data) + body;
        if (p->length < whole)
            return;
        char kept = p->data[whole];
        p->data[whole] = '\0';
        answer(p, p->data, end + 4);
        p->data[whole] = kept;
        p->length -= whole;
        memmove(p->data, p->data + whole, p->length);
    }
}

static int listen_on(const char *port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in a = address_of(port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 1024) != 0)
        die("listen");
    return fd;
}

static void accept_all(int epoll, int listener, peer *peers)
{
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        size_t i = 1;
        while (i < MOST && peers[i].fd > 0)
            i++;
        if (i == MOST) {
            close(fd);
            continue;
        }
        quick(fd);
        peers[i] = (peer){.fd = fd, .data = peers[i].data != NULL ? peers[i].data : malloc(BUFFER)};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd,
                  &(struct epoll_event){.events = EPOLLIN, .data.u64 = i});
    }
}

static bool take(peer *p)
{
    for (;;) {
        ssize_t n = recv(p->fd, p->data + p->length, BUFFER - 1 - p->length, 0);
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        p->length += (size_t)n;
    }
}

static void be_upstream(const char *port)
{
    static peer peers[MOST];
    int epoll = epoll_create1(0), listener = listen_on(port);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        struct epoll_event events[64];
        bool has_more = false;
        for (size_t i = 1; i < MOST; i++)
            has_more |= peers[i].fd > 0 && peers[i].left > 0;
        int n = epoll_wait(epoll, events, 64, has_more ? 1 : -1);
        for (int e = 0; e < n; e++) {
            peer *p = &peers[events[e].data.u64];
            if (events[e].data.u64 == 0)
                accept_all(epoll, listener, peers);
            else if (!take(p)) {
                close(p->fd);
                p->fd = 0;
            } else
                serve(p);
        }
        for (size_t i = 1; has_more && i < MOST; i++)
            if (peers[i].fd > 0 && peers[i].left > 0)
                go_on(&peers[i]);
    }
}

/* ---- load ------------------------------------------------------------------------------------ */

typedef struct series {
    float *at; /* microseconds */
    size_t n;
} series;

static series firsts, wholes, transits;

static void add(series *s, int64_t ns)
{
    if (s->n < SAMPLES)
        s->at[s->n++] = (float)ns / 1e3f;
}

static int by_value(const void *a, const void *b)
{
    const float *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print(const char *name, series *s)
{
    qsort(s->at, s->n, sizeof *s->at, by_value);
    double p50 = s->n > 0 ? (double)s->at[s->n / 2] : 0;
    double p99 = s->n > 0 ? (double)s->at[s->n * 99 / 100] : 0;
    printf(", \"%s_p50_us\": %.1f, \"%s_p99_us\": %.1f", name, p50, name, p99);
}

static char *request;
static size_t request_length;
static int64_t completed, failed;

static void connect_peer(int epoll, peer *p, size_t i, const char *port)
{
    struct sockaddr_in a = address_of(port);
    if (p->fd > 0)
        close(p->fd);
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(p->fd, (struct sockaddr *)&a, sizeof a) != 0)
        die("connect");
    quick(p->fd);
    epoll_ctl(epoll, EPOLL_CTL_ADD, p->fd, &(struct epoll_event){.events = EPOLLIN, .data.u64 = i});
}

static void ask(peer *p)
{
    p->length = p->seen = 0;
    p->is_head_done = false;
    p->first_ns = 0;
    p->began_ns = now_ns();
    send_all(p->fd, request, request_length);
}

/* How long ago what stands in the answer was sent. */
static void read_times(peer *p, int64_t now)
{
    for (;;) {
        const char *at = strstr(p->data + p->seen, " T");
        if (at == NULL || strspn(at + 2, "0123456789") < 8 ||
            at[2 + strspn(at + 2, "0123456789")] == '\0')
            return;
        if (p->first_ns == 0)
            add(&firsts, now - p->began_ns);
        p->first_ns = now;
        add(&transits, now - strtoll(at + 2, NULL, 10));
        p->seen = (size_t)(at + 2 - p->data);
    }
}

static bool is_whole(peer *p)
{
    char *end = strstr(p->data, "\r\n\r\n");
    if (end == NULL)
        return false;
    if (!p->is_head_done) {
        const char *said = strcasestr(p->data, "\r\ncontent-length:");
        p->is_head_done = true;
        p->body = (size_t)(end + 4 - p->data);
        p->is_chunked = said == NULL || said > end;
        p->body_length = p->is_chunked ? 0 : strtoul(said + 17, NULL, 10);
        failed += strncmp(p->data + 9, "200", 3) != 0;
    }
    return p->is_chunked
               ? p->length >= p->body + 5 && memcmp(p->data + p->length - 5, "0\r\n\r\n", 5) == 0
               : p->length >= p->body + p->body_length;
}

static void take_answer(int epoll, peer *p, size_t i, const char *port)
{
    ssize_t n = recv(p->fd, p->data + p->length, BUFFER - 1 - p->length, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        failed++;
        connect_peer(epoll, p, i, port);
        ask(p);
        return;
    }
    int64_t now = now_ns();
    p->length += (size_t)n;
    p->data[p->length] = '\0';
    read_times(p, now);
    if (!is_whole(p))
        return;
    completed++;
    add(&wholes, now - p->began_ns);
    ask(p);
}

static void write_request(const char *port, size_t bytes, const char *tokens, const char *gap,
                          bool streams)
{
    char *body = malloc(bytes + 512);
    int n = sprintf(
        body,
        "{\"model\": \"m\", \"max_tokens\": %s, \"seed\": %s, \"temperature\": 0, \"stream\": %s, "
        "\"messages\": [{\"role\": \"user\", \"content\": \"",
        tokens, gap, streams ? "true" : "false");
    for (size_t i = 0; i < bytes; i++)
        body[n++] = "the quick brown fox "[i % 20];
    n += sprintf(body + n, "\"}]}");
    request = malloc((size_t)n + 512);
    request_length = (size_t)sprintf(request,
                                     "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n"
                                     "Content-Type: application/json\r\nAuthorization: Bearer "
                                     "sk-Router-Bench-1234567890\r\nContent-Length: %d\r\n\r\n%s",
                                     port, n, body);
    free(body);
}

static void be_load(char **a)
{
    static peer peers[MOST];
    size_t n = strtoul(a[1], NULL, 10);
    int epoll = epoll_create1(0);
    firsts.at = malloc(SAMPLES * sizeof(float));
    wholes.at = malloc(SAMPLES * sizeof(float));
    transits.at = malloc(SAMPLES * sizeof(float));
    write_request(a[0], strtoul(a[3], NULL, 10), a[4], a[5], a[6][0] == '1');
    for (size_t i = 0; i < n && i < MOST; i++) {
        peers[i].data = malloc(BUFFER);
        connect_peer(epoll, &peers[i], i, a[0]);
        ask(&peers[i]);
    }
    int64_t start = now_ns(), end = start + (int64_t)(atof(a[2]) * 1e9);
    while (now_ns() < end) {
        struct epoll_event events[64];
        int found = epoll_wait(epoll, events, 64, 100);
        for (int e = 0; e < found; e++)
            take_answer(epoll, &peers[events[e].data.u64], events[e].data.u64, a[0]);
    }
    printf("{\"completed\": %lld, \"failed\": %lld, \"per_second\": %.1f", (long long)completed,
           (long long)failed, (double)completed * 1e9 / (double)(now_ns() - start));
    print("first", &firsts);
    print("whole", &wholes);
    print("transit", &transits);
    printf("}\n");
}

int main(int n, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    if (n == 3 && strcmp(arguments[1], "upstream") == 0)
        be_upstream(arguments[2]);
    else if (n == 9 && strcmp(arguments[1], "load") == 0)
        be_load(arguments + 2);
    else
        fprintf(stderr, "router upstream PORT | router load PORT CONNECTIONS SECONDS BYTES TOKENS "
                        "GAP STREAM\n");
    return n < 3 ? 2 : 0;
}
