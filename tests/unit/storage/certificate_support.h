/*
 * certificate_support: certificates for tests of TLS, made anew each time.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_CERTIFICATE_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_CERTIFICATE_SUPPORT_H

struct certificate_authority;

/* Gives an authority whose certificate is written to `path`. */
struct certificate_authority *certificate_authority_create(const char *name, const char *path);
void certificate_authority_destroy(struct certificate_authority *authority);

/* Writes a certificate for `name` and for the address `address` (NULL: none), good for servers and
 * clients, and its key. */
void certificate_write(struct certificate_authority *authority, const char *name,
                       const char *address, const char *certificate_path, const char *key_path);

#endif
