/*
 * mariadb_support: a private MariaDB server for tests, on a temporary directory, a free loopback
 * port and a unix socket. Needs no root. The server dies with the test's process.
 *
 * Owns      the server's process and its directory.
 * Thread    the test's main thread.
 * Errors    none: what goes wrong fails the test, with the end of the server's log on stderr.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_MARIADB_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_MARIADB_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the tests' account is called; its password needs percent-encoding in a URL. It may do
 * everything in databases whose names begin with `pulse_`, and nothing else. */
#define MARIADB_USER "pulse"
#define MARIADB_PASSWORD "s3cret:/@%"
#define MARIADB_PASSWORD_ENCODED "s3cret%3A%2F%40%25"

struct mariadb;

/* False: there are no mariadbd and mariadb-install-db on this machine; skip the tests. */
bool mariadb_installed(void);

/* Makes a server's directory and starts it. `options` are further arguments of mariadbd, ended by
 * NULL; or NULL. End it with mariadb_destroy. */
struct mariadb *mariadb_create(const char *const *options);
void mariadb_destroy(struct mariadb *server);

/* Starts it again, on the same port, and waits until it answers. */
void mariadb_start(struct mariadb *server);
/* Ends it in order (SIGTERM), or kills it (SIGKILL); returns when it is gone. */
void mariadb_stop(struct mariadb *server);
void mariadb_kill(struct mariadb *server);
/* Holds it in its tracks (SIGSTOP) until mariadb_resume. */
void mariadb_pause(struct mariadb *server);
void mariadb_resume(struct mariadb *server);

uint16_t mariadb_port(const struct mariadb *server);
const char *mariadb_socket(const struct mariadb *server);
const char *mariadb_directory(const struct mariadb *server);
int mariadb_pid(const struct mariadb *server);

/* Runs statements as the server's root. */
void mariadb_run(struct mariadb *server, const char *sql);
/* The number in the first column of the first row of the answer. */
uint64_t mariadb_number(struct mariadb *server, const char *sql);
/* The same, in the database of mariadb_database. */
uint64_t mariadb_number_in_database(struct mariadb *server, const char *query);
/* As a failover makes an old primary: writes are refused (1290). */
void mariadb_read_only(struct mariadb *server, bool read_only);

/* Makes an empty database with a name of its own, and writes its URL (loopback TCP) to `url`. */
void mariadb_fresh_url(struct mariadb *server, char *url, size_t size);

/* The name of the database that mariadb_fresh_url made last. */
const char *mariadb_database(const struct mariadb *server);

#endif
