/*
 * mysql_support: an engine on a database of a test's own server, the log lines that it writes, and
 * a thread that goes on committing batches while the server is treated badly.
 *
 * Thread    the test's, but for what mysql_load_start starts.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_MYSQL_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_MYSQL_SUPPORT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/engine.h"
#include "tests/unit/storage/mariadb_support.h"

#define MYSQL_NODE_SESSION 1u

struct mysql_node {
    struct storage_config config;
    struct storage_stats stats;
    struct engine *engine; /* NULL: closed */
    struct engine_loaded loaded;
    uint64_t next_id;
    uint64_t now_ms;
    char url[400];
    size_t counts[OPERATION_TYPES]; /* what the last loading gave */
    uint64_t last_position;         /* of the queue of MYSQL_NODE_SESSION; it has no gaps */
    bool gaps;
    size_t payload_bytes; /* of all messages */
};

/* A node named `owner` on the database at `url`, closed. Its timeout is a second. */
void mysql_node_init(struct mysql_node *node, const char *owner, const char *url);

/* Opens and loads. */
enum err mysql_node_try_open(struct mysql_node *node);
void mysql_node_open(struct mysql_node *node);
void mysql_node_close(struct mysql_node *node);

enum err mysql_node_try(struct mysql_node *node, const struct operation *operations, size_t count);
void mysql_node_apply(struct mysql_node *node, const struct operation *operations, size_t count);
#define mysql_node_apply_all(node, operations) \
    mysql_node_apply(node, operations, sizeof(operations) / sizeof((operations)[0]))

/* Applies the same batch again and again until it is taken, for at most 30 s. */
void mysql_node_insist(struct mysql_node *node, const struct operation *operations, size_t count);

/* Lets the engine tend until it has nothing to do. */
void mysql_node_tend(struct mysql_node *node);

/* Makes MYSQL_NODE_SESSION. */
void mysql_node_make_session(struct mysql_node *node);

/* A message with the id of its position, and its entry in the queue of MYSQL_NODE_SESSION. */
void mysql_publish(struct operation operations[2], uint64_t position);

/* ---- a thread that commits ------------------------------------------------------------------- */

struct mysql_load_thread {
    struct mysql_node *node;
    pthread_t thread;
    size_t batch; /* publishes in one batch */
    _Atomic bool stop;
    _Atomic uint64_t committed; /* positions 1 to this one */
    _Atomic uint64_t failures;  /* of batches, which were tried again */
};

void mysql_load_start(struct mysql_load_thread *load, struct mysql_node *node, size_t batch);
/* Waits until so many more publishes are committed, for at most 30 s. */
void mysql_load_wait(struct mysql_load_thread *load, uint64_t more);
/* Waits until a batch has failed since `failures`. */
void mysql_load_wait_failure(struct mysql_load_thread *load, uint64_t failures);
void mysql_load_stop(struct mysql_load_thread *load);

/* ---- the log --------------------------------------------------------------------------------- */

/* Log lines go to a file from here on. */
void mysql_log_catch(void);
/* Gives what was logged since, and lets lines go to stderr again. Borrowed until the next call. */
const char *mysql_log_caught(void);

#endif
