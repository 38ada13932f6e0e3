/*
 * mailbox.h: what other threads tell a loop's: that a connection is its, that one has signals, that
 * it is to stop listening, that it is to end. Inside the server room only.
 */
#ifndef SERVER_MAILBOX_H
#define SERVER_MAILBOX_H

#include "server/connection.h"

typedef struct mailbox mailbox;

error_code mailbox_create(mailbox **out, failure *fail);
void mailbox_destroy(mailbox *m); /* NULL too; nobody posts any more */

/* Any thread. */
void mailbox_post(mailbox *m, connection *c); /* connection_posted will be called */
void mailbox_give(mailbox *m, connection *c); /* it is new, and in no list */
void mailbox_stop_listening(mailbox *m);
void mailbox_end(mailbox *m);

/* ---- the loop's thread ----------------------------------------------------------------------- */

typedef struct mailbox_orders {
    bool stops_listening, ends;
} mailbox_orders;

int mailbox_fd(const mailbox *m); /* readable: there is something */
/* Before each wait: empties the descriptor; what others post from now on makes it readable anew. */
mailbox_orders mailbox_open(mailbox *m);
/* The next of those that were posted, or NULL. */
connection *mailbox_take(mailbox *m);
connection *mailbox_take_given(mailbox *m); /* likewise */
/* A signal of an exchange that has ended may still be there. */
void mailbox_forget(mailbox *m, connection *gone);

#endif
