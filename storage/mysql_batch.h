/*
 * mysql_batch: one batch as one transaction.
 *
 * All nodes change tables in the same order, and rows of a table in the order of their keys, so
 * that they wait for one another and don't deadlock. Where that is not enough (gaps, foreign
 * programs), a transaction that the server ended is tried again.
 *
 * Owns      the room for what a batch comes to.
 * Thread    one at a time.
 * Errors    as mysql_connection.h. After one nothing of the batch counts, or, when the connection
 *           was lost with the answer to COMMIT, perhaps all of it: it is applied again.
 */
#ifndef PULSE_STORAGE_MYSQL_BATCH_H
#define PULSE_STORAGE_MYSQL_BATCH_H

#include "storage/batch.h"
#include "storage/mysql_changes.h"
#include "storage/mysql_packet.h"

struct mysql_batch {
    struct mysql_changes changes;
    struct mysql_packet packet;
    struct sql row;
};

/* A zeroed one is ready. */
void mysql_batch_fini(struct mysql_batch *batch);

/* What doesn't come from the operations. */
struct mysql_batch_frame {
    const char *owner;
    uint64_t new_from; /* message ids from here on were in no batch before */
    uint64_t id_range; /* whose row gets `last_seen_ms`, if that is not 0 */
    uint64_t last_seen_ms;
};

/* Commits `operations` on `connection`, which is open. */
must_check enum err mysql_batch_apply(struct mysql_batch *batch,
                                      struct mysql_connection *connection, struct batch *operations,
                                      const struct mysql_batch_frame *frame);

#endif
