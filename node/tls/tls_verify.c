#include "node/tls/tls_priv.h"

#include <openssl/x509_vfy.h>

#include "base/mem.h"

/* Certificates between a client's and one of the file; a longer way costs more signatures. */
#define CHAIN_DEPTH_MAX 4

/* Bytes of all certificates that a client may show. */
#define CLIENT_CHAIN_BYTES_MAX (32 * 1024)

/*
 * The certificate that ends a chain is trusted because the file names it. One that is no root has
 * no issuer there whose list could be looked into.
 */
static bool is_list_of_anchor(X509_STORE_CTX *verification)
{
    int error = X509_STORE_CTX_get_error(verification);
    int last = sk_X509_num(X509_STORE_CTX_get0_chain(verification)) - 1;
    return (error == X509_V_ERR_UNABLE_TO_GET_CRL ||
            error == X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER) &&
           X509_STORE_CTX_get_error_depth(verification) == last && last > 0;
}

/* Keeps the subject for the log. */
static void note_refused(struct tls_stream *stream, X509 *certificate)
{
    if (certificate == NULL || stream->refused != NULL) {
        return;
    }
    char *subject = mem_try_alloc(TLS_REFUSED_SIZE);
    if (subject != NULL) {
        (void)X509_NAME_oneline(X509_get_subject_name(certificate), subject, TLS_REFUSED_SIZE);
        stream->refused = subject;
    }
}

static int on_verified(int good, X509_STORE_CTX *verification)
{
    if (good == 1) {
        return 1;
    }
    if (is_list_of_anchor(verification)) {
        X509_STORE_CTX_set_error(verification, X509_V_OK);
        return 1;
    }
    SSL *ssl = X509_STORE_CTX_get_ex_data(verification, SSL_get_ex_data_X509_STORE_CTX_idx());
    note_refused(tls__stream_of(ssl), X509_STORE_CTX_get_current_cert(verification));
    return 0;
}

void tls__verify_setup(SSL_CTX *ssl, const struct tls_settings *settings)
{
    switch (settings->client_auth) {
    case TLS_CLIENT_AUTH_DISABLED:
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return;
    case TLS_CLIENT_AUTH_OPTIONAL:
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, on_verified);
        break;
    case TLS_CLIENT_AUTH_REQUIRED:
        SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, on_verified);
        break;
    }
    SSL_CTX_set_verify_depth(ssl, CHAIN_DEPTH_MAX);
    SSL_CTX_set_max_cert_list(ssl, CLIENT_CHAIN_BYTES_MAX);
    X509_VERIFY_PARAM *rules = SSL_CTX_get0_param(ssl);
    unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN; /* an intermediate of the file is enough */
    if (settings->client_crl != NULL) {
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
    }
    X509_VERIFY_PARAM_set_flags(rules, flags);
}
