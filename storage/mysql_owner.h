/*
 * mysql_owner: this process as the one writer of its owner's rows in a database that it may share
 * with other nodes.
 *
 * A lock by name, held by the connection that commits, keeps out a second process with the same
 * owner. It also keeps a connection of ours that was given up from committing late: the lock comes
 * free only when the server has ended it.
 *
 * Ids of sessions and messages are unique over all nodes, because each process takes a range of
 * 2^42 of them when it opens the store: enough for 50,000 new ids a second for two years. When the
 * range is used up, the process goes on in the next one if that is still free. If another node has
 * it, batches are refused with ERR_FULL, after warnings while the last quarter is used: a restart
 * takes a new range. There are 2^22 ranges, that is, starts of nodes.
 *
 * Thread    one at a time.
 * Errors    as mysql_connection.h. ERR_LOCKED: another process has the owner's rows, or had them
 *           since we lost the connection; ERR_FULL: no more ids.
 */
#ifndef PULSE_STORAGE_MYSQL_OWNER_H
#define PULSE_STORAGE_MYSQL_OWNER_H

#include <stdint.h>

#include "storage/mysql_connection.h"

#define MYSQL_RANGE_BITS 42

struct mysql_owner {
    const char *name;      /* borrowed */
    uint64_t range;        /* taken when the store was opened: names this process in the database */
    uint64_t ranges;       /* in a row, from `range` on */
    uint64_t last_seen_ms; /* of the row of an earlier process, then of ours */
    uint64_t next_id;      /* below are ids that batches may have used before */
    uint64_t connection_id;
    bool warned;
};

/* Takes the lock and a range. `now_ms` is the wall clock. */
must_check enum err mysql_owner_enter(struct mysql_owner *owner, const char *name,
                                      struct mysql_connection *connection, uint64_t now_ms);

/* Sessions of other owners in the same database. */
struct mysql_strangers {
    char owners[200]; /* their names, with commas, for people; cut with "..." */
    bool cut;
    uint64_t sessions;
};

/* Fills `strangers`, which is zeroed. */
must_check enum err mysql_owner_find_strangers(const struct mysql_owner *owner,
                                               struct mysql_connection *connection,
                                               struct mysql_strangers *strangers);

/* After `connection` was made anew: takes the lock again, and sees that nobody had it meanwhile.
 * ERR_UNAVAILABLE: the server hasn't noticed yet that our earlier connection is gone. */
must_check enum err mysql_owner_enter_again(struct mysql_owner *owner,
                                            struct mysql_connection *connection);

/* Before a batch whose ids are below `next_id`: sees that they are ours. */
must_check enum err mysql_owner_reserve(struct mysql_owner *owner,
                                        struct mysql_connection *connection, uint64_t next_id);

#endif
