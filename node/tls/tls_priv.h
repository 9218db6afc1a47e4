/*
 * tls_priv: what the files of node/tls share.
 *
 * Thread    as tls.h says.
 * Not here  anything of sockets, threads or the configuration.
 */
#ifndef PULSE_NODE_TLS_TLS_PRIV_H
#define PULSE_NODE_TLS_TLS_PRIV_H

#include <openssl/ssl.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "node/tls/tls.h"

struct tls_ticket_ring;

/* Read-only once it is made, but for the count; the ring has a lock of its own. */
struct tls_context {
    _Atomic uint32_t refs;
    SSL_CTX *ssl;
    BIO_METHOD *bio_method;
    struct tls_ticket_ring *tickets; /* a reference */
    EVP_CIPHER *ticket_cipher;       /* fetched once: a fetch costs more than a ticket */
    enum tls_identity identity;
    bool alpn_mqtt;
};

/* Bytes of the wire that are kept to tell a client without TLS from garbage. */
#define TLS_FIRST_BYTES 5 /* the head of a record */

/* A certificate that was refused: so much of its subject is kept for the log. */
#define TLS_REFUSED_SIZE 256

struct tls_stream {
    struct tls_context *context; /* a reference */
    SSL *ssl;

    /* The call that is going on; NULL in between. */
    struct slice *wire;
    tls_sink *sink;
    void *user;

    struct tls_peer_names *peer; /* made when it is first asked for */
    char *refused;               /* NULL or TLS_REFUSED_SIZE bytes */
    const char *error;           /* constant; NULL: none */
    enum tls_status end;         /* TLS_MORE while it goes on, then what every read gives */
    uint8_t first[TLS_FIRST_BYTES];
    uint8_t first_len;
    uint8_t key_updates; /* within the call that is going on */
    bool ready;
    bool shut;
};

/* bio: what OpenSSL reads and writes by: the slice and the sink of the call that is going on. */
BIO_METHOD *tls__bio_method(void); /* NULL: no memory */
BIO *tls__bio_create(struct tls_context *context, struct tls_stream *stream);
struct tls_stream *tls__stream_of(SSL *ssl);

/* file: a whole file, with a NUL behind `len`. A secret one is kept in the secure heap. */
struct tls_file {
    unsigned char *data;
    size_t len;
    size_t size; /* of the block */
    mode_t mode;
    bool secret;
};
must_check enum err tls__file_read(const char *name, bool secret, struct tls_file *file,
                                   struct text *error);
void tls__file_fini(struct tls_file *file);

/* identity: certificate, chain and key of the server. The error names the file. */
must_check enum err tls__load_identity(SSL_CTX *ssl, const struct tls_settings *settings,
                                       struct text *error);

/* authorities: who signs for clients, and what is revoked. What is read goes into `policy` too. */
must_check enum err tls__load_authorities(SSL_CTX *ssl, const struct tls_settings *settings,
                                          EVP_MD_CTX *policy, struct text *error);

/* verify: whether a client's certificate is good. */
void tls__verify_setup(SSL_CTX *ssl, const struct tls_settings *settings);

/* tickets: keys that sessions are sealed by, and what is kept in a ticket beside the session. */
#define TLS_POLICY_LEN 32 /* SHA-256 of all that decides whether a client is let in */
#define TLS_TICKET_NAME_LEN 16
struct tls_ticket_key {
    uint8_t name[TLS_TICKET_NAME_LEN];
    uint8_t cipher_key[32];
    uint8_t mac_key[32];
    uint64_t born_ms; /* monotonic */
};
#define TLS_TICKET_LIFE_S (12u * 3600u)               /* how long a ticket may be used */
#define TLS_TICKET_KEY_SEALS_MS (12ull * 3600 * 1000) /* how long a key makes new ones */
#define TLS_TICKET_KEY_LIFE_MS (24ull * 3600 * 1000)  /* and opens old ones */
#define TLS_PROOF_LIFE_S (24ull * 3600) /* how long resumption may stand for a full proof */

struct tls_ticket_ring *tls__ring_create(const uint8_t policy[static TLS_POLICY_LEN]);
/* A reference on `old` when `policy` is its own, else a fresh ring. */
struct tls_ticket_ring *tls__ring_follow(struct tls_ticket_ring *old,
                                         const uint8_t policy[static TLS_POLICY_LEN]);
void tls__ring_unref(struct tls_ticket_ring *ring); /* NULL is allowed */
/* The key for new tickets; makes one when there is none young enough. False: no random bytes. */
must_check bool tls__ring_seal_key(struct tls_ticket_ring *ring, uint64_t now_ms,
                                   struct tls_ticket_key *key);
/* The key with that name, unless it is too old; `*renew`: a newer one seals by now. */
must_check bool tls__ring_open_key(struct tls_ticket_ring *ring, uint64_t now_ms,
                                   const uint8_t name[static TLS_TICKET_NAME_LEN],
                                   struct tls_ticket_key *key, bool *renew);

/* What a ticket says of the full handshake that it stands for; seconds since 1970. */
struct tls_proof {
    int64_t proved_at;
    int64_t good_until; /* the first certificate of the client's chain that expires */
};
bool tls__proof_holds(struct tls_proof proof, int64_t now);
void tls__tickets_setup(SSL_CTX *ssl, uint32_t count);

/* peer: names in a client's certificate. */
struct tls_peer_names *tls__peer_create(X509 *certificate, bool verified,
                                        enum tls_identity identity);
const struct tls_peer *tls__peer_view(const struct tls_peer_names *names);
void tls__peer_destroy(struct tls_peer_names *names); /* NULL is allowed */

/* error: what OpenSSL complains of, in words. */
/* Why the stream failed: a word for the log, constant. */
const char *tls__error_of(const struct tls_stream *stream);
/* Adds the newest complaint of OpenSSL to `error`, and forgets them all. */
void tls__add_openssl_error(struct text *error);

#endif
