/*
 * descriptors.h: what libcurl waits for, in an epoll of its own or in one of somebody who waits for
 * others as well. Inside base only.
 *
 * A connection that is kept for later requests stays watched while nobody wants to know of it: to
 * take it off and put it back would be two calls of the system for each request.
 */
#ifndef BASE_DESCRIPTORS_H
#define BASE_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "base/failure.h"

typedef struct watched_descriptor {
    uint32_t wanted;    /* events; 0: none just now */
    uint32_t set;       /* what epoll waits for; 0: it does not */
    bool is_connection; /* its end is told: descriptors_closed */
} watched_descriptor;

typedef struct descriptors {
    int epoll;
    watched_descriptor *all; /* by number */
    size_t n;
} descriptors;

error_code descriptors_init(descriptors *d); /* to be freed anyway */
void descriptors_free(descriptors *d);       /* closes the epoll, or gives the other's back */

/* From now on they are in that epoll, which may be closed at any time. ERR_IO: they stay where they
 * were. */
error_code descriptors_move(descriptors *d, int epoll);

/* A connection's was opened; false: no memory. And it is about to be closed. */
bool descriptors_opened(descriptors *d, int fd);
void descriptors_closed(descriptors *d, int fd);

/* Which events are wanted of it; 0: none. False: there is no memory for that. */
bool descriptors_want(descriptors *d, int fd, uint32_t events);

/* The data of an event are an odd number, which no address is. */
uint64_t descriptors_data(int fd);
/* The descriptor of an event; -1: nobody wants to know of it. */
int descriptors_take(descriptors *d, const struct epoll_event *event);

#endif
