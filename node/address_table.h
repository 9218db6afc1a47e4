/*
 * address_table: how many connections each address has, and how fast it makes new ones, over all
 * workers. An address is an IPv4 address or a /64 of IPv6, which is what one subscriber gets; unix
 * sockets and exempt networks are not counted.
 *
 * Owns      its entries: at most limits.entries_max, some 80 bytes each, taken as needed.
 * Thread    any, at the same time: each part of the table has its mutex, a leaf, held for a look-up
 *           (when a part grows or is swept, for some 100 us).
 * Errors    create: ERR_SYNTAX with one line for people, ERR_MEMORY. A table that is full, or gets
 *           no memory, first forgets addresses that have no connection and have made none for a
 *           while. If there are none such, an address that it doesn't know is let in, uncounted:
 *           refusing it would let whoever has many addresses lock all others out, and the limit of
 *           connections in all still holds. With entries_max of at least that limit, and some for
 *           those that are gone, it does not happen.
 * Not here  metrics and log lines: the caller's, by the verdict.
 */
#ifndef PULSE_NODE_ADDRESS_TABLE_H
#define PULSE_NODE_ADDRESS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"
#include "node/rate.h"

#define ADDRESS_ENTRIES_DEFAULT 65536

struct address_limits {
    uint32_t connections_max; /* of one address at the same time; 0: no limit */
    uint32_t entries_max;     /* addresses that are remembered; 0: ADDRESS_ENTRIES_DEFAULT */
    struct rate_limit rate;   /* new connections of one address; a burst of at least 1 */
};

enum address_verdict {
    ADDRESS_COUNTED,   /* welcome; address_table_leave must follow when the connection is gone */
    ADDRESS_UNCOUNTED, /* welcome, and address_table_leave must not be called */
    ADDRESS_TOO_MANY,  /* refused: it has connections_max */
    ADDRESS_TOO_FAST   /* refused: over its rate. Refused attempts do not count. */
};

struct address_table;

/* `exempt`: see network_list.h. End the table with address_table_destroy. */
must_check enum err address_table_create(const struct address_limits *limits, const char *exempt,
                                         struct address_table **out, struct text *error);
/* Takes `table`; NULL is allowed. Connections need not have left. */
void address_table_destroy(struct address_table *table);

/* A connection of `address` has come. */
enum address_verdict address_table_enter(struct address_table *table,
                                         const struct sockaddr *address, uint64_t now_ms);

/* Is it one that is never counted: a unix socket, or of an exempt network? */
bool address_table_exempts(const struct address_table *table, const struct sockaddr *address);

/* A connection whose verdict was ADDRESS_COUNTED is gone. The same address (its port may differ).
 */
void address_table_leave(struct address_table *table, const struct sockaddr *address);

/* Addresses that are remembered now; for metrics and tests. */
size_t address_table_count(struct address_table *table);

#endif
