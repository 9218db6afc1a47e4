/*
 * mysql_changes: what a batch comes to: for each key of each table the last word. What was put and
 * dropped again within the batch is never sent, and what is sent can be sent in any order of tables
 * and keys that suits the database.
 *
 * Owns      copies of the batch's data, as rows of SQL.
 * Thread    the caller's.
 * Errors    ERR_MEMORY.
 */
#ifndef PULSE_STORAGE_MYSQL_CHANGES_H
#define PULSE_STORAGE_MYSQL_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "storage/batch.h"
#include "storage/mysql_sql.h"

#define MYSQL_HASH_BYTES 32u

enum mysql_table {
    MYSQL_SESSIONS,      /* id */
    MYSQL_SUBSCRIPTIONS, /* id: of the session; hash: of the filter */
    MYSQL_WILLS,         /* id: of the session */
    MYSQL_INBOUND_QOS2,  /* id: of the session; number: packet id */
    MYSQL_MESSAGES,      /* id */
    MYSQL_QUEUE,         /* id: of the session; number: position; value: message */
    MYSQL_QUEUE_POPS,    /* no table: id: session; number to value: positions */
    MYSQL_RETAINED,      /* hash: of the topic */
    MYSQL_TABLES
};

enum mysql_verb { MYSQL_DROP, MYSQL_PUT, MYSQL_RELEASE };

struct mysql_change {
    uint64_t id;
    uint64_t number;
    uint8_t hash[MYSQL_HASH_BYTES];
    uint64_t value;
    uint32_t order; /* in the batch */
    uint8_t verb;   /* enum mysql_verb */
    uint8_t qos;    /* these of queue entries, whose rows are written last */
    bool retain;
    bool shared;
    bool released;
    size_t text_at; /* in `text`: the row as SQL; of a queue entry only its subscription ids */
    size_t text_len;
    size_t body_at; /* in `text`: properties and payload that are too large for a row */
    size_t body_len;
};

struct mysql_change_list {
    struct mysql_change *items; /* sorted by id, number, hash; one for each key */
    uint32_t count;
    uint32_t cap;
};

/* A session that the batch drops, at `order`; `again`: it is put again later. */
struct mysql_dropped {
    uint64_t id;
    uint32_t order;
    bool again;
};

struct mysql_changes {
    struct mysql_change_list lists[MYSQL_TABLES];
    struct mysql_dropped *dropped; /* sorted by id */
    uint32_t dropped_count;
    uint32_t dropped_cap;
    struct sql text;
    uint32_t order;
    const char *owner; /* borrowed: of new sessions */
    size_t row_max;    /* bytes that a row may have */
    uint64_t new_from; /* message ids from here on were in no batch before */
};

/* A zeroed one is empty. */
void mysql_changes_fini(struct mysql_changes *changes);

/* Forgets what it holds and walks `batch` from its start. `owner`, `row_max` and `new_from` are set
 * by the caller. */
must_check enum err mysql_changes_gather(struct mysql_changes *changes, struct batch *batch);

/* SHA-256: the key of what may be too long for one. */
void mysql_hash(struct slice bytes, uint8_t digest[MYSQL_HASH_BYTES]);

/* The key of a message's parts, if its body is too large for a row. */
void mysql_message_body_key(uint64_t message, uint8_t key[MYSQL_HASH_BYTES]);

#endif
