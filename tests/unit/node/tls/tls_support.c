#include "tests/unit/node/tls/tls_support.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/mem.h"

#define PLAIN_SIZE 16384

static void name_files(struct tls_rig *rig)
{
    struct {
        char *path;
        const char *name;
    } files[] = {{rig->chain, "chain.pem"},
                 {rig->key, "key.pem"},
                 {rig->client_ca, "client_ca.pem"},
                 {rig->client_crl, "client_crl.pem"}};
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        (void)snprintf(files[i].path, sizeof(rig->chain), "%s/%s", rig->folder, files[i].name);
    }
}

int tls_rig_create(void **state)
{
    struct tls_rig *rig = mem_alloc(sizeof(*rig));
    (void)snprintf(rig->folder, sizeof(rig->folder), "/tmp/pulse-tls-XXXXXX");
    assert_non_null(mkdtemp(rig->folder));
    name_files(rig);
    rig->root =
        certificate_create(&(struct certificate_wish){.common_name = "root", .is_authority = true});
    rig->middle = certificate_create(&(struct certificate_wish){
        .issuer = rig->root, .common_name = "middle", .serial = 2, .is_authority = true});
    tls_rig_new_server(rig, "P-256");
    const struct certificate *authorities[] = {rig->root, NULL};
    certificate_write(rig->client_ca, authorities);
    rig->settings = (struct tls_settings){.certificate_chain = rig->chain,
                                          .private_key = rig->key,
                                          .client_ca = rig->client_ca,
                                          .alpn_mqtt = true,
                                          .session_tickets = 1};
    *state = rig;
    return 0;
}

void tls_rig_new_server(struct tls_rig *rig, const char *curve)
{
    certificate_destroy(rig->server);
    rig->server = certificate_create(&(struct certificate_wish){.issuer = rig->middle,
                                                                .common_name = "server",
                                                                .alternative_names = "DNS:server",
                                                                .curve = curve,
                                                                .serial = 3});
    const struct certificate *chain[] = {rig->server, rig->middle, NULL};
    certificate_write(rig->chain, chain);
    certificate_write_key(rig->key, rig->server, NULL);
}

int tls_rig_destroy(void **state)
{
    struct tls_rig *rig = *state;
    (void)unlink(rig->chain);
    (void)unlink(rig->key);
    (void)unlink(rig->client_ca);
    (void)unlink(rig->client_crl); /* not every test has one */
    int result = rmdir(rig->folder);
    certificate_destroy(rig->server);
    certificate_destroy(rig->middle);
    certificate_destroy(rig->root);
    mem_free(rig);
    return result;
}

struct tls_context *tls_rig_context(const struct tls_rig *rig)
{
    struct tls_context *context = NULL;
    struct text error = {0};
    enum err err = tls_context_create(&rig->settings, &context, &error);
    if (err != ERR_OK) {
        fail_msg("no context: %s", error.data);
    }
    text_fini(&error);
    return context;
}

void tls_link_sink(void *user, struct slice wire)
{
    struct tls_link *link = user;
    assert_int_equal(BIO_write(link->to_client, wire.data, (int)wire.len), wire.len);
    link->wire_bytes += wire.len;
}

/* OpenSSL's client gives a session when a ticket comes. */
static int on_session(SSL *client, SSL_SESSION *session)
{
    struct tls_link *link = SSL_get_app_data(client);
    SSL_SESSION_free(link->session);
    link->session = session;
    return 1;
}

static SSL_CTX *make_client_context(const struct tls_client *client)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    assert_non_null(context);
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, on_session);
    if (client->version != 0) {
        SSL_CTX_set_min_proto_version(context, client->version);
        SSL_CTX_set_max_proto_version(context, client->version);
    }
    if (client->ciphers != NULL) {
        assert_int_equal(SSL_CTX_set_cipher_list(context, client->ciphers), 1);
    }
    if (client->alpn != NULL) {
        assert_int_equal(SSL_CTX_set_alpn_protos(context, (const unsigned char *)client->alpn,
                                                 (unsigned)strlen(client->alpn)),
                         0);
    }
    if (client->certificate != NULL) {
        assert_int_equal(SSL_CTX_use_certificate(context, client->certificate->x509), 1);
        assert_int_equal(SSL_CTX_use_PrivateKey(context, client->certificate->key), 1);
    }
    if (client->middle != NULL) {
        assert_int_equal(SSL_CTX_add1_chain_cert(context, client->middle->x509), 1);
    }
    return context;
}

void tls_link_open(struct tls_link *link, struct tls_context *context,
                   const struct tls_client *client)
{
    *link = (struct tls_link){.status = TLS_MORE};
    link->stream = tls_stream_create(context);
    assert_non_null(link->stream);
    link->client_context = make_client_context(client);
    link->client = SSL_new(link->client_context);
    link->to_client = BIO_new(BIO_s_mem());
    link->from_client = BIO_new(BIO_s_mem());
    SSL_set_bio(link->client, link->to_client, link->from_client);
    SSL_set_app_data(link->client, link);
    SSL_set_connect_state(link->client);
    if (client->session != NULL) {
        assert_int_equal(SSL_set_session(link->client, client->session), 1);
    }
}

void tls_link_close(struct tls_link *link)
{
    tls_stream_destroy(link->stream);
    SSL_free(link->client);
    SSL_CTX_free(link->client_context);
    SSL_SESSION_free(link->session);
    text_fini(&link->received);
}

/* One step of the client: the handshake, then tickets, alerts and the like. */
static void client_works(struct tls_link *link)
{
    ERR_clear_error();
    int result = SSL_do_handshake(link->client);
    if (result == 1) {
        char nothing;
        result = SSL_peek(link->client, &nothing, 1);
    }
    if (result != 1 && SSL_get_error(link->client, result) == SSL_ERROR_SSL &&
        link->client_error == 0) {
        link->client_error = ERR_GET_REASON(ERR_peek_error());
    }
    ERR_clear_error();
}

/* Until the stream asks for more. */
static enum tls_status read_all(struct tls_link *link, struct slice *wire)
{
    uint8_t plain[PLAIN_SIZE];
    size_t size = link->plain_size != 0 ? link->plain_size : sizeof(plain);
    enum tls_status status;
    do {
        size_t len = 0;
        status = tls_stream_read(link->stream, wire, plain, size, &len, tls_link_sink, link);
        assert_true((status == TLS_DATA) == (len > 0));
        assert_true(len <= size);
        text_add_bytes(&link->received, plain, len);
    } while (status == TLS_DATA);
    assert_int_equal(wire->len, 0);
    return status;
}

enum tls_status tls_link_feed(struct tls_link *link, const void *bytes, size_t len)
{
    size_t step = link->step != 0 ? link->step : len;
    for (size_t at = 0; at < len; at += step) {
        size_t part = len - at < step ? len - at : step;
        /* a copy of its own: bytes that are kept must not be those of the caller */
        uint8_t *copy = malloc(part);
        assert_non_null(copy);
        memcpy(copy, (const uint8_t *)bytes + at, part);
        struct slice wire = slice_of(copy, part);
        link->status = read_all(link, &wire);
        free(copy);
    }
    return link->status;
}

void tls_link_run(struct tls_link *link)
{
    bool moved;
    do {
        char *bytes;
        size_t written = link->wire_bytes;
        client_works(link);
        size_t len = (size_t)BIO_get_mem_data(link->from_client, &bytes);
        tls_link_feed(link, bytes, len);
        (void)BIO_reset(link->from_client);
        moved = len > 0 || link->wire_bytes != written;
    } while (moved);
}

void tls_link_connect(struct tls_link *link, struct tls_context *context,
                      const struct tls_client *client)
{
    tls_link_open(link, context, client);
    tls_link_run(link);
}

void assert_link_works(struct tls_link *link)
{
    char answer[8] = {0};
    assert_string_equal(tls_stream_error(link->stream), "");
    assert_int_equal(link->client_error, 0);
    assert_true(tls_stream_ready(link->stream));
    size_t before = link->received.len;
    assert_int_equal(SSL_write(link->client, "question", 8), 8);
    tls_link_run(link);
    assert_int_equal(link->received.len, before + 8);
    assert_memory_equal(link->received.data + before, "question", 8);
    assert_int_equal(tls_stream_write(link->stream, slice_text("answer"), tls_link_sink, link),
                     ERR_OK);
    assert_int_equal(SSL_read(link->client, answer, sizeof(answer)), 6);
    assert_string_equal(answer, "answer");
}

void assert_link_failed(const struct tls_link *link, const char *part)
{
    const char *error = tls_stream_error(link->stream);
    assert_int_equal(link->status, TLS_FAILED);
    if (strstr(error, part) == NULL) {
        fail_msg("\"%s\" is not in \"%s\"", part, error);
    }
}
