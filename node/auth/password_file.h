/*
 * password_file: the lines of a password file.
 *
 *     # a comment; blank lines are skipped
 *     alice:$scrypt$ln=14,r=8,p=1$c2FsdHNhbHRzYWx0$...
 *     bob:$7$101$...:admins,devices
 *
 * Owns      nothing: a reader is a value on borrowed text.
 * Thread    any.
 * Errors    ERR_SYNTAX, ERR_RANGE with "file:line: what is wrong"; nothing of a hash is shown.
 * Source    docs/security.md.
 */
#ifndef PULSE_NODE_AUTH_PASSWORD_FILE_H
#define PULSE_NODE_AUTH_PASSWORD_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/password.h"

#define PASSWORD_FILE_BYTES_MAX (256u * 1024 * 1024)
#define PASSWORD_FILE_USERS_MAX 1000000u
#define PASSWORD_FILE_LINE_MAX 4096u
#define PASSWORD_FILE_NAME_MAX 1000u
#define PASSWORD_FILE_GROUPS_MAX 1000u

struct password_file_reader {
    struct slice rest;
    const char *name; /* of the file, for errors */
    size_t line;
};

/* One line. Texts are borrowed from the text of the file. */
struct password_file_entry {
    struct slice line; /* without its end */
    bool is_user;      /* else a comment or a blank line */
    struct slice username;
    struct slice groups;
    struct password_hash hash;
};

/* The next line; false in `*more` at the end. */
must_check enum err password_file_next(struct password_file_reader *reader,
                                       struct password_file_entry *entry, bool *more,
                                       struct text *error);

/* May it be a user name, or a list of groups, in a password file? Why not: constant text. */
const char *password_file_check_username(struct slice username); /* NULL: it may */
const char *password_file_check_groups(struct slice groups);

/* Reads all of the file `path`; gives its bytes (end with password_file_free) and whether users of
 * other groups of the system can read it. */
must_check enum err password_file_read(const char *path, struct slice *text, bool *open_to_all,
                                       struct text *error);
void password_file_free(struct slice text);

#endif
