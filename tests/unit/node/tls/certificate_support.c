#include "tests/unit/node/tls/certificate_support.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define MONTH_S (30 * 24 * 3600)

static EVP_PKEY *make_key(const char *curve)
{
    EVP_PKEY *key = curve != NULL && strcmp(curve, "RSA") == 0
                        ? EVP_RSA_gen(2048)
                        : EVP_EC_gen(curve != NULL ? curve : "P-256");
    assert_non_null(key);
    return key;
}

static void add_name(X509_NAME *subject, int nid, int type, const char *text, int len)
{
    if (text != NULL) {
        assert_int_equal(X509_NAME_add_entry_by_NID(subject, nid, type, (const unsigned char *)text,
                                                    len != 0 ? len : (int)strlen(text), -1, 0),
                         1);
    }
}

static void name_subject(X509 *x509, const struct certificate_wish *wish)
{
    X509_NAME *subject = X509_get_subject_name(x509);
    int type = wish->common_name_type != 0 ? wish->common_name_type : V_ASN1_UTF8STRING;
    add_name(subject, NID_organizationName, MBSTRING_UTF8, wish->organization, 0);
    add_name(subject, NID_organizationalUnitName, MBSTRING_UTF8, wish->unit, 0);
    add_name(subject, NID_commonName, type, wish->common_name, wish->common_name_len);
    add_name(subject, NID_commonName, MBSTRING_UTF8, wish->second_common_name, 0);
}

static void add_extension(X509 *x509, int nid, const char *value)
{
    if (value != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
        assert_non_null(extension);
        assert_int_equal(X509_add_ext(x509, extension, -1), 1);
        X509_EXTENSION_free(extension);
    }
}

static void sign(struct certificate *certificate, const struct certificate *issuer)
{
    const struct certificate *signer = issuer != NULL ? issuer : certificate;
    X509_set_issuer_name(certificate->x509, X509_get_subject_name(signer->x509));
    assert_true(X509_sign(certificate->x509, signer->key, EVP_sha256()) > 0);
}

struct certificate *certificate_create(const struct certificate_wish *wish)
{
    struct certificate *certificate = mem_alloc(sizeof(*certificate));
    certificate->key = make_key(wish->curve);
    X509 *x509 = certificate->x509 = X509_new();
    assert_non_null(x509);
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), wish->serial != 0 ? wish->serial : 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), wish->from_s != 0 ? wish->from_s : -60);
    X509_gmtime_adj(X509_getm_notAfter(x509), wish->to_s != 0 ? wish->to_s : MONTH_S);
    X509_set_pubkey(x509, certificate->key);
    name_subject(x509, wish);
    add_extension(x509, NID_basic_constraints, wish->is_authority ? "critical,CA:TRUE" : NULL);
    add_extension(x509, NID_subject_alt_name, wish->alternative_names);
    add_extension(x509, NID_ext_key_usage, wish->usage);
    sign(certificate, wish->issuer);
    return certificate;
}

void certificate_destroy(struct certificate *certificate)
{
    if (certificate != NULL) {
        X509_free(certificate->x509);
        EVP_PKEY_free(certificate->key);
        mem_free(certificate);
    }
}

void certificate_add_dns_name(struct certificate *certificate, const struct certificate *issuer,
                              const void *name, int len)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *one = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    assert_int_equal(ASN1_STRING_set(text, name, len), 1);
    GENERAL_NAME_set0_value(one, GEN_DNS, text);
    sk_GENERAL_NAME_push(names, one);
    assert_int_equal(X509_add1_ext_i2d(certificate->x509, NID_subject_alt_name, names, 0, 0), 1);
    GENERAL_NAMES_free(names);
    sign(certificate, issuer);
}

void certificate_write(const char *path, const struct certificate *const *certificates)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (; *certificates != NULL; certificates++) {
        assert_int_equal(PEM_write_X509(file, (*certificates)->x509), 1);
    }
    assert_int_equal(fclose(file), 0);
}

void certificate_write_key(const char *path, const struct certificate *certificate,
                           const char *passphrase)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PKCS8PrivateKey(
                         file, certificate->key, passphrase != NULL ? EVP_aes_128_cbc() : NULL,
                         passphrase, passphrase != NULL ? (int)strlen(passphrase) : 0, NULL, NULL),
                     1);
    assert_int_equal(fclose(file), 0);
}

static void add_revoked(X509_CRL *list, long serial)
{
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *when = X509_gmtime_adj(NULL, -10);
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_INTEGER_set(number, serial);
    assert_int_equal(X509_REVOKED_set_serialNumber(entry, number), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(entry, when), 1);
    assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
    ASN1_TIME_free(when);
    ASN1_INTEGER_free(number);
}

static void add_list(const char *path, const struct certificate *issuer, long serial, long to_s)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *from = X509_gmtime_adj(NULL, -30);
    ASN1_TIME *to = X509_gmtime_adj(NULL, to_s);
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->x509));
    X509_CRL_set1_lastUpdate(list, from);
    X509_CRL_set1_nextUpdate(list, to);
    if (serial != 0) {
        add_revoked(list, serial);
    }
    assert_true(X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0);
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    assert_int_equal(fclose(file), 0);
    X509_CRL_free(list);
    ASN1_TIME_free(from);
    ASN1_TIME_free(to);
}

void certificate_add_list(const char *path, const struct certificate *issuer, long serial)
{
    add_list(path, issuer, serial, MONTH_S);
}

void certificate_add_old_list(const char *path, const struct certificate *issuer)
{
    add_list(path, issuer, 0, -5);
}
