#include "node/admin/access_priv.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "base/whole_file.h"
#include "node/config.h"
#include "node/ip.h"

#define TOKEN_MIN 16 /* shorter ones can be guessed */
#define TOKEN_MAX 4096
#define TOKEN_FILE_MAX (2 * TOKEN_MAX) /* with blanks around the token */
#define DELAY_MIN_MS 250
#define DELAY_MAX_MS 4000
/* Wrong tokens are forgotten after this time without another. */
#define FORGET_MS 60000

/* ---- the token ------------------------------------------------------------------------------- */

/* What of a header's or a file's text is the token. */
static struct slice trim(const char *text, size_t len)
{
    return slice_trim(slice_of(text, len), " \t\r\n");
}

/* What a header can carry (RFC 6750 section 2.1, and a little more). */
static bool is_token(struct slice token)
{
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] <= ' ' || token.data[i] >= 0x7f) {
            return false;
        }
    }
    return token.len >= TOKEN_MIN && token.len < TOKEN_MAX;
}

static enum err load_token(const char *path, uint8_t digest[ACCESS_DIGEST_LEN], struct text *error)
{
    struct whole_file file;
    struct text why = {0};
    if (whole_file_read(&file, path, TOKEN_FILE_MAX, &why) != ERR_OK) {
        text_printf(error, "admin.token_file: %s", why.data);
        text_fini(&why);
        return ERR_INVALID;
    }
    struct slice token = trim((const char *)file.data, file.len);
    bool good = is_token(token);
    if (good) {
        SHA256(token.data, token.len, digest);
    } else {
        text_printf(error,
                    "admin.token_file: %s must hold one token of %d to %d printable characters",
                    path, TOKEN_MIN, TOKEN_MAX - 1);
    }
    if (good && file.open_to_all) {
        log_warning(LOG_ADMIN, "everybody on this machine can read the token",
                    log_text("file", path));
    }
    whole_file_fini(&file);
    return good ? ERR_OK : ERR_INVALID;
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

enum err access__load(struct access *access, const struct config *config, struct text *error)
{
    bool has_token = given(config->admin_token_file);
    uint8_t digest[ACCESS_DIGEST_LEN];
    if (has_token && load_token(config->admin_token_file, digest, error) != ERR_OK) {
        return ERR_INVALID;
    }
    if (has_token) {
        memcpy(access->digest, digest, sizeof(digest));
    }
    access->has_token = has_token;
    access->needs_certificate = given(config->admin_tls_client_ca);
    return ERR_OK;
}

/* Digests are compared, so that neither the bytes of the token nor its length show in the time. */
bool access__token_is_good(const struct access *access, const char *authorization)
{
    static const char scheme[] = "bearer ";
    size_t scheme_len = sizeof(scheme) - 1;
    if (authorization == NULL || strncasecmp(authorization, scheme, scheme_len) != 0) {
        return false;
    }
    struct slice token = trim(authorization + scheme_len, strlen(authorization + scheme_len));
    uint8_t digest[ACCESS_DIGEST_LEN];
    SHA256(token.data, token.len, digest);
    return CRYPTO_memcmp(digest, access->digest, sizeof(digest)) == 0;
}

uint64_t access__failed(struct access *access, uint64_t now_ms)
{
    if (now_ms - access->failed_ms > FORGET_MS) {
        access->failures = 0;
    }
    access->failed_ms = now_ms;
    uint64_t delay = DELAY_MIN_MS;
    for (unsigned i = 0; i < access->failures && delay < DELAY_MAX_MS; i++) {
        delay *= 2;
    }
    access->failures++;
    return delay < DELAY_MAX_MS ? delay : DELAY_MAX_MS;
}

/* ---- this host ------------------------------------------------------------------------------- */

static bool is_local(const char *host)
{
    struct ip ip;
    return strcasecmp(host, "localhost") == 0 || (ip_of_text(host, &ip) && ip_is_loopback(&ip));
}

/* "localhost", "127.0.0.1:9002", "[::1]:9002". A page of evil.example that lets its name point to
 * this host has its own name here. */
bool access__host_is_local(const char *host)
{
    char name[CONFIG_HOST_SIZE];
    if (host == NULL) {
        return false;
    }
    bool brackets = host[0] == '[';
    const char *start = brackets ? host + 1 : host;
    size_t len = strcspn(start, brackets ? "]" : ":");
    if (len >= sizeof(name) || (brackets && start[len] != ']')) {
        return false;
    }
    const char *rest = start + len + (brackets ? 1 : 0);
    bool port = rest[0] == ':' && strspn(rest + 1, "0123456789") == strlen(rest + 1);
    if (rest[0] != '\0' && !port) {
        return false;
    }
    memcpy(name, start, len);
    name[len] = '\0';
    return brackets == (strchr(name, ':') != NULL) && is_local(name);
}

/* ---- certificates ---------------------------------------------------------------------------- */

static bool certificate_is_good(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    if (info == NULL || info->tls_session == NULL) {
        return false;
    }
    gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                     .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
    unsigned trouble = ~0u;
    return gnutls_certificate_verify_peers(info->tls_session, &purpose, 1, &trouble) ==
               GNUTLS_E_SUCCESS &&
           trouble == 0;
}

enum access_verdict access__judge(const struct access *access, struct MHD_Connection *connection)
{
    if (access->needs_certificate && !certificate_is_good(connection)) {
        return ACCESS_NO_CERTIFICATE;
    }
    if (access->has_token) {
        const char *authorization =
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_AUTHORIZATION);
        return access__token_is_good(access, authorization) ? ACCESS_GRANTED : ACCESS_NO_TOKEN;
    }
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin") != NULL) {
        return ACCESS_WRONG_ORIGIN;
    }
    if (!access->needs_certificate && !access__host_is_local(MHD_lookup_connection_value(
                                          connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST))) {
        return ACCESS_WRONG_HOST;
    }
    return ACCESS_GRANTED;
}
