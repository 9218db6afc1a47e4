/*
 * access: who may use the API: a bearer token, a client certificate, or (without either) whoever
 * speaks from this host and names it in the header Host, which a web page in a browser can't.
 *
 * Owns      the digest of the token; the token itself is not kept.
 * Thread    main.
 * Errors    ERR_INVALID, with a line for people.
 */
#ifndef PULSE_NODE_ADMIN_ACCESS_PRIV_H
#define PULSE_NODE_ADMIN_ACCESS_PRIV_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"

struct config;

#define ACCESS_DIGEST_LEN 32

struct access {
    bool has_token;
    bool needs_certificate;
    uint8_t digest[ACCESS_DIGEST_LEN]; /* SHA-256 of the token */
    unsigned failures;                 /* wrong tokens lately */
    uint64_t failed_ms;                /* when the last one came */
};

enum access_verdict {
    ACCESS_GRANTED,
    ACCESS_NO_CERTIFICATE, /* none, or one that is not good */
    ACCESS_NO_TOKEN,       /* none, or a wrong one */
    ACCESS_WRONG_HOST,     /* another name than this host's */
    ACCESS_WRONG_ORIGIN,   /* a web page asks */
};

/* Reads the token of `config`. On an error `access` is as it was. */
must_check enum err access__load(struct access *access, const struct config *config,
                                 struct text *error);

enum access_verdict access__judge(const struct access *access, struct MHD_Connection *connection);

/* A wrong token came: how long its answer should take. */
uint64_t access__failed(struct access *access, uint64_t now_ms);

/* For tests: the parts of access__judge. `authorization` and `host` are headers, or NULL. */
bool access__token_is_good(const struct access *access, const char *authorization);
bool access__host_is_local(const char *host);

#endif
