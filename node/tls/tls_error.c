#include "node/tls/tls_priv.h"

#include <openssl/err.h>

void tls__add_openssl_error(struct text *error)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    text_add(error, reason != NULL ? reason : "unknown error");
    ERR_clear_error();
}

/* ---- streams --------------------------------------------------------------------------------- */

/* As much of a request as OpenSSL wants to see before it gives up. */
static bool is_http(struct slice first)
{
    static const char *const starts[] = {"GET ",  "POST",  "HEAD",  "PUT ", "DELET",
                                         "OPTIO", "CONNE", "PATCH", "PRI "};
    for (size_t i = 0; i < ARRAY_COUNT(starts); i++) {
        if (slice_starts_with(first, starts[i])) {
            return true;
        }
    }
    return false;
}

/* A client that forgot TLS: told by its first bytes. NULL: it is something else. */
static const char *plaintext_kind(const struct tls_stream *stream)
{
    struct slice first = slice_of(stream->first, stream->first_len);
    if (stream->ready || first.len == 0) {
        return NULL;
    }
    if (first.data[0] == 0x10) {
        return "plaintext on a TLS port: MQTT";
    }
    if (is_http(first)) {
        return "plaintext on a TLS port: HTTP";
    }
    return NULL;
}

/* Words that stay: from OpenSSL's tables, and ours where they are better. */
const char *tls__error_of(const struct tls_stream *stream)
{
    const char *plaintext = plaintext_kind(stream);
    if (plaintext != NULL) {
        return plaintext;
    }
    /* The last one is what TLS makes of it; those before are of the layers below. */
    unsigned long code = ERR_peek_last_error();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
        ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
        return X509_verify_cert_error_string(SSL_get_verify_result(stream->ssl));
    }
    const char *reason = ERR_reason_error_string(code);
    return reason != NULL ? reason : "broken TLS";
}
