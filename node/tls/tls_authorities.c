#include "node/tls/tls_priv.h"

#include <openssl/err.h>
#include <openssl/pem.h>

#include "base/log.h"

/* Who may sign certificates of clients, and which of those are revoked. */

typedef int add_one(SSL_CTX *ssl, X509_STORE *store, BIO *pem, const char *name);

/* Each: 1 added one, 0 there is none more, -1 it can't be used. */
static int add_certificate(SSL_CTX *ssl, X509_STORE *store, BIO *pem, const char *name)
{
    X509 *certificate = PEM_read_bio_X509_AUX(pem, NULL, NULL, NULL);
    if (certificate == NULL) {
        return 0;
    }
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        log_warning(LOG_TLS, "an authority for clients has expired", log_text("file", name));
    }
    /* The names go to clients that have several certificates to choose from. */
    int done = X509_STORE_add_cert(store, certificate) == 1 &&
               SSL_CTX_add_client_CA(ssl, certificate) == 1;
    X509_free(certificate);
    return done ? 1 : -1;
}

static int add_list(SSL_CTX *ssl, X509_STORE *store, BIO *pem, const char *name)
{
    (void)ssl;
    X509_CRL *list = PEM_read_bio_X509_CRL(pem, NULL, NULL, NULL);
    if (list == NULL) {
        return 0;
    }
    const ASN1_TIME *end = X509_CRL_get0_nextUpdate(list);
    if (end != NULL && X509_cmp_current_time(end) < 0) {
        log_warning(LOG_TLS, "a revocation list is out of date: its clients are refused",
                    log_text("file", name));
    }
    int done = X509_STORE_add_crl(store, list) == 1;
    X509_CRL_free(list);
    return done ? 1 : -1;
}

/* All of a file, at least one; a part that can't be read is an error: it may be the one wanted. */
static enum err add_all(SSL_CTX *ssl, BIO *pem, add_one *add, const char *name, struct text *error)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl);
    int count = 0;
    int more;
    while ((more = add(ssl, store, pem, name)) == 1) {
        count++;
    }
    bool at_end = more == 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (at_end && count > 0) {
        ERR_clear_error();
        return ERR_OK;
    }
    text_printf(error, "%s: after %d good ones: ", name, count);
    tls__add_openssl_error(error);
    return ERR_INVALID;
}

static enum err load(SSL_CTX *ssl, const char *name, add_one *add, EVP_MD_CTX *policy,
                     struct text *error)
{
    struct tls_file file;
    enum err err = tls__file_read(name, false, &file, error);
    if (err != ERR_OK) {
        return err;
    }
    BIO *pem = BIO_new_mem_buf(file.data, (int)file.len);
    bool digested = EVP_DigestUpdate(policy, &file.len, sizeof(file.len)) == 1 &&
                    EVP_DigestUpdate(policy, file.data, file.len) == 1;
    err = pem != NULL && digested ? add_all(ssl, pem, add, name, error) : ERR_MEMORY;
    BIO_free(pem);
    tls__file_fini(&file);
    return err;
}

enum err tls__load_authorities(SSL_CTX *ssl, const struct tls_settings *settings,
                               EVP_MD_CTX *policy, struct text *error)
{
    if (settings->client_auth == TLS_CLIENT_AUTH_DISABLED) {
        return ERR_OK;
    }
    if (settings->client_ca == NULL) {
        text_add(error, "certificates of clients need the file with those that may sign them");
        return ERR_INVALID;
    }
    enum err err = load(ssl, settings->client_ca, add_certificate, policy, error);
    if (err == ERR_OK && settings->client_crl != NULL) {
        err = load(ssl, settings->client_crl, add_list, policy, error);
    }
    return err;
}
