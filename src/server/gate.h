/*
 * gate.h: how many connections there may be, of all clients and of one. Inside the server room
 * only; the loop's thread alone calls.
 */
#ifndef SERVER_GATE_H
#define SERVER_GATE_H

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

/* What `new` is too much for, beside those of the server that have a place. */
connection_excess gate_excess(const connection *new);
/* True if one more request of this connection is served; else /health and its like are. */
bool gate_has_place(connection *c);

#endif
