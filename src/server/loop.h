/*
 * loop.h: the thread that waits for sockets: takes connections, within bounds, and moves them on.
 * Inside the server room only.
 *
 * One thread is enough because it only copies bytes: what computes (JSON, templates, tokens) is the
 * workers', and all counts and lists of connections are its alone. It is the thread of models at
 * other servers, too: what is passed on passes no other thread.
 */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include "server/connection.h"

/* Takes the socket, which listens, over. */
error_code loop_create(loop **out, server *s, int listen_fd, failure *fail);
/* Closes every connection. No worker may have an exchange any more. */
void loop_destroy(loop *l);

/* Descriptors that the loop needs beside those of max_connections. */
#define LOOP_RESERVE 32

#endif
