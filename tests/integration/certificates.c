#include "tests/integration/certificates.h"

#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

enum { DAY_S = 24 * 3600, RSA_BITS = 2048, PATHS_KEPT = 16, PATH_SIZE = 128 };

static char folder[PATH_SIZE / 2];
static long serials_given;

struct authority {
    X509 *certificate;
    EVP_PKEY *key;
};

/* What is asked for. Texts may be NULL. */
struct subject {
    const char *name;
    const char *common_name;
    size_t common_name_len; /* 0: up to its NUL */
    const char *organization;
    const char *unit;
    const char *alternatives; /* as in openssl.cnf: DNS:localhost,IP:::1 */
    bool is_rsa;
    bool is_authority;
    bool is_expired;
};

static void must(bool is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "cannot make certificates: %s\n", what);
        exit(1);
    }
}

static void make_all(void);

const char *certificates_path(const char *name)
{
    static char paths[PATHS_KEPT][PATH_SIZE];
    static unsigned next;
    if (folder[0] == '\0') {
        snprintf(folder, sizeof(folder), "/tmp/pulse-certificates-XXXXXX");
        must(mkdtemp(folder) != NULL, folder);
        make_all();
    }
    char *path = paths[next++ % PATHS_KEPT];
    snprintf(path, PATH_SIZE, "%s/%s", folder, name);
    return path;
}

static FILE *create(const char *name, const char *ending)
{
    char file[64];
    snprintf(file, sizeof(file), "%s%s", name, ending);
    FILE *out = fopen(certificates_path(file), "w");
    must(out != NULL, file);
    return out;
}

static void add_name(X509_NAME *name, const char *field, const char *text, size_t len)
{
    if (text != NULL) {
        int text_len = len > 0 ? (int)len : -1;
        must(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)text,
                                        text_len, -1, 0) == 1,
             field);
    }
}

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    must(extension != NULL && X509_add_ext(certificate, extension, -1) == 1, value);
    X509_EXTENSION_free(extension);
}

static X509 *create_certificate(const struct subject *subject, EVP_PKEY *key,
                                const struct authority *issuer)
{
    X509 *certificate = X509_new();
    must(certificate != NULL && X509_set_version(certificate, X509_VERSION_3) == 1 &&
             X509_set_pubkey(certificate, key) == 1,
         "X509");
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serials_given);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -2 * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), subject->is_expired ? -DAY_S : 30 * DAY_S);
    X509_NAME *name = X509_get_subject_name(certificate);
    add_name(name, "O", subject->organization, 0);
    add_name(name, "OU", subject->unit, 0);
    add_name(name, "CN", subject->common_name, subject->common_name_len);
    X509_set_issuer_name(certificate,
                         X509_get_subject_name(issuer ? issuer->certificate : certificate));
    if (subject->is_authority) {
        add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
        add_extension(certificate, NID_key_usage, "critical,keyCertSign,cRLSign");
    }
    if (subject->alternatives != NULL) {
        add_extension(certificate, NID_subject_alt_name, subject->alternatives);
    }
    must(X509_sign(certificate, issuer ? issuer->key : key, EVP_sha256()) > 0, "X509_sign");
    return certificate;
}

/* Makes key and certificate, and writes both. */
static struct authority make(const struct subject *subject, const struct authority *issuer)
{
    struct authority made = {.key = subject->is_rsa ? EVP_RSA_gen(RSA_BITS) : EVP_EC_gen("P-256")};
    must(made.key != NULL, "a key");
    made.certificate = create_certificate(subject, made.key, issuer);
    FILE *file = create(subject->name, ".pem");
    must(PEM_write_X509(file, made.certificate) == 1 && fclose(file) == 0, subject->name);
    file = create(subject->name, ".key");
    must(PEM_write_PrivateKey(file, made.key, NULL, NULL, 0, NULL, NULL) == 1 && fclose(file) == 0,
         subject->name);
    return made;
}

static void forget(struct authority *authority)
{
    X509_free(authority->certificate);
    EVP_PKEY_free(authority->key);
}

/* `revoked`: the certificate that the list names; NULL: none. */
static void make_list(const char *name, const struct authority *issuer, const X509 *revoked)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -DAY_S);
    ASN1_TIME *later = X509_gmtime_adj(NULL, 30 * DAY_S);
    must(list != NULL && now != NULL && later != NULL, name);
    X509_CRL_set_version(list, X509_CRL_VERSION_2);
    X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, later);
    if (revoked != NULL) {
        X509_REVOKED *entry = X509_REVOKED_new();
        must(entry != NULL, name);
        X509_REVOKED_set_serialNumber(entry, (ASN1_INTEGER *)X509_get0_serialNumber(revoked));
        X509_REVOKED_set_revocationDate(entry, now);
        X509_CRL_add0_revoked(list, entry);
    }
    must(X509_CRL_sort(list) == 1 && X509_CRL_sign(list, issuer->key, EVP_sha256()) > 0, name);
    FILE *file = create(name, ".pem");
    must(PEM_write_X509_CRL(file, list) == 1 && fclose(file) == 0, name);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(list);
}

static void make_signed(const struct authority *ca)
{
    static const struct subject subjects[] = {
        {.name = "server",
         .common_name = "localhost",
         .alternatives = "DNS:localhost,IP:127.0.0.1,IP:::1",
         .is_rsa = true},
        {.name = "renewed",
         .common_name = "localhost",
         .alternatives = "DNS:localhost,IP:127.0.0.1,IP:::1"},
        {.name = "server-ec",
         .common_name = "localhost",
         .alternatives = "DNS:localhost,IP:127.0.0.1,IP:::1"},
        {.name = "client",
         .common_name = "device-1",
         .organization = "Pulse Works",
         .unit = "line 4",
         .alternatives = "DNS:device-1.example,email:device-1@example.org,URI:urn:device:1"},
        {.name = "expired", .common_name = "device-2", .is_expired = true},
        {.name = "wildcard", .common_name = "#"},
        {.name = "nul", .common_name = "admin\0.example", .common_name_len = 14},
    };
    for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]); i++) {
        struct authority made = make(&subjects[i], ca);
        forget(&made);
    }
    struct authority revoked =
        make(&(struct subject){.name = "revoked", .common_name = "device-3"}, ca);
    make_list("crl", ca, revoked.certificate);
    make_list("empty-crl", ca, NULL);
    forget(&revoked);
}

static void make_all(void)
{
    struct authority ca =
        make(&(struct subject){.name = "ca", .common_name = "Test CA", .is_authority = true}, NULL);
    make_signed(&ca);
    forget(&ca);
    struct authority other =
        make(&(struct subject){.name = "other-ca", .common_name = "Other CA", .is_authority = true},
             NULL);
    struct authority made =
        make(&(struct subject){.name = "stranger", .common_name = "device-1"}, &other);
    forget(&made);
    made = make(&(struct subject){.name = "impostor", .common_name = "localhost"}, &other);
    forget(&made);
    forget(&other);
    certificates_write("garbage.pem", "-----BEGIN CERTIFICATE-----\nnothing\n");
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

void certificates_end(void)
{
    if (folder[0] != '\0') {
        nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    }
}

void certificates_write(const char *name, const char *text)
{
    FILE *file = create(name, "");
    must(fputs(text, file) >= 0 && fclose(file) == 0, name);
}

void certificates_copy(const char *from, const char *to)
{
    FILE *in = fopen(certificates_path(from), "r");
    FILE *out = create(to, ".new");
    char bytes[4096];
    size_t len;
    must(in != NULL, from);
    while ((len = fread(bytes, 1, sizeof(bytes), in)) > 0) {
        must(fwrite(bytes, 1, len, out) == len, to);
    }
    fclose(in);
    must(fclose(out) == 0, to);
    char made[PATH_SIZE];
    snprintf(made, sizeof(made), "%s.new", certificates_path(to));
    must(rename(made, certificates_path(to)) == 0, to);
}
