#include "node/tls/tls_priv.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/stat.h>

#include "base/log.h"

/* Who the server is: its certificate, the chain behind it, and its key. */

#define EXPIRES_SOON_S (14 * 24 * 3600)

/* Adds what OpenSSL has to say of the file, which could be read but not used. */
static enum err refuse(struct text *error, const char *name, const char *what)
{
    text_printf(error, "%s: %s: ", name, what);
    tls__add_openssl_error(error);
    return ERR_INVALID;
}

/* Expired ones are let pass: clients refuse them, and the operator may be about to replace it. */
static void warn_of_dates(const X509 *certificate, const char *name)
{
    time_t soon = time(NULL) + EXPIRES_SOON_S;
    if (X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0) {
        log_warning(LOG_TLS, "the certificate has expired", log_text("file", name));
    } else if (X509_cmp_time(X509_get0_notAfter(certificate), &soon) < 0) {
        log_warning(LOG_TLS, "the certificate expires within two weeks", log_text("file", name));
    }
    if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0) {
        log_warning(LOG_TLS, "the certificate is not valid yet", log_text("file", name));
    }
}

static enum err use_chain(SSL_CTX *ssl, BIO *pem, const char *name, struct text *error)
{
    X509 *certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL);
    if (certificate == NULL) {
        return refuse(error, name, "no certificate");
    }
    warn_of_dates(certificate, name);
    enum err err = ERR_OK;
    if (SSL_CTX_use_certificate(ssl, certificate) != 1) {
        err = refuse(error, name, "the certificate can't be used");
    }
    X509_free(certificate);
    while (err == ERR_OK && (certificate = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
        if (SSL_CTX_add1_chain_cert(ssl, certificate) != 1) {
            err = refuse(error, name, "a certificate of the chain can't be used");
        }
        X509_free(certificate);
    }
    if (err == ERR_OK && ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE) {
        err = refuse(error, name, "a certificate of the chain can't be read");
    }
    ERR_clear_error();
    return err;
}

static enum err load_chain(SSL_CTX *ssl, const char *name, struct text *error)
{
    struct tls_file file;
    enum err err = tls__file_read(name, false, &file, error);
    if (err != ERR_OK) {
        return err;
    }
    BIO *pem = BIO_new_mem_buf(file.data, (int)file.len);
    err = pem != NULL ? use_chain(ssl, pem, name, error) : ERR_MEMORY;
    BIO_free(pem);
    tls__file_fini(&file);
    return err;
}

/* There is nobody at a terminal to ask; only note that it would have been necessary. */
static int on_passphrase(char *to, int size, int writing, void *user)
{
    (void)to;
    (void)size;
    (void)writing;
    *(bool *)user = true;
    return -1;
}

static enum err use_key(SSL_CTX *ssl, BIO *pem, const char *name, struct text *error)
{
    bool has_passphrase = false;
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, on_passphrase, &has_passphrase);
    if (key == NULL && has_passphrase) {
        ERR_clear_error();
        text_printf(error, "%s: the private key has a passphrase, which can't be asked for", name);
        return ERR_INVALID;
    }
    if (key == NULL) {
        return refuse(error, name, "no private key");
    }
    enum err err = ERR_OK;
    if (SSL_CTX_use_PrivateKey(ssl, key) != 1 || SSL_CTX_check_private_key(ssl) != 1) {
        err = refuse(error, name, "the private key does not fit the certificate");
    }
    EVP_PKEY_free(key);
    return err;
}

static enum err load_key(SSL_CTX *ssl, const char *name, struct text *error)
{
    struct tls_file file;
    enum err err = tls__file_read(name, true, &file, error);
    if (err != ERR_OK) {
        return err;
    }
    /* A group that may read it is common (ssl-cert, a volume of Kubernetes), the world is not. */
    if ((file.mode & (S_IRWXO | S_IWGRP)) != 0) {
        log_warning(LOG_TLS, "others can read or change the private key", log_text("file", name));
    }
    BIO *pem = BIO_new_mem_buf(file.data, (int)file.len);
    err = pem != NULL ? use_key(ssl, pem, name, error) : ERR_MEMORY;
    BIO_free(pem);
    tls__file_fini(&file);
    return err;
}

enum err tls__load_identity(SSL_CTX *ssl, const struct tls_settings *settings, struct text *error)
{
    if (settings->certificate_chain == NULL || settings->private_key == NULL) {
        text_add(error, "TLS needs a certificate and a private key");
        return ERR_INVALID;
    }
    enum err err = load_chain(ssl, settings->certificate_chain, error);
    return err == ERR_OK ? load_key(ssl, settings->private_key, error) : err;
}
