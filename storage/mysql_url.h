/*
 * mysql_url: where the database is and who we are there, as one line of configuration:
 *
 *     mysql://user:password@host:3306/database
 *     mysql://user:password@[::1]/database
 *     mysql://user@localhost/database?socket=/run/mysqld/mysqld.sock
 *
 * Scheme `mysql` or `mariadb`; user, password, host, database and socket may be percent-encoded,
 * and must be where they hold one of : / @ ? # % or a blank.
 *
 * Owns      its strings; the password is wiped when it ends.
 * Thread    any; it is a value.
 * Errors    ERR_SYNTAX. Nothing here ever shows the password.
 */
#ifndef PULSE_STORAGE_MYSQL_URL_H
#define PULSE_STORAGE_MYSQL_URL_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"

#define MYSQL_URL_PORT 3306u

struct mysql_url {
    char *user;
    char *password; /* NULL: none */
    char *host;     /* without brackets */
    char *database;
    char *socket; /* NULL: TCP to host and port */
    uint16_t port;
};

/* Gives the parts of `text`; on ERR_SYNTAX `*why` is a text of ours, without anything of `text`.
 * End with mysql_url_fini. */
must_check enum err mysql_url_parse(const char *text, struct mysql_url *url, const char **why);

/* NULL strings are allowed, so a zeroed one may be ended too. */
void mysql_url_fini(struct mysql_url *url);

/* Writes `user@host:port/database` (or the socket's path) for people, cut to `size`. */
void mysql_url_describe(const struct mysql_url *url, char *buffer, size_t size);

#endif
