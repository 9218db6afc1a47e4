/*
 * mysql_leftovers: rows that are of no use to anybody, as loading finds them: to be removed in the
 * background (mysql_tend.h).
 *
 * Owns      its ids.
 * Thread    one at a time.
 * Errors    as mysql_connection.h, ERR_MEMORY.
 */
#ifndef PULSE_STORAGE_MYSQL_LEFTOVERS_H
#define PULSE_STORAGE_MYSQL_LEFTOVERS_H

#include "storage/mysql_connection.h"
#include "storage/mysql_ids.h"

/* A zeroed one is empty. */
struct mysql_leftovers {
    struct mysql_ids messages; /* of this owner, that nothing refers to */
    struct mysql_ids sessions; /* that aren't among ours, and had rows where ours have theirs */
};

void mysql_leftovers_fini(struct mysql_leftovers *leftovers);

/* Makes sets of what was added, and takes out the messages that sessions of other owners than
 * `owner` refer to: they took them over. In the transaction that found them. */
must_check enum err mysql_leftovers_settle(struct mysql_leftovers *leftovers,
                                           struct mysql_connection *connection, const char *owner);

#endif
