/*
 * mysql_packet: statements on their way to the server, many in one packet: a transaction of some
 * hundred rows takes one round trip. Rows of one table are gathered into statements with many rows,
 * statements into packets that the server takes.
 *
 * Owns      the packet's buffer. The connection is borrowed.
 * Thread    one at a time.
 * Errors    kept in `err`, the first one; after it nothing is sent until mysql_packet_begin.
 */
#ifndef PULSE_STORAGE_MYSQL_PACKET_H
#define PULSE_STORAGE_MYSQL_PACKET_H

#include "storage/mysql_connection.h"

/* Rows in one statement: more gain nothing (docs/mysql.md). */
#define MYSQL_ROWS_MAX 500u

/* A statement over many rows: head row separator row ... tail. Constant. */
struct mysql_statement {
    const char *head;
    const char *separator;
    const char *tail;
};

struct mysql_packet {
    struct mysql_connection *connection;
    struct sql sql;
    enum err err;
    const struct mysql_statement *open; /* that is being filled; NULL: none is */
    unsigned rows;
};

void mysql_packet_begin(struct mysql_packet *packet, struct mysql_connection *connection);
void mysql_packet_fini(struct mysql_packet *packet);

/* A whole statement of ours. */
void mysql_packet_add(struct mysql_packet *packet, const char *statement);

/* A row of `statement`, which goes on as long as no other is added. */
void mysql_packet_row(struct mysql_packet *packet, const struct mysql_statement *statement,
                      const char *row, size_t row_len);

/* Sends what is left, and says how all went. */
must_check enum err mysql_packet_end(struct mysql_packet *packet);

/* The most bytes that one row may have, all in all. */
size_t mysql_packet_row_max(const struct mysql_connection *connection);

#endif
