#include "tests/unit/storage/certificate_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/mem.h"

#define VALID_S 3600

struct certificate_authority {
    EVP_PKEY *key;
    X509 *certificate;
    long serial;
};

static X509 *unsigned_certificate(const char *name, EVP_PKEY *key, long serial)
{
    X509 *certificate = X509_new();
    assert_non_null(certificate);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_S);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)name, -1, -1, 0);
    return certificate;
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void write_certificate(X509 *certificate, const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, certificate), 1);
    assert_int_equal(fclose(file), 0);
}

static void write_key(EVP_PKEY *key, const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(file), 0);
}

struct certificate_authority *certificate_authority_create(const char *name, const char *path)
{
    struct certificate_authority *authority = mem_alloc(sizeof *authority);
    authority->key = EVP_EC_gen("P-256");
    assert_non_null(authority->key);
    authority->serial = 1;
    authority->certificate = unsigned_certificate(name, authority->key, 1);
    X509_set_issuer_name(authority->certificate, X509_get_subject_name(authority->certificate));
    add_extension(authority->certificate, NID_basic_constraints, "critical,CA:TRUE");
    assert_true(X509_sign(authority->certificate, authority->key, EVP_sha256()) > 0);
    write_certificate(authority->certificate, path);
    return authority;
}

void certificate_authority_destroy(struct certificate_authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
    mem_free(authority);
}

void certificate_write(struct certificate_authority *authority, const char *name,
                       const char *address, const char *certificate_path, const char *key_path)
{
    char names[200];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    assert_non_null(key);
    X509 *certificate = unsigned_certificate(name, key, ++authority->serial);
    X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate));
    (void)snprintf(names, sizeof names, "DNS:%s%s%s", name, address != NULL ? ",IP:" : "",
                   address != NULL ? address : "");
    add_extension(certificate, NID_subject_alt_name, names);
    add_extension(certificate, NID_ext_key_usage, "serverAuth,clientAuth");
    assert_true(X509_sign(certificate, authority->key, EVP_sha256()) > 0);
    write_certificate(certificate, certificate_path);
    write_key(key, key_path);
    X509_free(certificate);
    EVP_PKEY_free(key);
}
