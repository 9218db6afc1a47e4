/*
 * certificate_support: certificates, keys and revocation lists of every kind, made for one test.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_NODE_TLS_CERTIFICATE_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_TLS_CERTIFICATE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

struct certificate {
    EVP_PKEY *key;
    X509 *x509;
};

/* What is wanted; everything may be left out. */
struct certificate_wish {
    const struct certificate *issuer; /* NULL: itself */
    const char *common_name;
    int common_name_len;  /* 0: to the NUL */
    int common_name_type; /* of ASN.1; 0: UTF-8 */
    const char *second_common_name;
    const char *organization;
    const char *unit;
    const char *alternative_names; /* "DNS:a,URI:b" */
    const char *usage;             /* extended key usage */
    const char *curve;             /* NULL: P-256; "RSA": RSA-2048 */
    long serial;
    long from_s; /* seconds from now; 0: a minute ago */
    long to_s;   /* 0: in a month */
    bool is_authority;
};

struct certificate *certificate_create(const struct certificate_wish *wish);
void certificate_destroy(struct certificate *certificate); /* NULL is allowed */

/* Adds one alternative name with exactly these bytes, and signs again. */
void certificate_add_dns_name(struct certificate *certificate, const struct certificate *issuer,
                              const void *name, int len);

/* A new file with these, in this order, up to the first NULL. */
void certificate_write(const char *path, const struct certificate *const *certificates);

/* The key alone, readable by its owner only; sealed by `passphrase` unless that is NULL. */
void certificate_write_key(const char *path, const struct certificate *certificate,
                           const char *passphrase);

/* Adds a list of `issuer` to the file, with `serial` on it (0: an empty one). */
void certificate_add_list(const char *path, const struct certificate *issuer, long serial);

/* Adds an empty list of `issuer` that should have been followed by another. */
void certificate_add_old_list(const char *path, const struct certificate *issuer);

#endif
