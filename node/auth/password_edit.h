/*
 * password_edit: changes of a password file. All other lines stay as they are, comments too.
 *
 * Owns      nothing between calls. While it works it locks the folder against others of its kind.
 * Thread    any; blocks.
 * Errors    with one line for people. ERR_INVALID: there is no such user. Whatever fails, the file
 * is the old one or the new one, whole: it is written anew, synced, and renamed over the old. A new
 * file is readable by its owner only; an old one keeps owner and permissions.
 */
#ifndef PULSE_NODE_AUTH_PASSWORD_EDIT_H
#define PULSE_NODE_AUTH_PASSWORD_EDIT_H

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/password.h"

struct password_change {
    struct slice username;
    const struct password_hash *hash; /* NULL: the user is removed */
    const struct slice *groups;       /* NULL: it keeps those it has */
};

/* Makes the change in the file `path`, which need not be there to add a user. `*left`: users in it
 * afterwards. */
must_check enum err password_file_change(const char *path, const struct password_change *change,
                                         size_t *left, struct text *error);

#endif
