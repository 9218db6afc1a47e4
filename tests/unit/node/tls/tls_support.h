/*
 * tls_support: a folder with a server's files, and a client of OpenSSL's own that talks to a stream
 * through nothing but memory.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_NODE_TLS_TLS_SUPPORT_H
#define PULSE_TESTS_UNIT_NODE_TLS_TLS_SUPPORT_H

#include <openssl/ssl.h>

#include "node/tls/tls.h"
#include "tests/unit/node/tls/certificate_support.h"

/*
 * The files of a server: a root, an intermediate below it that has signed the certificate of the
 * server, and `settings` that name them. Clients' certificates are not asked for; client_ca.pem has
 * the root.
 */
struct tls_rig {
    char folder[64];
    char chain[96];
    char key[96];
    char client_ca[96];
    char client_crl[96];
    struct certificate *root;
    struct certificate *middle;
    struct certificate *server;
    struct tls_settings settings;
};

/* Setup and teardown: `*state` is a struct tls_rig. */
int tls_rig_create(void **state);
int tls_rig_destroy(void **state);
#define with_rig(test) cmocka_unit_test_setup_teardown(test, tls_rig_create, tls_rig_destroy)

/* Another certificate for the server, of a key of that curve (or "RSA"), in its files. */
void tls_rig_new_server(struct tls_rig *rig, const char *curve);

/* A context of the rig's settings, which must be good. */
struct tls_context *tls_rig_context(const struct tls_rig *rig);

/* A client, and what is between it and the stream. */
struct tls_link {
    struct tls_stream *stream;
    SSL_CTX *client_context;
    SSL *client;
    BIO *to_client;
    BIO *from_client;
    SSL_SESSION *session; /* the newest that the server gave */
    struct text received; /* plaintext, by the server */
    size_t wire_bytes;    /* from the server */
    size_t step;          /* bytes that the server gets at a time; 0: all */
    size_t plain_size;    /* of its buffer; 0: 16 KiB */
    enum tls_status status;
    int client_error; /* the reason of OpenSSL's complaint, 0: none */
};

/* What the client is like. */
struct tls_client {
    const struct certificate *certificate; /* NULL: none */
    const struct certificate *middle;      /* shown behind it */
    SSL_SESSION *session;                  /* to resume */
    int version;                           /* TLS1_2_VERSION; 0: any */
    const char *ciphers;
    const char *alpn; /* as on the wire */
};

/* Not yet connected: see tls_link_run. End it with tls_link_close. */
void tls_link_open(struct tls_link *link, struct tls_context *context,
                   const struct tls_client *client);
void tls_link_close(struct tls_link *link);

/* Carries bytes both ways, and lets both sides work, until nothing moves any more. */
void tls_link_run(struct tls_link *link);

/* Open and run. */
void tls_link_connect(struct tls_link *link, struct tls_context *context,
                      const struct tls_client *client);

/* Gives the stream these bytes, as if they came from the wire. */
enum tls_status tls_link_feed(struct tls_link *link, const void *bytes, size_t len);

/* A sink for the client of the link. */
void tls_link_sink(void *link, struct slice wire);

/* Both ways, a few bytes: it works. */
void assert_link_works(struct tls_link *link);

/* The stream has failed, with a word that has `part` in it. */
void assert_link_failed(const struct tls_link *link, const char *part);

#endif
