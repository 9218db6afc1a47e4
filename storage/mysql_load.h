/*
 * mysql_load: everything that an owner has in the database, as operations.
 *
 * Each table is read in the order of its primary key, by ranges of ids, and streamed: the server
 * sorts nothing and nobody holds a table in memory. Only the ids of sessions and of referenced
 * messages are kept while it runs. All is read in one snapshot.
 *
 * Thread    one at a time.
 * Errors    as mysql_connection.h, ERR_MEMORY, or the sink's. Rows that can't be ours (somebody had
 *           his hands in the tables) are left out, with a warning.
 */
#ifndef PULSE_STORAGE_MYSQL_LOAD_H
#define PULSE_STORAGE_MYSQL_LOAD_H

#include "storage/mysql_connection.h"
#include "storage/mysql_leftovers.h"
#include "storage/operation.h"

/* Gives what `owner` has to `sink`, and fills `leftovers`, which is zeroed. */
must_check enum err mysql_load(struct mysql_connection *connection, const char *owner,
                               const struct operation_sink *sink,
                               struct mysql_leftovers *leftovers);

#endif
