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

/*
 * What the header says. `known` is false for LOCAL and UNKNOWN, and for families other than TCP
 * over IPv4 and IPv6: then the addresses of the connection itself count.
 */
struct proxy_source {
    bool known;
    struct sockaddr_storage address; /* of the client; AF_INET or AF_INET6 */
    bool tls;                        /* v2, PP2_TYPE_SSL: the client spoke TLS to the proxy */
    bool verified;                   /* and showed a certificate, which the proxy verified */
    /* PP2_SUBTYPE_SSL_CN, in the bytes of the header. Empty: none, or the certificate was not
     * verified, or it is not UTF-8 or has NUL in it. */
    struct slice common_name;
};

/*
 * Looks at what has come. DONE: `*used` bytes were the header; `*source` is what it says. Never
 * looks at what stands behind the header. BAD is told as soon as it can be. `mode` is not
 * PROXY_OFF.
 */
enum proxy_status proxy_header_read(struct slice bytes, enum proxy_mode mode,
                                    struct proxy_source *source, size_t *used);

#endif
