/*
 * admission: that a provider let somebody in, and with what. It outlives the attempt: in the
 * identity, for judging again after a reload, and in the cache.
 *
 * Owns      its texts and rules. Immutable, counted.
 * Thread    any.
 * Errors    NULL: no memory.
 */
#ifndef PULSE_NODE_AUTH_ADMISSION_PRIV_H
#define PULSE_NODE_AUTH_ADMISSION_PRIV_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "node/auth/acl.h"
#include "node/auth/auth.h"

struct admission {
    _Atomic uint32_t references;
    enum auth_provider_kind provider; /* AUTH_PROVIDER_COUNT: nobody, it is anonymous */
    struct slice username;
    struct slice groups; /* of users of the configuration and of the password file: empty, they */
                         /* stand in the store */
    struct acl_rules rules; /* of its own */
    uint64_t expires_at_ms; /* wall clock; UINT64_MAX: never */
    uint64_t fingerprint;   /* of the credentials in the store; 0: not known */
    size_t bytes;           /* what it takes */
};

/* Takes `rules` (leaves them empty), NULL: none. `from` gives the rest, its texts are copied. */
struct admission *admission_create(const struct admission *from, struct acl_rules *rules);
void admission_ref(struct admission *admission);
void admission_unref(struct admission *admission); /* NULL is allowed */

#endif
