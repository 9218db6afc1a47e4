/*
 * Input: a byte for the mode, then what comes before a client's own bytes.
 *
 * What a header says depends on its own bytes only: not on what follows, nor on how much has come.
 * An address that it gives means the same when it is written as a header of version 1.
 */
#include <arpa/inet.h>
#include <stdio.h>

#include "codec/proxy_header.h"
#include "tests/fuzz/fuzz.h"

struct reading {
    enum proxy_status status;
    struct proxy_source source;
    size_t used;
    size_t name_at; /* of the common name */
};

static struct reading read_header(struct slice bytes, enum proxy_mode mode)
{
    struct reading reading = {.used = 0};
    uint8_t *copy = fuzz_copy(bytes);
    reading.status =
        proxy_header_read(slice_of(copy, bytes.len), mode, &reading.source, &reading.used);
    if (reading.status == PROXY_DONE) {
        ASSERT(reading.used <= bytes.len && reading.used <= PROXY_HEADER_MAX);
        ASSERT(fuzz_within(reading.source.common_name, slice_of(copy, reading.used)));
        if (reading.source.common_name.len > 0) {
            reading.name_at = (size_t)(reading.source.common_name.data - copy);
        }
    }
    free(copy);
    return reading;
}

static bool readings_equal(const struct reading *a, const struct reading *b)
{
    return a->status == b->status && a->used == b->used && a->name_at == b->name_at &&
           a->source.common_name.len == b->source.common_name.len &&
           a->source.known == b->source.known && a->source.tls == b->source.tls &&
           a->source.verified == b->source.verified &&
           memcmp(&a->source.address, &b->source.address, sizeof(a->source.address)) == 0;
}

/* Fails unless the text of the address, in a header of version 1, gives the address. */
static void check_written_as_v1(const struct proxy_source *source)
{
    char ip[INET6_ADDRSTRLEN];
    char line[128];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&source->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&source->address;
    bool is_v4 = source->address.ss_family == AF_INET;
    const void *address = is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr;
    ASSERT(inet_ntop(source->address.ss_family, address, ip, sizeof(ip)) != NULL);
    int len = snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u 0\r\n", is_v4 ? '4' : '6', ip, ip,
                       ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
    struct reading again = read_header(slice_of(line, (size_t)len), PROXY_V1);
    ASSERT(again.status == PROXY_DONE && again.used == (size_t)len && again.source.known);
    ASSERT(memcmp(&again.source.address, &source->address, sizeof(source->address)) == 0);
}

static void check_source(const struct proxy_source *source)
{
    sa_family_t family = source->address.ss_family;
    ASSERT(source->known ? family == AF_INET || family == AF_INET6 : family == 0);
    ASSERT(source->tls || !source->verified);
    ASSERT(source->verified || source->common_name.len == 0);
    if (source->known) {
        check_written_as_v1(source);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum proxy_mode modes[] = {PROXY_V1, PROXY_V2, PROXY_ANY};
    if (len == 0) {
        return 0;
    }
    enum proxy_mode mode = modes[data[0] % ARRAY_COUNT(modes)];
    struct slice bytes = slice_of(data + 1, len - 1);
    struct reading reading = read_header(bytes, mode);
    if (reading.status == PROXY_DONE) {
        check_source(&reading.source);
    }
    bool bad = false;
    for (size_t part = 0; part <= bytes.len && part < 300; part++) {
        struct reading early = read_header(slice_of(bytes.data, part), mode);
        if (reading.status == PROXY_DONE && part >= reading.used) {
            ASSERT(readings_equal(&early, &reading));
            break;
        }
        ASSERT(early.status != PROXY_DONE);
        ASSERT(early.status == PROXY_BAD || !bad); /* bad for good */
        bad = early.status == PROXY_BAD;
        ASSERT(!bad || reading.status == PROXY_BAD);
    }
    return 0;
}
