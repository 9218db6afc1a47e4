/*
 * config: what storage is told by the configuration. Strings are borrowed for the life of the
 * storage.
 */
#ifndef PULSE_STORAGE_CONFIG_H
#define PULSE_STORAGE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

/* X(ENUM_CONSTANT, "word") */
#define STORAGE_ENGINES(X)      \
    X(STORAGE_MEMORY, "memory") \
    X(STORAGE_WAL, "wal")       \
    X(STORAGE_SQLITE, "sqlite") \
    X(STORAGE_MYSQL, "mysql")

/* When something counts as held (ARCHITECTURE.md, section 1). */
#define STORAGE_POLICIES(X)        \
    X(COMMIT_STRICT, "strict")     \
    X(COMMIT_BALANCED, "balanced") \
    X(COMMIT_FAST, "fast")

/* What a WAL with damage in the middle does at start. */
#define STORAGE_DAMAGES(X)             \
    X(DAMAGE_QUARANTINE, "quarantine") \
    X(DAMAGE_REFUSE, "refuse")

/* How the connection to MySQL is encrypted. */
#define STORAGE_MYSQL_TLS(X)          \
    X(MYSQL_TLS_OFF, "off")           \
    X(MYSQL_TLS_REQUIRED, "required") \
    X(MYSQL_TLS_VERIFY, "verify")

#define X(constant, word) constant,
enum storage_engine_kind { STORAGE_ENGINES(X) };
enum storage_policy { STORAGE_POLICIES(X) };
enum storage_damage { STORAGE_DAMAGES(X) };
enum storage_mysql_tls { STORAGE_MYSQL_TLS(X) };
#undef X

struct files;

struct storage_config {
    enum storage_engine_kind engine;
    enum storage_policy policy;

    const char *wal_dir;
    uint64_t wal_segment_bytes;
    uint64_t wal_compact_max_bytes;   /* 0: never for size */
    uint64_t wal_compact_interval_ms; /* 0: never for time */
    enum storage_damage wal_damage;

    const struct files *files; /* NULL: the system's; tests bring their own */

    const char *sqlite_path;

    const char *mysql_url; /* mysql://user:password@host:port/database */
    enum storage_mysql_tls mysql_tls;
    const char *mysql_tls_ca; /* NULL: the system's */
    const char *mysql_tls_certificate;
    const char *mysql_tls_key;
    uint64_t mysql_timeout_ms; /* to connect, and for one statement */

    const char *owner; /* this node's id, for shared engines */

    bool told; /* that the store can't be reached stands in the log already */
};

#endif
