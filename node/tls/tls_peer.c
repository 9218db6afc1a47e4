#include "node/tls/tls_priv.h"

#include <openssl/x509v3.h>

#include "base/mem.h"

/* Longer names are no names. */
#define NAME_MAX_BYTES 1024

/* The texts stand behind the structure. */
struct tls_peer_names {
    struct tls_peer view;
    struct text store; /* while it is made; then its data is what the slices point into */
};

/* Where a name stands in the store, which may move while it grows. */
struct span {
    size_t at;
    size_t len;
};

static struct slice span_slice(const struct text *store, struct span span)
{
    return span.len > 0 ? slice_of(store->data + span.at, span.len) : slice_of(NULL, 0);
}

/*
 * Adds a text of a certificate as UTF-8. Nothing, where it is not one, is too long or has NUL in
 * it: "admin\0.example" is not "admin".
 */
static struct span add_name(struct text *store, const ASN1_STRING *string)
{
    struct span span = {.at = store->len};
    unsigned char *utf8 = NULL;
    int len = string != NULL ? ASN1_STRING_to_UTF8(&utf8, string) : -1;
    if (len > 0 && len <= NAME_MAX_BYTES && memchr(utf8, '\0', (size_t)len) == NULL) {
        text_add_bytes(store, utf8, (size_t)len);
        span.len = (size_t)len;
    }
    OPENSSL_free(utf8);
    return span;
}

static const ASN1_STRING *subject_entry(const X509_NAME *subject, int nid)
{
    int at = X509_NAME_get_index_by_NID(subject, nid, -1);
    return at >= 0 ? X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)) : NULL;
}

/* Two common names are two answers to the question who it is: none is taken. */
static struct span add_common_name(struct text *store, const X509_NAME *subject)
{
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0 && X509_NAME_get_index_by_NID(subject, NID_commonName, at) >= 0) {
        return (struct span){0};
    }
    return add_name(store, subject_entry(subject, NID_commonName));
}

/* These hold IA5 strings, which are ASCII; anything else in one is not read as Latin-1. */
static bool is_ascii(const ASN1_STRING *string)
{
    const unsigned char *data = ASN1_STRING_get0_data(string);
    for (int i = 0; i < ASN1_STRING_length(string); i++) {
        if (data[i] >= 0x80) {
            return false;
        }
    }
    return true;
}

/* The first alternative name of that kind. */
static struct span add_alternative_name(struct text *store, const X509 *certificate, int kind)
{
    struct span span = {0};
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int type = 0;
        const ASN1_STRING *value = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type == kind) {
            span = is_ascii(value) ? add_name(store, value) : (struct span){0};
            break;
        }
    }
    GENERAL_NAMES_free(names);
    return span;
}

static struct span add_hexadecimal(struct text *store, const unsigned char *data, size_t len)
{
    struct span span = {.at = store->len, .len = len * 2};
    for (size_t i = 0; i < len; i++) {
        text_printf(store, "%02x", data[i]);
    }
    return span;
}

static struct span add_serial(struct text *store, const X509 *certificate)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    int len = ASN1_STRING_length(serial);
    if (len <= 0 || len > NAME_MAX_BYTES) {
        return (struct span){0};
    }
    return add_hexadecimal(store, ASN1_STRING_get0_data(serial), (size_t)len);
}

static struct span add_fingerprint(struct text *store, const X509 *certificate)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    if (X509_digest(certificate, EVP_sha256(), digest, &len) != 1) {
        return (struct span){0};
    }
    return add_hexadecimal(store, digest, len);
}

static struct span add_identity(struct text *store, const X509 *certificate,
                                struct span common_name, enum tls_identity identity)
{
    switch (identity) {
    case TLS_IDENTITY_NONE:
        break;
    case TLS_IDENTITY_CN:
        return common_name;
    case TLS_IDENTITY_SAN_DNS:
        return add_alternative_name(store, certificate, GEN_DNS);
    case TLS_IDENTITY_SAN_EMAIL:
        return add_alternative_name(store, certificate, GEN_EMAIL);
    case TLS_IDENTITY_SAN_URI:
        return add_alternative_name(store, certificate, GEN_URI);
    }
    return (struct span){0};
}

struct tls_peer_names *tls__peer_create(X509 *certificate, bool verified,
                                        enum tls_identity identity)
{
    struct tls_peer_names *names = mem_alloc(sizeof(*names));
    if (!verified) {
        return names;
    }
    struct text *store = &names->store;
    const X509_NAME *subject = X509_get_subject_name(certificate);
    struct span common_name = add_common_name(store, subject);
    struct span organization = add_name(store, subject_entry(subject, NID_organizationName));
    struct span unit = add_name(store, subject_entry(subject, NID_organizationalUnitName));
    struct span serial = add_serial(store, certificate);
    struct span fingerprint = add_fingerprint(store, certificate);
    struct span identity_name = add_identity(store, certificate, common_name, identity);
    names->view = (struct tls_peer){
        .identity = span_slice(store, identity_name),
        .common_name = span_slice(store, common_name),
        .organization = span_slice(store, organization),
        .organizational_unit = span_slice(store, unit),
        .serial = span_slice(store, serial),
        .fingerprint = span_slice(store, fingerprint),
        .verified = true,
    };
    return names;
}

const struct tls_peer *tls__peer_view(const struct tls_peer_names *names)
{
    return &names->view;
}

void tls__peer_destroy(struct tls_peer_names *names)
{
    if (names != NULL) {
        text_fini(&names->store);
        mem_free(names);
    }
}
