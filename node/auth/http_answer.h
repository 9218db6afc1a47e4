/*
 * http_answer: what the server of auth.http_url says of a client.
 *
 *     {"result": "allow",                        or "deny", or "ignore": ask the next provider
 *      "username": "pump-7",                     who it is; else the user name of the request
 *      "groups": ["devices"], "acl": [...],      as grants.h
 *      "expires_at": 1767225600,                 seconds since 1970: the connection ends then
 *      "cache": 60}                              seconds at most (beside auth.cache_ttl);
 *                                                 0: ask again each time
 *
 * All but `result` may be left out. Other members are refused: one that is misspelt must not pass
 * for one that is missing.
 *
 * Owns      its texts and rules.
 * Thread    any; it is a value.
 * Errors    ERR_SYNTAX: not understood; `*why` is a constant text. ERR_MEMORY.
 */
#ifndef PULSE_NODE_AUTH_HTTP_ANSWER_H
#define PULSE_NODE_AUTH_HTTP_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"
#include "node/auth/grants.h"

/* X(CONSTANT, "word") */
#define HTTP_RESULTS(X) X(HTTP_ALLOW, "allow") X(HTTP_DENY, "deny") X(HTTP_IGNORE, "ignore")
#define X(constant, word) constant,
enum http_result { HTTP_RESULTS(X) };
#undef X

struct http_answer {
    enum http_result result;
    struct text username;
    struct grants grants;
    bool expires;
    uint64_t expires_at_ms; /* wall clock */
    bool cache_given;
    uint64_t cache_ms; /* 0: not given, or not at all */
};

/* Reads a body. `answer` is written on ERR_OK; end it with http_answer_fini. */
must_check enum err http_answer_read(struct slice body, struct http_answer *answer,
                                     const char **why);
void http_answer_fini(struct http_answer *answer);

#endif
