#include "codec/proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/crc32c.h"
#include "base/macros.h"
#include "codec/topic.h"

#define V1_MAX 107 /* bytes of the line, with CRLF */
#define V1_WORD "PROXY "

#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LEN 12
#define V2_FIXED 16 /* bytes in front of the addresses */

static_assert(sizeof(V2_SIGNATURE) - 1 == V2_SIGNATURE_LEN, "the signature has 12 bytes");

enum command { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum family { FAMILY_UNSPEC = 0, FAMILY_INET = 1, FAMILY_INET6 = 2, FAMILY_UNIX = 3 };
enum transport { TRANSPORT_UNSPEC = 0, TRANSPORT_STREAM = 1, TRANSPORT_DGRAM = 2 };

/* Bytes of both addresses and ports. */
static const uint8_t address_bytes[] = {
    [FAMILY_INET] = 12, [FAMILY_INET6] = 36, [FAMILY_UNIX] = 216};

enum tlv_type { TLV_CRC32C = 0x03, TLV_SSL = 0x20, TLV_SSL_CN = 0x22 };
#define TLV_HEADER 3
#define CRC_BYTES 4
#define SSL_FIXED 5
enum ssl_client { SSL_CLIENT_TLS = 0x01, SSL_CLIENT_CERT_CONN = 0x02, SSL_CLIENT_CERT_SESS = 0x04 };

/* Whether `bytes` begin as the `len` bytes at `word` do, as far as there are any. */
static bool may_begin(struct slice bytes, const char *word, size_t len)
{
    return memcmp(bytes.data, word, bytes.len < len ? bytes.len : len) == 0;
}

/* ---- version 1: a line of text --------------------------------------------------------------- */

/* Words are separated by exactly one blank. */
static struct slice next_word(struct slice *rest)
{
    return slice_cut(rest, ' ');
}

/* 0 to 65535 without zeros in front. */
static bool read_port(struct slice word, in_port_t *port)
{
    uint32_t value = 0;
    if (word.len == 0 || word.len > 5 || (word.len > 1 && word.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(word.data[i] - '0');
    }
    *port = htons((uint16_t)value);
    return value <= UINT16_MAX;
}

/* inet_pton allows no zeros in front of the numbers of IPv4, as the specification wants it. */
static bool read_ip(struct slice word, int family, void *out)
{
    char text[INET6_ADDRSTRLEN];
    if (word.len == 0 || word.len >= sizeof(text) || memchr(word.data, '\0', word.len) != NULL) {
        return false;
    }
    memcpy(text, word.data, word.len);
    text[word.len] = '\0';
    return inet_pton(family, text, out) == 1;
}

/* "source destination source-port destination-port". All of it must be right, not only what is
 * used. */
static bool read_v1_addresses(struct slice rest, int family, struct proxy_source *source)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&source->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&source->address;
    bool is_v4 = family == AF_INET;
    struct in6_addr destination;
    in_port_t destination_port;

    source->address.ss_family = (sa_family_t)family;
    source->known = true;
    return read_ip(next_word(&rest), family, is_v4 ? (void *)&v4->sin_addr : &v6->sin6_addr) &&
           read_ip(next_word(&rest), family, &destination) &&
           read_port(next_word(&rest), is_v4 ? &v4->sin_port : &v6->sin6_port) &&
           read_port(next_word(&rest), &destination_port) && rest.data == NULL;
}

static bool read_v1_line(struct slice line, struct proxy_source *source)
{
    struct slice rest = slice_from(line, sizeof(V1_WORD) - 1);
    struct slice protocol = next_word(&rest);
    if (slice_equal(protocol, slice_text("TCP4"))) {
        return read_v1_addresses(rest, AF_INET, source);
    }
    if (slice_equal(protocol, slice_text("TCP6"))) {
        return read_v1_addresses(rest, AF_INET6, source);
    }
    return slice_equal(protocol, slice_text("UNKNOWN")); /* whatever comes behind it */
}

static enum proxy_status read_v1(struct slice bytes, struct proxy_source *source, size_t *used)
{
    size_t word_len = sizeof(V1_WORD) - 1;
    if (!may_begin(bytes, V1_WORD, word_len)) {
        return PROXY_BAD;
    }
    size_t len = bytes.len < V1_MAX ? bytes.len : V1_MAX;
    const uint8_t *end = memchr(bytes.data, '\n', len);
    const uint8_t *cr = memchr(bytes.data, '\r', len);
    if (cr != NULL && cr + 1 < bytes.data + len && cr[1] != '\n') {
        return PROXY_BAD;
    }
    if (end == NULL) {
        return len < V1_MAX ? PROXY_MORE : PROXY_BAD;
    }
    if (cr == NULL || cr + 1 != end) {
        return PROXY_BAD;
    }
    struct slice line = slice_of(bytes.data, (size_t)(cr - bytes.data));
    if (line.len < word_len || !read_v1_line(line, source)) {
        return PROXY_BAD;
    }
    *used = line.len + 2;
    return PROXY_DONE;
}

/* ---- version 2: binary ----------------------------------------------------------------------- */

static uint16_t load_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t load_u32(const uint8_t *at)
{
    return (uint32_t)load_u16(at) << 16 | load_u16(at + 2);
}

/* The sum is that of the header with zeros where the sum itself stands. */
static bool crc_matches(struct slice header, const uint8_t *sum)
{
    static const uint8_t zeros[CRC_BYTES];
    size_t before = (size_t)(sum - header.data);
    uint32_t crc = crc32c(0, header.data, before);
    crc = crc32c(crc, zeros, sizeof(zeros));
    crc = crc32c(crc, sum + CRC_BYTES, header.len - before - CRC_BYTES);
    return crc == load_u32(sum);
}

/* Cuts the next entry off. False: there is none, or (`rest` not empty) it is cut short. */
static bool next_tlv(struct slice *rest, uint8_t *type, struct slice *value)
{
    if (rest->len < TLV_HEADER) {
        return false;
    }
    size_t len = load_u16(rest->data + 1);
    if (rest->len - TLV_HEADER < len) {
        return false;
    }
    *type = rest->data[0];
    *value = slice_of(rest->data + TLV_HEADER, len);
    *rest = slice_from(*rest, TLV_HEADER + len);
    return true;
}

/* PP2_TYPE_SSL: flags, the result of verification, entries of its own. */
static bool read_ssl(struct slice bytes, struct proxy_source *source)
{
    uint8_t type;
    struct slice value;
    if (bytes.len < SSL_FIXED) {
        return false;
    }
    uint8_t client = bytes.data[0];
    bool certificate = (client & (SSL_CLIENT_CERT_CONN | SSL_CLIENT_CERT_SESS)) != 0;
    source->tls = (client & SSL_CLIENT_TLS) != 0;
    source->verified = source->tls && certificate && load_u32(bytes.data + 1) == 0;

    struct slice rest = slice_from(bytes, SSL_FIXED);
    while (next_tlv(&rest, &type, &value)) {
        if (type == TLV_SSL_CN && source->verified && utf8_valid(value)) {
            source->common_name = value;
        }
    }
    return rest.len == 0;
}

/* Entries of other types are none of our business. Two that speak of TLS could contradict. */
static bool read_tlvs(struct slice header, struct slice rest, struct proxy_source *source)
{
    uint8_t type;
    struct slice value;
    bool has_ssl = false;
    while (next_tlv(&rest, &type, &value)) {
        if (type == TLV_CRC32C) {
            if (value.len != CRC_BYTES || !crc_matches(header, value.data)) {
                return false;
            }
        } else if (type == TLV_SSL) {
            if (has_ssl || !read_ssl(value, source)) {
                return false;
            }
            has_ssl = true;
        }
    }
    return rest.len == 0;
}

/* The addresses stand at `at`: source, destination, source port, destination port. */
static void read_v2_address(const uint8_t *at, enum family family, struct proxy_source *source)
{
    if (family == FAMILY_INET) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&source->address;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, at, 4);
        memcpy(&v4->sin_port, at + 8, 2);
        source->known = true;
    } else if (family == FAMILY_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&source->address;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, at, 16);
        memcpy(&v6->sin6_port, at + 32, 2);
        source->known = true;
    }
}

static bool read_v2_block(struct slice header, struct proxy_source *source)
{
    uint8_t family = header.data[13] >> 4;
    uint8_t transport = header.data[13] & 0x0f;
    if ((header.data[12] & 0x0f) == COMMAND_LOCAL) {
        return true; /* whatever the block holds */
    }
    if (family > FAMILY_UNIX || transport > TRANSPORT_DGRAM) {
        return false;
    }
    if (family == FAMILY_UNSPEC || transport == TRANSPORT_UNSPEC) {
        return true; /* how long the addresses are is not known: nothing behind them can be read */
    }
    size_t addresses = address_bytes[family];
    if (header.len - V2_FIXED < addresses) {
        return false;
    }
    if (transport == TRANSPORT_STREAM) {
        read_v2_address(header.data + V2_FIXED, (enum family)family, source);
    }
    return read_tlvs(header, slice_from(header, V2_FIXED + addresses), source);
}

static enum proxy_status read_v2(struct slice bytes, struct proxy_source *source, size_t *used)
{
    if (!may_begin(bytes, V2_SIGNATURE, V2_SIGNATURE_LEN)) {
        return PROXY_BAD;
    }
    if (bytes.len > V2_SIGNATURE_LEN &&
        (bytes.data[12] >> 4 != 2 || (bytes.data[12] & 0x0f) > COMMAND_PROXY)) {
        return PROXY_BAD;
    }
    if (bytes.len < V2_FIXED) {
        return PROXY_MORE;
    }
    size_t len = V2_FIXED + (size_t)load_u16(bytes.data + 14);
    if (len > PROXY_HEADER_MAX) {
        return PROXY_BAD;
    }
    if (bytes.len < len) {
        return PROXY_MORE;
    }
    *used = len;
    return read_v2_block(slice_of(bytes.data, len), source) ? PROXY_DONE : PROXY_BAD;
}

enum proxy_status proxy_header_read(struct slice bytes, enum proxy_mode mode,
                                    struct proxy_source *source, size_t *used)
{
    *source = (struct proxy_source){0};
    if (bytes.len == 0) {
        return PROXY_MORE;
    }
    bool is_v1 = bytes.data[0] == V1_WORD[0];
    if ((is_v1 && mode == PROXY_V2) || (!is_v1 && mode == PROXY_V1)) {
        return PROXY_BAD;
    }
    return is_v1 ? read_v1(bytes, source, used) : read_v2(bytes, source, used);
}
