/*
 * proxy_header: the header of the PROXY protocol, versions 1 and 2, by which a load balancer says
 * whose connection it passes on. No I/O.
 *
 * Thread    any.
 * Errors    PROXY_BAD: not a header, or one that the specification forbids.
 * Source    haproxy.org, "The PROXY protocol", versions 1 and 2.
 */
#ifndef PULSE_CODEC_PROXY_HEADER_H
#define PULSE_CODEC_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/slice.h"

/* Longer ones are refused. */
#define PROXY_HEADER_MAX 2048

/* X(CONSTANT, "word"): what a listener expects. */
#define PROXY_MODES(X) X(PROXY_OFF, "off") X(PROXY_V1, "v1") X(PROXY_V2, "v2") X(PROXY_ANY, "any")
#define X(constant, word) constant,
enum proxy_mode { PROXY_MODES(X) };
#undef X

enum proxy_status { PROXY_MORE, PROXY_DONE, PROXY_BAD };

/* What the header says. */
struct proxy_source {
    bool known;                  /* false: LOCAL, UNKNOWN, or no IP address: the connection's own counts */
    struct sockaddr_storage address; /* of the client; AF_INET or AF_INET6 */
    bool tls;                    /* v2, PP2_TYPE_SSL: the client spoke TLS to the proxy */
    bool verified;               /* and its certificate was verified */
    struct slice common_name;    /* PP2_SUBTYPE_SSL_CN, in `bytes`; empty: none */
};

/* Looks at what has come. DONE: `*used` bytes were the header. */
enum proxy_status proxy_header_read(struct slice bytes, enum proxy_mode mode,
                                    struct proxy_source *source, size_t *used);

#endif
