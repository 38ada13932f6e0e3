/*
 * gate.h: how many connections there may be, of all clients and of one, whichever loop has them.
 * Inside the server room only.
 */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef struct connection connection;

/* Whom a connection counts against. */
typedef struct peer {
    unsigned char
        network[8]; /* IPv4: the address; IPv6: the first 64 bits, which one customer has */
    bool is_v6;
    bool is_loopback;
    bool is_unix; /* a process of this machine, and no page */
} peer;

/* Why a connection that was taken gets no more than /health and its like. */
typedef enum connection_excess { EXCESS_NONE, EXCESS_ALL, EXCESS_PEER } connection_excess;

peer peer_of(const struct sockaddr_storage *address);

/* Connections with an open socket, by age. */
typedef struct gate {
    pthread_mutex_t lock;
    connection *oldest, *newest;
} gate;

void gate_init(gate *g);
void gate_free(gate *g); /* nobody is in it */

/* Each once for a connection, by who has it then: it is open, and whether it has a place among the
 * others is found; it has been closed. */
void gate_enter(connection *c);
void gate_leave(connection *c);
/* Its loop: true if one more request of this connection is served; else /health and its like are.
 */
bool gate_has_place(connection *c);
/* One that waits for a request, while no loop has its turn: the oldest of those without a place,
 * before others. NULL: none does. */
connection *gate_find_spare(gate *g);

#endif
