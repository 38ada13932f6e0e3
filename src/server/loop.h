/*
 * loop.h: the threads that wait for sockets, each for those of its own connections, and move them
 * on. Inside the server room only.
 *
 * One is enough where models are in this process, because it only copies bytes: what computes
 * (JSON, templates, tokens) is the workers'. Where models are at other servers the loops do the
 * work of these, too, each in a lane of its own (orchestra_adopt): what is passed on passes no
 * other thread. A connection is one loop's from its first byte to its last. The first loop takes
 * all connections, and gives each to the one that has the fewest.
 */
#ifndef SERVER_LOOP_H
#define SERVER_LOOP_H

#include "server/connection.h"

typedef struct loops loops;

/* Starts so many of them, 1 to HOUSE_MOST_LANES. Takes the socket, which listens, over. */
error_code loops_create(loops **out, server *s, size_t n, int listen_fd, failure *fail);
/* Takes no connection any more; any thread. */
void loops_stop_listening(loops *all);
/* Closes every connection. No worker may have an exchange any more. NULL too. */
void loops_destroy(loops *all);

size_t loop_lane(const loop *l);
void loop_post(connection *c); /* any thread: connection_posted will be called */
/* On the loop's thread: the connection has closed its socket; it is over, and is to be freed. */
void loop_note_closed(connection *c);
void loop_note_over(connection *c);

/* Descriptors that the loops need beside those of max_connections, and each one its own. */
#define LOOP_RESERVE 32
#define LOOP_DESCRIPTORS 4

#endif
