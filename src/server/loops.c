/* loops.c: the loops' life: all are made, and adopt what is theirs of models at other servers,
 * before the first one runs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "server/loop_parts.h"

static error_code open_loop(loop *l, failure *fail)
{
    error_code code = mailbox_create(&l->mailbox, fail);
    if (code != OK)
        return code;
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (l->epoll_fd < 0 || !loop_watch(l, mailbox_fd(l->mailbox), l->mailbox) ||
        (l->listen_fd >= 0 && !loop_listen(l)))
        return failure_set(fail, ERR_IO, "cannot wait for connections: %s", strerror(errno));
    return OK;
}

/* Takes the socket over, -1: none. */
static error_code add_loop(loops *all, server *s, int listen_fd, failure *fail)
{
    loop *l = calloc(1, sizeof *l);
    if (l == NULL) {
        if (listen_fd >= 0)
            close(listen_fd);
        return failure_set(fail, ERR_MEMORY, "no memory for the HTTP loop");
    }
    *l = (loop){.server = s, .all = all, .number = all->n, .epoll_fd = -1, .listen_fd = listen_fd};
    pthread_mutex_init(&l->turn, NULL);
    all->each[all->n++] = l;
    return open_loop(l, fail);
}

static error_code adopt(const loops *all, server *s, failure *fail)
{
    int epolls[HOUSE_MOST_LANES];
    for (size_t i = 0; i < all->n; i++)
        epolls[i] = all->each[i]->epoll_fd;
    return orchestra_adopt(s->orchestra, epolls, all->n, fail);
}

static error_code start(loop *l, failure *fail)
{
    int error = pthread_create(&l->thread, NULL, loop_thread, l);
    l->has_thread = error == 0;
    return error == 0
               ? OK
               : failure_set(fail, ERR_IO, "cannot start the HTTP loop: %s", strerror(error));
}

error_code loops_create(loops **out, server *s, size_t n, int listen_fd, failure *fail)
{
    loops *all = calloc(1, sizeof *all);
    if (all == NULL) {
        close(listen_fd);
        return failure_set(fail, ERR_MEMORY, "no memory for the HTTP loops");
    }
    error_code code = add_loop(all, s, listen_fd, fail);
    while (code == OK && all->n < n)
        code = add_loop(all, s, -1, fail);
    if (code == OK)
        code = adopt(all, s, fail);
    for (size_t i = 0; code == OK && i < n; i++)
        code = start(all->each[i], fail);
    if (code != OK)
        loops_destroy(all);
    else
        *out = all;
    return code;
}

void loops_stop_listening(loops *all)
{
    mailbox_stop_listening(all->each[0]->mailbox);
}

static void end_thread(loop *l)
{
    if (l->has_thread)
        mailbox_end(l->mailbox);
}

static void free_loop(loop *l)
{
    loop_stop_listening(l);
    mailbox_destroy(l->mailbox);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    pthread_mutex_destroy(&l->turn);
    free(l);
}

/* No loop is freed while another one runs: it may give it a connection. */
void loops_destroy(loops *all)
{
    if (all == NULL)
        return;
    for (size_t i = 0; i < all->n; i++)
        end_thread(all->each[i]);
    for (size_t i = 0; i < all->n; i++)
        if (all->each[i]->has_thread)
            pthread_join(all->each[i]->thread, NULL);
    for (size_t i = 0; i < all->n; i++)
        loop_close_all(all->each[i]);
    while (all->n > 0)
        free_loop(all->each[--all->n]);
    free(all);
}
