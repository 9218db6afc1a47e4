/*
 * tls: TLS for the connections of a worker, by OpenSSL, without sockets: bytes of the wire go in
 * and out as slices, so that a stream can sit between any transport and any reader, and can move to
 * another thread together with its connection.
 *
 * Owns      struct tls_context: certificates, key, ticket keys; counted references. struct
 *           tls_stream: the state of one connection, and a reference on its context.
 * Thread    a context: any (its parts are read-only, OpenSSL locks what it changes); a stream: one
 *           at a time, the worker that its connection lives on.
 * Errors    ERR_IO, ERR_INVALID with one line for people in `error`: a file that can't be read or
 *           used. A peer's mistake ends its stream with TLS_FAILED and a word for the log.
 * Source    RFC 8446, RFC 5246, RFC 7301 (ALPN "mqtt").
 */
#ifndef PULSE_NODE_TLS_TLS_H
#define PULSE_NODE_TLS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

struct tls_context;
struct tls_stream;

/* X(CONSTANT, "word"), in the order of the values. */
#define TLS_CLIENT_AUTHS(X)                 \
    X(TLS_CLIENT_AUTH_DISABLED, "disabled") \
    X(TLS_CLIENT_AUTH_OPTIONAL, "optional") \
    X(TLS_CLIENT_AUTH_REQUIRED, "required")
#define TLS_VERSIONS(X)       \
    X(TLS_VERSION_1_2, "1.2") \
    X(TLS_VERSION_1_3, "1.3")
/* What of a client's certificate is its name. */
#define TLS_IDENTITIES(X)                  \
    X(TLS_IDENTITY_NONE, "none")           \
    X(TLS_IDENTITY_CN, "cn")               \
    X(TLS_IDENTITY_SAN_DNS, "san-dns")     \
    X(TLS_IDENTITY_SAN_EMAIL, "san-email") \
    X(TLS_IDENTITY_SAN_URI, "san-uri")

#define X(constant, word) constant,
enum tls_client_auth { TLS_CLIENT_AUTHS(X) };
enum tls_version { TLS_VERSIONS(X) };
enum tls_identity { TLS_IDENTITIES(X) };
#undef X

/* What a listener is told. Texts are borrowed for the call; NULL: not given. */
struct tls_settings {
    const char *certificate_chain; /* PEM: the server's certificate first */
    const char *private_key;       /* PEM; must fit the certificate */
    const char *client_ca;         /* PEM: who may sign certificates of clients */
    const char *client_crl;        /* PEM: revoked ones; checked for the whole chain */
    const char *ciphers;           /* TLS 1.2, OpenSSL's syntax */
    const char *ciphersuites;      /* TLS 1.3 */
    const char *groups;            /* key exchange, OpenSSL's syntax */
    enum tls_client_auth client_auth;
    enum tls_version min_version;
    enum tls_identity identity;
    bool alpn_mqtt;           /* choose "mqtt"; a client that offers only others is refused */
    uint32_t session_tickets; /* 0: no resumption */
};

/* Once, by main, before anything else of this file: OpenSSL's secure heap for keys. */
void tls_init(void);

must_check enum err tls_context_create(const struct tls_settings *settings,
                                       struct tls_context **out, struct text *error);
void tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is allowed */
/*
 * A context for the same listener after its files have changed, which goes on with the ticket keys
 * of `old`, so that clients can resume over the change. Streams that there are keep their own.
 */
must_check enum err tls_context_reload(const struct tls_context *old,
                                       const struct tls_settings *settings,
                                       struct tls_context **out, struct text *error);

/* Takes bytes for the wire; they are gone when it returns. */
typedef void tls_sink(void *user, struct slice wire);

enum tls_status {
    TLS_MORE,   /* all input is used up; it goes on when more comes */
    TLS_DATA,   /* plaintext has been read: call again */
    TLS_CLOSED, /* the peer said good-bye (close_notify) */
    TLS_FAILED  /* tls_stream_error() says why; an alert may be in the sink */
};

/* NULL: no memory. */
struct tls_stream *tls_stream_create(struct tls_context *context);
/* NULL is allowed. */
void tls_stream_destroy(struct tls_stream *stream);

/*
 * Takes `*wire` (advanced over what was used, which is all of it unless the status is TLS_DATA),
 * goes on with the handshake, and decrypts up to `size` bytes to `plain`. `*len` is 0 unless
 * TLS_DATA. The buffers may be shared by all streams of a thread: an incomplete record is kept
 * inside.
 */
enum tls_status tls_stream_read(struct tls_stream *stream, struct slice *wire, uint8_t *plain,
                                size_t size, size_t *len, tls_sink *sink, void *user);

/*
 * Encrypts all of `plain`, in records of up to 16 KiB. ERR_STOPPED: before the handshake is done,
 * after a shutdown or a failure; nothing was written.
 */
must_check enum err tls_stream_write(struct tls_stream *stream, struct slice plain, tls_sink *sink,
                                     void *user);

/* Adds close_notify to the sink, once. */
void tls_stream_shutdown(struct tls_stream *stream, tls_sink *sink, void *user);

bool tls_stream_ready(const struct tls_stream *stream);   /* the handshake is done */
bool tls_stream_resumed(const struct tls_stream *stream); /* by a ticket */
/* Constant text, never NULL: why it failed ("no shared cipher", "plaintext on a TLS port", ...). */
const char *tls_stream_error(const struct tls_stream *stream);
/*
 * The subject of the client's certificate that was refused, for the log; text from outside. Empty:
 * none was. Valid as long as the stream.
 */
struct slice tls_stream_refused(const struct tls_stream *stream);
/* "TLSv1.3", "TLS_AES_256_GCM_SHA384". Constant texts. */
const char *tls_stream_version(const struct tls_stream *stream);
const char *tls_stream_cipher(const struct tls_stream *stream);

/*
 * The client's verified certificate: empty texts where it has none. The name that the settings ask
 * for (`identity`), and its fields for access rules. A name with NUL or invalid UTF-8 in it counts
 * as none. Valid as long as the stream.
 */
struct tls_peer {
    struct slice identity;
    struct slice common_name;
    struct slice organization;
    struct slice organizational_unit;
    struct slice serial;      /* hexadecimal */
    struct slice fingerprint; /* SHA-256, hexadecimal */
    bool verified;
};
const struct tls_peer *tls_stream_peer(struct tls_stream *stream);

#endif
