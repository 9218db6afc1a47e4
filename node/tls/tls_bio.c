#include "node/tls/tls_priv.h"

/*
 * OpenSSL reads from the slice that the caller of the stream holds and writes to its sink, so
 * nothing is copied in between, and a connection that is idle keeps no buffer.
 */

/* Key updates that one read may bring: each costs as much as it takes to derive keys. */
#define KEY_UPDATES_MAX 8

static int read_wire(BIO *bio, char *to, size_t size, size_t *len)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->key_updates > KEY_UPDATES_MAX) {
        stream->error = "too many key updates";
        return 0;
    }
    if (stream->wire == NULL || stream->wire->len == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *len = size < stream->wire->len ? size : stream->wire->len;
    memcpy(to, stream->wire->data, *len);
    *stream->wire = slice_from(*stream->wire, *len);
    return 1;
}

static int write_wire(BIO *bio, const char *from, size_t size, size_t *len)
{
    struct tls_stream *stream = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (stream->sink == NULL) {
        return 0;
    }
    stream->sink(stream->user, slice_of(from, size));
    *len = size;
    return 1;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int set_up(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

BIO_METHOD *tls__bio_method(void)
{
    /* No index of its own: there are few in a process, and every reload makes a method. */
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pulse wire");
    if (method != NULL) {
        BIO_meth_set_read_ex(method, read_wire);
        BIO_meth_set_write_ex(method, write_wire);
        BIO_meth_set_ctrl(method, control);
        BIO_meth_set_create(method, set_up);
    }
    return method;
}

BIO *tls__bio_create(struct tls_context *context, struct tls_stream *stream)
{
    BIO *bio = BIO_new(context->bio_method);
    if (bio != NULL) {
        BIO_set_data(bio, stream);
    }
    return bio;
}

struct tls_stream *tls__stream_of(SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}
