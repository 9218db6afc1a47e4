#include "node/tls/tls_priv.h"

#include <openssl/err.h>

#include "base/mem.h"

/* TLS 1.2 with forward secrecy and authenticated encryption only. */
#define CIPHERS_DEFAULT "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!PSK"
#define GROUPS_DEFAULT "X25519:P-256"
#define SECURITY_LEVEL 2 /* 112 bits; @SECLEVEL in `ciphers` overrules it */
#define TICKETS_MAX 8
#define ALPN_MQTT "\004mqtt"
#define ALPN_HTTP "\010http/1.1"

static bool offers(const unsigned char *offered, unsigned int offered_len, const char *protocol,
                   const unsigned char **out, unsigned char *out_len)
{
    unsigned char *chosen = NULL; /* OpenSSL's, but it points into ours or theirs */
    int found = SSL_select_next_proto(&chosen, out_len, (const unsigned char *)protocol,
                                      (unsigned int)strlen(protocol), offered, offered_len);
    *out = chosen;
    return found == OPENSSL_NPN_NEGOTIATED;
}

/* [RFC 7301 3.2]: a client that says what it speaks, and it is not this, is told so. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *offered, unsigned int offered_len, void *user)
{
    (void)user;
    const struct tls_context *context = tls__stream_of(ssl)->context;
    if (context->alpn_mqtt) {
        bool found = offers(offered, offered_len, ALPN_MQTT, out, out_len);
        return found ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    bool found = offers(offered, offered_len, ALPN_HTTP, out, out_len);
    return found ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Counts what a client can repeat without end after the handshake. */
static void on_message(int written, int version, int type, const void *data, size_t len, SSL *ssl,
                       void *user)
{
    (void)version;
    (void)ssl;
    struct tls_stream *stream = user;
    if (written == 0 && type == SSL3_RT_HANDSHAKE && len > 0 && stream != NULL &&
        *(const uint8_t *)data == SSL3_MT_KEY_UPDATE && stream->key_updates < UINT8_MAX) {
        stream->key_updates++;
    }
}

static void set_behaviour(SSL_CTX *ssl)
{
    SSL_CTX_set_mode(ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
    /* A client without AES in hardware names ChaCha20 first, and gets it. */
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_security_level(ssl, SECURITY_LEVEL);
    SSL_CTX_set_alpn_select_cb(ssl, on_alpn, NULL);
    SSL_CTX_set_msg_callback(ssl, on_message);
}

static const char *given(const char *text, const char *otherwise)
{
    return text != NULL ? text : otherwise;
}

static enum err refuse(struct text *error, const char *what, const char *value)
{
    text_printf(error, "%s \"%s\": ", what, value);
    tls__add_openssl_error(error);
    return ERR_INVALID;
}

static enum err set_algorithms(SSL_CTX *ssl, const struct tls_settings *settings,
                               struct text *error)
{
    static const int versions[] = {
        [TLS_VERSION_1_2] = TLS1_2_VERSION, [TLS_VERSION_1_3] = TLS1_3_VERSION};
    if (SSL_CTX_set_min_proto_version(ssl, versions[settings->min_version]) != 1) {
        return refuse(error, "version", settings->min_version == TLS_VERSION_1_2 ? "1.2" : "1.3");
    }
    const char *ciphers = given(settings->ciphers, CIPHERS_DEFAULT);
    if (SSL_CTX_set_cipher_list(ssl, ciphers) != 1) {
        return refuse(error, "ciphers", ciphers);
    }
    if (settings->ciphersuites != NULL &&
        SSL_CTX_set_ciphersuites(ssl, settings->ciphersuites) != 1) {
        return refuse(error, "ciphersuites", settings->ciphersuites);
    }
    const char *groups = given(settings->groups, GROUPS_DEFAULT);
    if (SSL_CTX_set1_groups_list(ssl, groups) != 1) {
        return refuse(error, "groups", groups);
    }
    return ERR_OK;
}

/*
 * What decides whether a client is let in, besides the files: a ticket that was given under another
 * policy is worth nothing. Texts with their NULs, so that two can't be taken for one.
 */
static bool digest_settings(EVP_MD_CTX *policy, const struct tls_settings *settings)
{
    const char *texts[] = {given(settings->ciphers, ""), given(settings->ciphersuites, ""),
                           settings->client_crl != NULL ? "crl" : ""};
    uint8_t choices[] = {(uint8_t)settings->client_auth, (uint8_t)settings->min_version,
                         settings->alpn_mqtt};
    bool done = EVP_DigestInit_ex(policy, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(policy, choices, sizeof(choices)) == 1;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        done = done && EVP_DigestUpdate(policy, texts[i], strlen(texts[i]) + 1) == 1;
    }
    return done;
}

static enum err load_files(SSL_CTX *ssl, const struct tls_settings *settings,
                           uint8_t policy[static TLS_POLICY_LEN], struct text *error)
{
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    enum err err = digest != NULL && digest_settings(digest, settings) ? ERR_OK : ERR_MEMORY;
    if (err == ERR_OK) {
        err = tls__load_identity(ssl, settings, error);
    }
    if (err == ERR_OK) {
        err = tls__load_authorities(ssl, settings, digest, error);
    }
    if (err == ERR_OK && EVP_DigestFinal_ex(digest, policy, NULL) != 1) {
        err = ERR_MEMORY;
    }
    EVP_MD_CTX_free(digest);
    return err;
}

static enum err fill(struct tls_context *context, const struct tls_context *old,
                     const struct tls_settings *settings, struct text *error)
{
    static const unsigned char session_id_context[] = "pulse";
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->bio_method = tls__bio_method();
    context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    if (context->ssl == NULL || context->bio_method == NULL || context->ticket_cipher == NULL) {
        return ERR_MEMORY;
    }
    set_behaviour(context->ssl);
    SSL_CTX_set_session_id_context(context->ssl, session_id_context, sizeof(session_id_context));
    enum err err = set_algorithms(context->ssl, settings, error);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t policy[TLS_POLICY_LEN];
    err = load_files(context->ssl, settings, policy, error);
    if (err != ERR_OK) {
        return err;
    }
    tls__verify_setup(context->ssl, settings);
    uint32_t tickets = settings->session_tickets;
    tls__tickets_setup(context->ssl, tickets < TICKETS_MAX ? tickets : TICKETS_MAX);
    context->tickets =
        old != NULL ? tls__ring_follow(old->tickets, policy) : tls__ring_create(policy);
    return context->tickets != NULL ? ERR_OK : ERR_MEMORY;
}

static enum err make(const struct tls_context *old, const struct tls_settings *settings,
                     struct tls_context **out, struct text *error)
{
    struct tls_context *context = mem_alloc(sizeof(*context));
    atomic_init(&context->refs, 1);
    context->identity = settings->identity;
    context->alpn_mqtt = settings->alpn_mqtt;
    ERR_clear_error();
    enum err err = fill(context, old, settings, error);
    if (err == ERR_MEMORY) {
        tls__add_openssl_error(error);
    }
    if (err != ERR_OK) {
        tls_context_unref(context);
        return err;
    }
    *out = context;
    return ERR_OK;
}

enum err tls_context_create(const struct tls_settings *settings, struct tls_context **out,
                            struct text *error)
{
    return make(NULL, settings, out, error);
}

enum err tls_context_reload(const struct tls_context *old, const struct tls_settings *settings,
                            struct tls_context **out, struct text *error)
{
    return make(old, settings, out, error);
}

void tls_context_ref(struct tls_context *context)
{
    atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
}

void tls_context_unref(struct tls_context *context)
{
    if (context == NULL ||
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    tls__ring_unref(context->tickets);
    SSL_CTX_free(context->ssl);
    BIO_meth_free(context->bio_method);
    EVP_CIPHER_free(context->ticket_cipher);
    mem_free(context);
}
