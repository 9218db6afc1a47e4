/*
 * auth: who a client is. A chain of providers is asked in order, off the workers: all of it lives
 * on one thread with its own loop (caches, delays, HTTP), which hands what takes long (hashes,
 * databases) to a few threads of low priority. Workers and auth exchange attempts.
 *
 * Owns      struct auth: the thread, providers, caches. struct auth_attempt: one CONNECT that is
 *           being judged. struct auth_identity: who a client turned out to be; counted, immutable.
 * Thread    as said at each function.
 * Errors    auth_create, auth_reload: one line for people in `error`.
 * Not here  access rules (acl.h), packets (node/conn_auth.c).
 */
#ifndef PULSE_NODE_AUTH_AUTH_H
#define PULSE_NODE_AUTH_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/acl.h"
#include "storage/config.h"

struct auth;
struct auth_attempt;

/* ---- settings -------------------------------------------------------------------------------- */

/* X(CONSTANT, "word"): the providers, in the order in which they are asked by default. */
#define AUTH_PROVIDERS(X)                  \
    X(AUTH_CERTIFICATE, "certificate")     \
    X(AUTH_USERS, "users")                 \
    X(AUTH_PASSWORD_FILE, "password-file") \
    X(AUTH_JWT, "jwt")                     \
    X(AUTH_SQL, "sql")                     \
    X(AUTH_HTTP, "http")
#define X(constant, word) constant,
enum auth_provider_kind { AUTH_PROVIDERS(X) AUTH_PROVIDER_COUNT };
#undef X

struct auth_user {
    const char *username;
    const char *password; /* plain, or a hash in a format of the password file */
    const char *groups;   /* separated by commas; "": none */
};

/* Texts are borrowed and stay until auth_destroy or the end of auth_reload; "" or NULL: off. */
struct auth_settings {
    bool allow_anonymous;
    enum auth_provider_kind chain[AUTH_PROVIDER_COUNT];
    size_t chain_len;
    const struct auth_user *users;
    size_t user_count;
    struct acl_rules *rules; /* of the configuration; borrowed for the call */
    const char *acl_file;
    bool default_allow;
    const char *password_file;
    const char *jwt_key_file;   /* PEM public key(s), or a secret for HS256 */
    const char *jwt_algorithms; /* "RS256,ES256" */
    const char *jwt_issuer;
    const char *jwt_audience;
    const char *jwt_username_claim; /* "sub" */
    const char *jwt_acl_claim;      /* "acl" */
    const char *jwt_groups_claim;   /* "groups" */
    const char *sql_database;       /* mysql://... or the name of a SQLite file */
    const char *sql_user_query;     /* one row: hash, groups; %u %c in it are bound, not pasted */
    const char *sql_acl_query;      /* rows: permission, action, filter */
    uint64_t sql_timeout_ms;
    enum storage_mysql_tls sql_tls;
    const char *sql_tls_ca; /* "": those of the system */
    const char *http_url;
    const char *http_ca;
    const char *http_token_file; /* sent as a bearer token */
    uint64_t http_timeout_ms;
    uint64_t cache_ttl_ms;     /* how long a good answer of SQL and HTTP is kept; 0: not */
    bool scram;                /* offer SCRAM-SHA-256 */
    uint64_t failure_delay_ms; /* of the first failure of an address; doubles */
    uint64_t failure_delay_max_ms;
    uint64_t attempts_max; /* under way at once; more get AUTH_BUSY */
    unsigned threads;      /* for hashes and databases */
};

/* ---- who somebody is ------------------------------------------------------------------------- */

struct auth_identity {
    _Atomic uint32_t references;
    struct acl_view *view;            /* NULL: everything is allowed (auth is off) */
    enum auth_provider_kind provider; /* AUTH_PROVIDER_COUNT: anonymous */
    uint64_t expires_at_ms;   /* wall clock, milliseconds since the epoch; UINT64_MAX: never */
    struct slice username;    /* empty: anonymous */
    struct slice groups_text; /* "admins,devices", for people */
};

void auth_identity_ref(struct auth_identity *identity);
void auth_identity_unref(struct auth_identity *identity); /* NULL is allowed */

/* ---- attempts -------------------------------------------------------------------------------- */

/* What a client brings. Slices are borrowed for the call. */
struct auth_request {
    struct slice client_id;
    struct slice username;
    struct slice password;
    bool has_username;
    bool has_password;
    struct sockaddr_storage address; /* AF_UNIX: local */
    bool shared_address;             /* of a proxy: what is known of it counts for each user name */
    const char *listener;            /* its name; stays */
    /* Of a verified certificate; empty: none. */
    struct slice certificate_identity;
    struct slice common_name;
    struct slice organization;
    struct slice organizational_unit;
    bool tls;
    struct slice method; /* enhanced authentication; empty: none */
    struct slice data;
};

enum auth_verdict {
    AUTH_ALLOWED,
    AUTH_DENIED,      /* bad user name or password: 0x86 */
    AUTH_NOT_ALLOWED, /* known, but not welcome here: 0x87 */
    AUTH_BAD_METHOD,  /* 0x8C */
    AUTH_CONTINUE,    /* enhanced: `data` for the client, then auth_continue */
    AUTH_BUSY,        /* too many attempts: 0x89 */
    AUTH_UNAVAILABLE  /* a provider can't be reached: 0x88 */
};

struct auth_answer {
    enum auth_verdict verdict;
    struct auth_identity *identity; /* of AUTH_ALLOWED; the receiver's */
    struct slice data;              /* valid during the call: enhanced data for the client */
    const char *reason;             /* constant text for the log */
};

/*
 * Called on auth's thread, once for auth_begin and once for each auth_continue. Should only post a
 * letter: auth_end waits for it. It may call auth_end.
 */
typedef void auth_done(void *user, const struct auth_answer *answer);

/* ---- life ------------------------------------------------------------------------------------ */

/* Reads files and keys; no thread yet. By main. */
must_check enum err auth_create(const struct auth_settings *settings, struct auth **out,
                                struct text *error);
/* Starts its threads. By main. */
must_check enum err auth_start(struct auth *auth);
/* Ends its threads; attempts under way are answered AUTH_UNAVAILABLE, and auth_begin gives NULL. By
 * main, after the workers' listeners have stopped. Waits for queries and hashes that are running.
 */
void auth_stop(struct auth *auth);
/* Every attempt has been ended. NULL is allowed. */
void auth_destroy(struct auth *auth);

/*
 * Reads everything again, but for `threads`. On an error nothing has changed. By main, while it
 * runs. When it returns, no answer is given any more by the old rules, also to attempts that began
 * before; auth_refresh gives live connections their new rights. Waits for auth's thread, shortly.
 */
must_check enum err auth_reload(struct auth *auth, const struct auth_settings *settings,
                                struct text *error);

/*
 * Judges `request` (copied). `done` will be called with `user`, unless auth_end comes first. Any
 * thread. With a method it is enhanced authentication; re-authentication is an attempt of its own,
 * the same way. NULL: no memory, or auth has stopped.
 */
must_check struct auth_attempt *auth_begin(struct auth *auth, const struct auth_request *request,
                                           auth_done *done, void *user);
/* The client's next AUTH packet, after AUTH_CONTINUE. */
void auth_continue(struct auth_attempt *attempt, struct slice data);
/* Nobody waits any more: `done` is not called after this. Takes the attempt: each needs it, also
 * after its last answer. Any thread; waits for a `done` that is just running. */
void auth_end(struct auth_attempt *attempt);

/*
 * After auth_reload: what `identity` (of `client_id`, given for a request like `request`) is worth
 * now. A new reference; NULL: it is not known any more (removed, or its password changed), and the
 * connection should end. Any thread; does not block: rules of the configuration and of files are
 * judged again, what SQL, HTTP and JWT said holds until the client connects again.
 */
struct auth_identity *auth_refresh(struct auth *auth, struct auth_identity *identity,
                                   const struct acl_subject *subject);

/* ---- what is counted ------------------------------------------------------------------------- */

/* X(name, what) */
#define AUTH_COUNTERS(X)                                           \
    X(allowed, "clients that were let in")                         \
    X(denied, "wrong user name or password, or token")             \
    X(not_allowed, "known, or without a name, and not allowed in") \
    X(unavailable, "a provider could not be reached")              \
    X(busy, "over auth.attempts_max")                              \
    X(cache_hits, "answers of providers that were used again")     \
    X(abandoned, "clients that went before they had an answer")

struct auth_counts {
#define X(name, what) uint64_t name;
    AUTH_COUNTERS(X)
#undef X
    uint64_t under_way; /* attempts now */
};

/* Any thread. */
void auth_read_counts(struct auth *auth, struct auth_counts *counts);

#endif
