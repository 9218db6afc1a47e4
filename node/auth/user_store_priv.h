/*
 * user_store: users with their hashes and groups, from the configuration or from a password file.
 *
 * Owns      its users. Filled by one thread, then immutable and counted.
 * Thread    filling: main. All else: any.
 * Errors    with one line for people; nothing of a hash or a password in it. A file without users
 *           is an error: it would be an empty one by mistake.
 * Source    the format of a password file: docs/security.md; Mosquitto's is a part of it.
 */
#ifndef PULSE_NODE_AUTH_USER_STORE_PRIV_H
#define PULSE_NODE_AUTH_USER_STORE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/auth.h"
#include "node/auth/password.h"
#include "node/auth/password_file.h"

struct user_store;

struct stored_user {
    struct slice username;
    struct slice groups;
    struct password_hash hash;
    struct password_hash *scram; /* for SCRAM-SHA-256; NULL: not for this user */
    uint64_t fingerprint;        /* differs when the hash or the password does; never 0 */
};

/* `scram`: users with a plain password get keys for SCRAM, too. */
must_check enum err user_store_create_list(const struct auth_user *users, size_t count, bool scram,
                                           struct user_store **out, struct text *error);
/* The text of a password file; `name` is that of the file. */
must_check enum err user_store_create_text(struct slice text, const char *name,
                                           struct user_store **out, struct text *error);
/* Reads the file, and warns when everybody can. */
must_check enum err user_store_create_file(const char *path, struct user_store **out,
                                           struct text *error);
void user_store_ref(struct user_store *store);
void user_store_unref(struct user_store *store); /* NULL is allowed */

/* Borrows the user until the store ends, or NULL. */
const struct stored_user *user_store_find(const struct user_store *store, struct slice username);

size_t user_store_count(const struct user_store *store);
/* The parameters that most users have (of the first thousands, when there are many). */
void user_store_usual_hash(const struct user_store *store, struct password_hash *usual);
/* The first user that has keys for SCRAM, or NULL. Borrowed. */
const struct stored_user *user_store_first_scram(const struct user_store *store);

#endif
