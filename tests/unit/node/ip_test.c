#include "node/ip.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include "base/macros.h"
#include "tests/unit/node/node_support.h"

static struct ip ip(const char *text)
{
    struct ip out;
    if (!ip_of_text(text, &out)) {
        fail_msg("no address: %s", text);
    }
    return out;
}

/* The address that a socket of `text` has. */
static struct ip ip_of_socket(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(1883)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(1883)};
    struct ip out;
    bool is_v4 = inet_pton(AF_INET, text, &v4.sin_addr) == 1;
    assert_true(is_v4 || inet_pton(AF_INET6, text, &v6.sin6_addr) == 1);
    assert_true(ip_of_sockaddr(is_v4 ? (struct sockaddr *)&v4 : (struct sockaddr *)&v6, &out));
    return out;
}

static void a_text_and_a_socket_give_the_same(void **state)
{
    (void)state;
    static const char *const texts[] = {"192.0.2.7", "0.0.0.0", "2001:db8::1",
                                        "::", "::ffff:1.2.3.4"};
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct ip from_text = ip(texts[i]);
        struct ip from_socket = ip_of_socket(texts[i]);
        assert_memory_equal(&from_text, &from_socket, sizeof(from_text));
    }
}

static void ipv4_within_ipv6_is_ipv4(void **state)
{
    (void)state;
    struct ip mapped = ip("::ffff:192.0.2.7");
    struct ip plain = ip("192.0.2.7");
    assert_true(mapped.v4);
    assert_memory_equal(&mapped, &plain, sizeof(mapped));
    assert_false(ip("::192.0.2.7").v4);
}

static void what_is_no_address_has_none(void **state)
{
    (void)state;
    static const char *const texts[] = {"",      "localhost", "[::1]", "127.0.0.1:1",
                                        "127.1", "1.2.3.4 "};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ip out;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        assert_false(ip_of_text(texts[i], &out));
    }
    assert_false(ip_of_sockaddr((struct sockaddr *)&address, &out));
}

static bool is_loopback(const char *text)
{
    struct ip address = ip(text);
    return ip_is_loopback(&address);
}

static void loopback_is_what_stays_within_this_host(void **state)
{
    (void)state;
    assert_true(is_loopback("127.0.0.1"));
    assert_true(is_loopback("127.255.0.9"));
    assert_true(is_loopback("::1"));
    assert_true(is_loopback("::ffff:127.0.0.1"));
    assert_false(is_loopback("10.0.0.127"));
    assert_false(is_loopback("128.0.0.1"));
    assert_false(is_loopback("0.0.0.0"));
    assert_false(is_loopback("::"));
    assert_false(is_loopback("::ffff:10.0.0.1"));
    assert_false(is_loopback("::127.0.0.1"));
    assert_false(is_loopback("7f00::1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_and_a_socket_give_the_same),
        cmocka_unit_test(ipv4_within_ipv6_is_ipv4),
        cmocka_unit_test(what_is_no_address_has_none),
        cmocka_unit_test(loopback_is_what_stays_within_this_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
