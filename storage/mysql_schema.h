/*
 * mysql_schema: the tables of the store in a database, their version, and the locks by name that
 * keep nodes from getting into each other's way. docs/mysql.md shows the tables to operators.
 *
 * Thread    the connection's.
 * Errors    as mysql_connection.h; ERR_VERSION: made by a newer Pulse; ERR_LOCKED.
 */
#ifndef PULSE_STORAGE_MYSQL_SCHEMA_H
#define PULSE_STORAGE_MYSQL_SCHEMA_H

#include <stdbool.h>

#include "storage/mysql_connection.h"

#define MYSQL_SCHEMA_VERSION 1u

/* Makes the tables, or brings those of an older version up to date; one node at a time. */
must_check enum err mysql_schema_prepare(struct mysql_connection *connection);

/* Says in the log what of the server's settings gives away what commit policy `strict` promises. */
must_check enum err mysql_schema_check_durability(struct mysql_connection *connection);

/*
 * Locks by name live as long as the connection. Names are those of the whole server, at most 64
 * bytes: so they are made of a hash of the database and of `what`.
 *
 * Takes a lock, waiting for at most `wait_ms`. ERR_LOCKED: another connection has it.
 */
must_check enum err mysql_lock_take(struct mysql_connection *connection, const char *what,
                                    uint64_t wait_ms);
must_check enum err mysql_lock_release(struct mysql_connection *connection, const char *what);

/* The connection that has a lock, 0: none. */
must_check enum err mysql_lock_holder(struct mysql_connection *connection, const char *what,
                                      uint64_t *id);

#endif
