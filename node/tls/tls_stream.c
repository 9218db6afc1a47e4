#include "node/tls/tls_priv.h"

#include <limits.h>
#include <openssl/err.h>

#include "base/mem.h"

/*
 * Invariants:
 *   wire, sink and user are set while a call is going on, and NULL in between;
 *   nothing is read or written by OpenSSL once `end` is TLS_FAILED.
 */

struct tls_stream *tls_stream_create(struct tls_context *context)
{
    struct tls_stream *stream = mem_try_alloc(sizeof(*stream));
    if (stream == NULL) {
        return NULL;
    }
    *stream = (struct tls_stream){.context = context, .end = TLS_MORE};
    ERR_clear_error();
    stream->ssl = SSL_new(context->ssl);
    BIO *bio = stream->ssl != NULL ? tls__bio_create(context, stream) : NULL;
    if (bio == NULL) {
        SSL_free(stream->ssl);
        mem_free(stream);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_bio(stream->ssl, bio, bio);
    SSL_set_msg_callback_arg(stream->ssl, stream);
    SSL_set_accept_state(stream->ssl);
    tls_context_ref(context);
    return stream;
}

void tls_stream_destroy(struct tls_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    SSL_free(stream->ssl);
    tls__peer_destroy(stream->peer);
    mem_free(stream->refused);
    tls_context_unref(stream->context);
    mem_free(stream);
}

static void enter(struct tls_stream *stream, struct slice *wire, tls_sink *sink, void *user)
{
    ASSERT(stream->sink == NULL); /* a sink does not call its stream */
    stream->wire = wire;
    stream->sink = sink;
    stream->user = user;
    stream->key_updates = 0;
    ERR_clear_error();
}

static void leave(struct tls_stream *stream)
{
    stream->wire = NULL;
    stream->sink = NULL;
    stream->user = NULL;
}

static void keep_first_bytes(struct tls_stream *stream, struct slice wire)
{
    size_t room = TLS_FIRST_BYTES - stream->first_len;
    size_t len = wire.len < room ? wire.len : room;
    if (len > 0) {
        memcpy(stream->first + stream->first_len, wire.data, len);
        stream->first_len = (uint8_t)(stream->first_len + len);
    }
}

static void fail(struct tls_stream *stream)
{
    if (stream->error == NULL) {
        stream->error = tls__error_of(stream);
    }
    ERR_clear_error();
    stream->end = TLS_FAILED;
}

/* Nothing could be read: the handshake or a record goes on later, or it is the end. */
static void note_no_data(struct tls_stream *stream, int result)
{
    switch (SSL_get_error(stream->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return;
    case SSL_ERROR_ZERO_RETURN:
        stream->end = TLS_CLOSED;
        return;
    default: /* an int of OpenSSL's: all others are failures */
        fail(stream);
    }
}

/* Fills `plain` from as many records as there are. */
static size_t read_records(struct tls_stream *stream, uint8_t *plain, size_t size)
{
    size_t len = 0;
    /* A read that finds nothing at all would still cost a buffer, made and released. */
    while (len < size && (stream->wire->len > 0 || SSL_pending(stream->ssl) > 0)) {
        size_t more = 0;
        int result = SSL_read_ex(stream->ssl, plain + len, size - len, &more);
        if (result != 1) {
            note_no_data(stream, result);
            break;
        }
        len += more;
    }
    return len;
}

enum tls_status tls_stream_read(struct tls_stream *stream, struct slice *wire, uint8_t *plain,
                                size_t size, size_t *len, tls_sink *sink, void *user)
{
    ASSERT(size > 0 && sink != NULL);
    *len = 0;
    if (stream->end == TLS_MORE) {
        if (!stream->ready) {
            keep_first_bytes(stream, *wire);
        }
        enter(stream, wire, sink, user);
        *len = read_records(stream, plain, size);
        leave(stream);
        stream->ready = stream->ready || SSL_is_init_finished(stream->ssl);
    }
    if (*len > 0) {
        return TLS_DATA; /* an end that came behind it is told by the next call */
    }
    if (stream->end != TLS_MORE) {
        *wire = slice_from(*wire, wire->len);
    }
    return stream->end;
}

enum err tls_stream_write(struct tls_stream *stream, struct slice plain, tls_sink *sink, void *user)
{
    ASSERT(sink != NULL);
    if (!stream->ready || stream->shut || stream->end == TLS_FAILED) {
        return ERR_STOPPED;
    }
    if (plain.len == 0) {
        return ERR_OK;
    }
    enter(stream, NULL, sink, user);
    size_t len = 0;
    int result = SSL_write_ex(stream->ssl, plain.data, plain.len, &len);
    if (result != 1) {
        fail(stream);
    }
    leave(stream);
    return result == 1 ? ERR_OK : ERR_STOPPED;
}

void tls_stream_shutdown(struct tls_stream *stream, tls_sink *sink, void *user)
{
    ASSERT(sink != NULL);
    /* OpenSSL forbids it after a failure, which has sent its alert, and within a handshake. */
    if (!stream->ready || stream->shut || stream->end == TLS_FAILED) {
        return;
    }
    stream->shut = true;
    enter(stream, NULL, sink, user);
    (void)SSL_shutdown(stream->ssl); /* whether it could be said makes no difference */
    ERR_clear_error();
    leave(stream);
}

bool tls_stream_ready(const struct tls_stream *stream)
{
    return stream->ready;
}

bool tls_stream_resumed(const struct tls_stream *stream)
{
    return stream->ready && SSL_session_reused(stream->ssl) == 1;
}

const char *tls_stream_error(const struct tls_stream *stream)
{
    return stream->error != NULL ? stream->error : "";
}

struct slice tls_stream_refused(const struct tls_stream *stream)
{
    return stream->refused != NULL ? slice_text(stream->refused) : slice_of(NULL, 0);
}

const char *tls_stream_version(const struct tls_stream *stream)
{
    return SSL_get_version(stream->ssl);
}

const char *tls_stream_cipher(const struct tls_stream *stream)
{
    const SSL_CIPHER *cipher = SSL_get_current_cipher(stream->ssl);
    return cipher != NULL ? SSL_CIPHER_get_name(cipher) : "";
}

const struct tls_peer *tls_stream_peer(struct tls_stream *stream)
{
    static const struct tls_peer nobody = {.verified = false};
    if (!stream->ready) {
        return &nobody;
    }
    if (stream->peer == NULL) {
        X509 *certificate = SSL_get0_peer_certificate(stream->ssl);
        bool verified = certificate != NULL && SSL_get_verify_result(stream->ssl) == X509_V_OK;
        stream->peer = tls__peer_create(certificate, verified, stream->context->identity);
    }
    return tls__peer_view(stream->peer);
}
