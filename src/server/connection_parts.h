/* connection_parts.h: between connection.c, which has a connection's states, deadlines and sending,
 * connection_read.c, which has its reading, and connection_out.c, where its state is set and an
 * answer is handed over.
 */
#ifndef SERVER_CONNECTION_PARTS_H
#define SERVER_CONNECTION_PARTS_H

#include "server/connection.h"

#define CONNECTION_READ_SIZE 65536
#define CONNECTION_STALL_MS 60000.0 /* without a byte of the answer taken */
#define CONNECTION_HEAD_MS 10000.0  /* from a head's first byte, or the connection, to its last */

/* `within_ms`: until its deadline; 0: it has none. */
void connection_await(connection *c, connection_state state, double within_ms);
/* False: the socket is closed, or takes no more just now. */
bool connection_send_out(connection *c);

/* Appends what has come; false: the connection is closed. */
bool connection_receive(connection *c);
/* Each understands as much as there is; true: there may be more to do at once. */
bool connection_read_head(connection *c);
bool connection_read_body(connection *c);
/* Tells what is wrong with what was sent, and takes no more. */
void connection_refuse(connection *c, const http_fault *fault);

#endif
