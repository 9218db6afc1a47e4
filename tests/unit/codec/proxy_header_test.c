/* The header of the PROXY protocol, as its specification has it. */
#include "codec/proxy_header.h"

#include <arpa/inet.h>

#include "tests/unit/codec/codec_support.h"

#define SIGNATURE "0d0a0d0a000d0a515549540a "
#define V4_BLOCK "c0a80001 c0a8000b dc04 01bb " /* 192.168.0.1:56324 to 192.168.0.11:443 */
#define V6_BLOCK "20010db8000000000000000000000001 20010db8000000000000000000000002 1f90 075b "

static enum proxy_status read_slice(struct slice in, enum proxy_mode mode,
                                    struct proxy_source *source, size_t *used)
{
    *used = SIZE_MAX;
    return proxy_header_read(bytes_copy(in), mode, source, used);
}

/* Fails unless all that is not address and port is 0: addresses are compared as bytes. */
static void assert_all_known(const struct proxy_source *source)
{
    struct sockaddr_storage copy = source->address;
    struct sockaddr_storage zeros = {0};
    if (copy.ss_family == AF_INET) {
        memset(&((struct sockaddr_in *)&copy)->sin_addr, 0, 4);
        ((struct sockaddr_in *)&copy)->sin_port = 0;
    } else {
        memset(&((struct sockaddr_in6 *)&copy)->sin6_addr, 0, 16);
        ((struct sockaddr_in6 *)&copy)->sin6_port = 0;
    }
    copy.ss_family = 0;
    assert_memory_equal(&copy, &zeros, sizeof(zeros));
}

static const char *source_text(const struct proxy_source *source)
{
    static char text[100];
    char ip[INET6_ADDRSTRLEN];
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&source->address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&source->address;
    bool is_v4 = source->address.ss_family == AF_INET;
    if (!source->known) {
        return "own";
    }
    const void *address = is_v4 ? (const void *)&v4->sin_addr : &v6->sin6_addr;
    assert_non_null(inet_ntop(source->address.ss_family, address, ip, sizeof(ip)));
    assert_all_known(source);
    (void)snprintf(text, sizeof(text), "%s %u", ip, ntohs(is_v4 ? v4->sin_port : v6->sin6_port));
    return text;
}

/* Fails unless `header` says `expected`, every shorter start of it waits for more, and what stands
 * behind it is left alone. */
static void assert_source(struct slice header, const char *expected)
{
    struct proxy_source source;
    size_t used;
    for (size_t len = 0; len < header.len; len++) {
        struct slice start = slice_of(header.data, len);
        assert_int_equal(read_slice(start, PROXY_ANY, &source, &used), PROXY_MORE);
        assert_int_equal(used, SIZE_MAX);
    }
    for (size_t more = 0; more < 3; more++) {
        uint8_t longer[PROXY_HEADER_MAX + 3] = {0};
        memcpy(longer, header.data, header.len);
        memcpy(longer + header.len, "\r\n", more);
        struct slice in = slice_of(longer, header.len + more);
        assert_int_equal(read_slice(in, PROXY_ANY, &source, &used), PROXY_DONE);
        assert_int_equal(used, header.len);
        assert_string_equal(source_text(&source), expected);
    }
}

static enum proxy_status status_of(struct slice in, enum proxy_mode mode)
{
    struct proxy_source source;
    size_t used;
    return read_slice(in, mode, &source, &used);
}

static void assert_bad(struct slice in)
{
    assert_int_equal(status_of(in, PROXY_ANY), PROXY_BAD);
}

/* ---- version 1 ------------------------------------------------------------------------------- */

static void lines_of_version_1_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        const char *source;
    } rows[] = {
        {"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", "192.168.0.1 56324"},
        {"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255 65535"},
        {"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0 0"},
        {"PROXY TCP4 9.8.7.6 5.4.3.2 10987 6543\r\n", "9.8.7.6 10987"},
        {"PROXY TCP6 2001:db8::1 ::1 1 1883\r\n", "2001:db8::1 1"},
        {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535"},
        {"PROXY TCP6 2001:DB8::A ::ffff:1.2.3.4 1 2\r\n", "2001:db8::a 1"},
        {"PROXY UNKNOWN\r\n", "own"},
        {"PROXY UNKNOWN \r\n", "own"},
        {"PROXY UNKNOWN anything  at all\r\n", "own"},
        {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
         "own"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_source(slice_text(rows[i].line), rows[i].source);
    }
}

static void malformed_lines_of_version_1_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "PROXY \r\n",
        "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4\r\n",
        "PROXY TCP4 1.2.3.4\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 \r\n",
        "PROXY TCP4\t1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.04 1 2\r\n",
        "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 x 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1x 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 ::1::2 ::1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\n",
        "PROXY UNKNOWN\rx",
        "PROXY UNKNOWN x\ry\r\n",
        "PROXY UNKNOWN x\ny\r\n",
        "PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXYxTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 0000:0000:0000:0000:0000:ffff:255.255.255.255x ::1 1 2\r\n",
        "Proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXX",
        "PRI * HTTP/2.0\r\n",
        "POST / HTTP/1.1\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(lines); i++) {
        if (status_of(slice_text(lines[i]), PROXY_ANY) != PROXY_BAD) {
            fail_msg("%s", lines[i]);
        }
    }
    assert_bad(bytes("'PROXY TCP4 1.2.3.4' 00 ' 1.2.3.4 1 2' 0d0a"));
    assert_bad(bytes("'PROXY UNKNOWN' 00 0d0a"));
}

static void a_line_of_version_1_has_at_most_107_bytes(void **state)
{
    (void)state;
    char line[109];
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + 105, "\r\n", 2);
    assert_source(slice_of(line, 107), "own");
    memcpy(line + 105, "x\r\n", 3);
    assert_int_equal(status_of(slice_of(line, 106), PROXY_ANY), PROXY_MORE);
    assert_bad(slice_of(line, 107));
    assert_bad(slice_of(line, 108));
}

/* ---- version 2 ------------------------------------------------------------------------------- */

static void headers_of_version_2_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        const char *source;
    } rows[] = {
        {SIGNATURE "21 11 000c " V4_BLOCK, "192.168.0.1 56324"},
        {SIGNATURE "21 21 0024 " V6_BLOCK, "2001:db8::1 8080"},
        /* entries that are skipped: ALPN, NOOP, one that nobody knows, one of its own */
        {SIGNATURE "21 11 001d " V4_BLOCK "01 0004 'mqtt' 04 0000 ee 0001 00 04 0000",
         "192.168.0.1 56324"},
        /* LOCAL: whatever it holds */
        {SIGNATURE "20 00 0000", "own"},
        {SIGNATURE "20 11 000c " V4_BLOCK, "own"},
        {SIGNATURE "20 ff 0003 ffffff", "own"},
        /* UNSPEC, UDP */
        {SIGNATURE "21 00 0000", "own"},
        {SIGNATURE "21 00 0003 010203", "own"},
        {SIGNATURE "21 10 0001 01", "own"},
        {SIGNATURE "21 01 0001 01", "own"},
        {SIGNATURE "21 12 000c " V4_BLOCK, "own"},
        {SIGNATURE "21 22 0024 " V6_BLOCK, "own"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        assert_source(bytes(rows[i].header), rows[i].source);
    }
}

static void a_unix_socket_has_no_address(void **state)
{
    (void)state;
    uint8_t header[16 + 216] = {0};
    memcpy(header, bytes(SIGNATURE "21 31 00d8").data, 16);
    memcpy(header + 16, "/run/client", 11);
    assert_source(slice_of(header, sizeof(header)), "own");
    header[15]--;
    assert_bad(slice_of(header, sizeof(header)));
}

static void malformed_headers_of_version_2_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "0d0a0d0a000d0a515549540b", /* the signature */
        "0d0a0d0a0d",
        "0d0a0d0a000d0a515549540d",
        SIGNATURE "11", /* version, command */
        SIGNATURE "31",
        SIGNATURE "01",
        SIGNATURE "22",
        SIGNATURE "2f",
        SIGNATURE "21 41 0000", /* family, transport */
        SIGNATURE "21 f1 0000",
        SIGNATURE "21 13 000c " V4_BLOCK,
        SIGNATURE "21 1f 000c " V4_BLOCK,
        SIGNATURE "21 03 0000",
        SIGNATURE "21 11 000b c0a80001 c0a8000b dc04 01", /* shorter than the addresses */
        SIGNATURE "21 11 0000",
        SIGNATURE "21 12 0000",
        SIGNATURE "21 21 0023 20010db8000000000000000000000001"
                  "20010db8000000000000000000000002 1f90 07",
        SIGNATURE "21 11 0801", /* 2,065 bytes in all */
        SIGNATURE "21 11 ffff",
        SIGNATURE "20 00 ffff",
        SIGNATURE "21 11 000d " V4_BLOCK "04", /* entries that are cut short */
        SIGNATURE "21 11 000e " V4_BLOCK "0400",
        SIGNATURE "21 11 000f " V4_BLOCK "04 0001",
        SIGNATURE "21 11 0010 " V4_BLOCK "04 0000 00",
        SIGNATURE "21 11 0010 " V4_BLOCK "04 0002 00",
        SIGNATURE "21 11 0013 " V4_BLOCK "20 0004 01 000000", /* TLS without its fixed part */
        SIGNATURE "21 11 0015 " V4_BLOCK "20 0006 01 00000000 22",
        SIGNATURE "21 11 0017 " V4_BLOCK "20 0008 01 00000000 22 0001",
        SIGNATURE "21 11 001c " V4_BLOCK "20 0005 01 00000000 20 0005 01 00000000",
    };
    for (size_t i = 0; i < ARRAY_COUNT(headers); i++) {
        if (status_of(bytes(headers[i]), PROXY_ANY) != PROXY_BAD) {
            fail_msg("%s", headers[i]);
        }
    }
}

static void a_header_of_version_2_may_be_as_long_as_the_limit(void **state)
{
    (void)state;
    uint8_t header[PROXY_HEADER_MAX] = {0};
    memcpy(header, bytes(SIGNATURE "21 11 07f0 " V4_BLOCK "04 07e1").data, 16 + 12 + 3);
    assert_source(slice_of(header, sizeof(header)), "192.168.0.1 56324");
}

/* The sum of each was computed by another program (python3, bit by bit, from RFC 4960). */
static void a_checksum_is_checked_when_it_is_there(void **state)
{
    (void)state;
    assert_source(bytes(SIGNATURE "21 11 0013 " V4_BLOCK "03 0004 1c1ae9c6"), "192.168.0.1 56324");
    assert_source(bytes(SIGNATURE "21 11 0016 " V4_BLOCK "03 0004 4a6c2bbf 04 0000"),
                  "192.168.0.1 56324");

    uint8_t header[35];
    for (size_t bit = 13 * 8; bit < sizeof(header) * 8; bit++) {
        memcpy(header, bytes(SIGNATURE "21 11 0013 " V4_BLOCK "03 0004 1c1ae9c6").data, 35);
        header[bit / 8] = (uint8_t)(header[bit / 8] ^ 1 << bit % 8);
        struct proxy_source source;
        size_t used;
        if (read_slice(slice_of(header, 35), PROXY_ANY, &source, &used) == PROXY_DONE) {
            /* the bit made it UNSPEC, or the entry one of another type, or shortened the header */
            assert_true(bit / 8 == 13 || bit / 8 == 15 || bit / 8 == 28);
        }
    }
    assert_bad(bytes(SIGNATURE "21 11 0012 " V4_BLOCK "03 0003 000000"));
}

/* ---- TLS between the client and the proxy ---------------------------------------------------- */

static void assert_tls(const char *entry, bool tls, bool verified, const char *name)
{
    struct slice tail = bytes(entry);
    uint8_t header[200];
    size_t used;
    struct proxy_source source;
    memcpy(header, bytes(SIGNATURE "21 11 00 00 " V4_BLOCK).data, 28);
    memcpy(header + 28, tail.data, tail.len);
    header[15] = (uint8_t)(12 + tail.len);
    assert_int_equal(
        proxy_header_read(bytes_copy(slice_of(header, 28 + tail.len)), PROXY_V2, &source, &used),
        PROXY_DONE);
    assert_int_equal(source.tls, tls);
    assert_int_equal(source.verified, verified);
    assert_true(slice_equal(source.common_name, slice_text(name)));
}

static void what_the_proxy_says_of_tls_is_read(void **state)
{
    (void)state;
    assert_tls("04 0000", false, false, "");
    assert_tls("20 0005 00 00000000", false, false, "");
    assert_tls("20 0005 01 00000001", true, false, "");
    assert_tls("20 000f 01 00000001 21 0007 'TLSv1.3'", true, false, "");
    assert_tls("20 000d 07 00000000 22 0005 'alice'", true, true, "alice");
    assert_tls("20 000d 03 00000000 22 0005 'alice'", true, true, "alice");
    assert_tls("20 000d 05 00000000 22 0005 'alice'", true, true, "alice");
    assert_tls("20 0017 07 00000000 21 0007 'TLSv1.3' 22 0005 'alice'", true, true, "alice");
}

/* A proxy that asks for certificates without verifying them passes any name on. */
static void a_name_without_a_verified_certificate_is_not_believed(void **state)
{
    (void)state;
    assert_tls("20 000d 07 00000001 22 0005 'alice'", true, false, "");
    assert_tls("20 000d 07 01000000 22 0005 'alice'", true, false, "");
    assert_tls("20 000d 01 00000000 22 0005 'alice'", true, false, "");
    assert_tls("20 000d 06 00000000 22 0005 'alice'", false, false, "");
    assert_tls("20 000d 07 00000000 22 0005 'al' 00 'ce'", true, true, "");
    assert_tls("20 000a 07 00000000 22 0002 c328", true, true, "");
    assert_tls("22 0005 'alice'", false, false, "");
}

/* ---- modes ----------------------------------------------------------------------------------- */

static void each_mode_takes_its_version_only(void **state)
{
    (void)state;
    struct slice v1 = slice_text("PROXY UNKNOWN\r\n");
    struct slice v2 = bytes(SIGNATURE "20 00 0000");
    assert_int_equal(status_of(v1, PROXY_V1), PROXY_DONE);
    assert_int_equal(status_of(v1, PROXY_V2), PROXY_BAD);
    assert_int_equal(status_of(v2, PROXY_V2), PROXY_DONE);
    assert_int_equal(status_of(v2, PROXY_V1), PROXY_BAD);
    assert_int_equal(status_of(v1, PROXY_ANY), PROXY_DONE);
    assert_int_equal(status_of(v2, PROXY_ANY), PROXY_DONE);
}

/* A client that connects past the proxy is told by its first byte. */
static void other_protocols_are_refused_by_their_first_byte(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t first = (uint8_t)byte;
        struct slice in = slice_of(&first, 1);
        assert_int_equal(status_of(in, PROXY_V1), byte == 'P' ? PROXY_MORE : PROXY_BAD);
        assert_int_equal(status_of(in, PROXY_V2), byte == '\r' ? PROXY_MORE : PROXY_BAD);
        assert_int_equal(status_of(in, PROXY_ANY),
                         byte == 'P' || byte == '\r' ? PROXY_MORE : PROXY_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_of_version_1_are_read),
        cmocka_unit_test(malformed_lines_of_version_1_are_refused),
        cmocka_unit_test(a_line_of_version_1_has_at_most_107_bytes),
        cmocka_unit_test(headers_of_version_2_are_read),
        cmocka_unit_test(a_unix_socket_has_no_address),
        cmocka_unit_test(malformed_headers_of_version_2_are_refused),
        cmocka_unit_test(a_header_of_version_2_may_be_as_long_as_the_limit),
        cmocka_unit_test(a_checksum_is_checked_when_it_is_there),
        cmocka_unit_test(what_the_proxy_says_of_tls_is_read),
        cmocka_unit_test(a_name_without_a_verified_certificate_is_not_believed),
        cmocka_unit_test(each_mode_takes_its_version_only),
        cmocka_unit_test(other_protocols_are_refused_by_their_first_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
