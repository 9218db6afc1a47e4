#include "node/network_list.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/unit/node/node_support.h"

static struct ip ip(const char *text)
{
    struct ip out;
    assert_true(ip_of_text(text, &out));
    return out;
}

static bool has(const char *networks, const char *address)
{
    struct network_list *list;
    struct text error = {0};
    struct ip wanted = ip(address);
    assert_int_equal(network_list_parse(networks, &list, &error), ERR_OK);
    assert_int_equal(error.len, 0);
    bool found = network_list_has(list, &wanted);
    network_list_destroy(list);
    return found;
}

static void an_address_is_in_a_network_by_its_first_bits(void **state)
{
    (void)state;
    assert_true(has("127.0.0.0/8", "127.0.0.1"));
    assert_true(has("127.0.0.0/8", "127.255.255.255"));
    assert_false(has("127.0.0.0/8", "128.0.0.0"));
    assert_true(has("10.1.128.0/17", "10.1.255.1"));
    assert_false(has("10.1.128.0/17", "10.1.127.255"));
    assert_true(has("192.0.2.4/31", "192.0.2.5"));
    assert_false(has("192.0.2.4/31", "192.0.2.6"));
    assert_true(has("192.0.2.4/32", "192.0.2.4"));
    assert_false(has("192.0.2.4/32", "192.0.2.5"));
    assert_true(has("0.0.0.0/0", "8.8.8.8"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::1/128", "::1"));
    assert_false(has("::1/128", "::2"));
    assert_true(has("::/0", "2001:db8::1"));
}

static void a_network_without_a_length_is_one_address(void **state)
{
    (void)state;
    assert_true(has("192.0.2.4", "192.0.2.4"));
    assert_false(has("192.0.2.4", "192.0.2.5"));
    assert_true(has("2001:db8::1", "2001:db8::1"));
    assert_false(has("2001:db8::1", "2001:db8::2"));
}

static void an_address_is_in_a_list_when_it_is_in_one_of_its_networks(void **state)
{
    (void)state;
    static const char list[] = "127.0.0.0/8,::1/128 , 10.0.0.0/8";
    assert_true(has(list, "127.1.2.3"));
    assert_true(has(list, "::1"));
    assert_true(has(list, "10.9.9.9"));
    assert_false(has(list, "11.0.0.0"));
}

static void an_empty_list_has_nothing(void **state)
{
    (void)state;
    assert_false(has("", "127.0.0.1"));
    assert_false(has(NULL, "::1"));
}

static void ipv4_in_ipv6_is_ipv4(void **state)
{
    (void)state;
    assert_true(has("127.0.0.0/8", "::ffff:127.0.0.1"));
    assert_true(has("::ffff:127.0.0.0/104", "127.0.0.1"));
    assert_true(has("::ffff:10.0.0.1", "10.0.0.1"));
    assert_true(has("::ffff:0.0.0.0/96", "10.0.0.1"));
    assert_false(has("::/0", "127.0.0.1"));
    assert_false(has("::/0", "::ffff:127.0.0.1"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_false(has("127.0.0.0/8", "7f00::"));
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *error;
    } rows[] = {
        {"x", "network \"x\" is not an IP address"},
        {" ", "network \"\" is not an IP address"},
        {"::1, ,::1", "network \"\" is not an IP address"},
        {",", "network \"\" is not an IP address"},
        {"10.0.0.0/8,", "network \"\" is not an IP address"},
        {"10.0.0.0/8;::1", "network \"10.0.0.0/8;::1\" has no valid length of its prefix"},
        {"10.0.0.0/8 ::1", "network \"10.0.0.0/8 ::1\" has no valid length of its prefix"},
        {"10.0.0/8", "network \"10.0.0/8\" is not an IP address"},
        {"10.0.0.01", "network \"10.0.0.01\" is not an IP address"},
        {"/8", "network \"/8\" is not an IP address"},
        {"10.0.0.0/", "network \"10.0.0.0/\" has no valid length of its prefix"},
        {"10.0.0.0/33", "network \"10.0.0.0/33\" has no valid length of its prefix"},
        {"10.0.0.0/08", "network \"10.0.0.0/08\" has no valid length of its prefix"},
        {"10.0.0.0/-1", "network \"10.0.0.0/-1\" has no valid length of its prefix"},
        {"10.0.0.0/256", "network \"10.0.0.0/256\" has no valid length of its prefix"},
        {"10.0.0.0/8/8", "network \"10.0.0.0/8/8\" has no valid length of its prefix"},
        {"::/129", "network \"::/129\" has no valid length of its prefix"},
        {"::/1000", "network \"::/1000\" has no valid length of its prefix"},
        {"10.0.0.1/8", "network \"10.0.0.1/8\" has bits set behind its prefix"},
        {"10.0.0.0/4", "network \"10.0.0.0/4\" has bits set behind its prefix"},
        {"::1/64", "network \"::1/64\" has bits set behind its prefix"},
        {"::ffff:1.2.3.0/95",
         "network \"::ffff:1.2.3.0/95\" is IPv4 with a prefix shorter than 96 bits"},
        {"fe80::1%eth0", "network \"fe80::1%eth0\" is not an IP address"},
        {"a\nb", "network \"a\\nb\" is not an IP address"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct network_list *list = NULL;
        struct text error = {0};
        assert_int_equal(network_list_parse(rows[i].text, &list, &error), ERR_SYNTAX);
        assert_string_equal(error.data, rows[i].error);
        assert_null(list);
        text_fini(&error);
    }
}

static void a_network_that_is_too_long_is_refused(void **state)
{
    (void)state;
    static const size_t lens[] = {62, 63, 64, 65, 5000};
    for (size_t i = 0; i < ARRAY_COUNT(lens); i++) {
        char text[5001] = {0};
        struct network_list *list = NULL;
        struct text error = {0};
        memset(text, '1', lens[i]);
        assert_int_equal(network_list_parse(text, &list, &error), ERR_SYNTAX);
        assert_null(list);
        text_fini(&error);
    }
}

/* Each bit of an address counts up to the length, and none behind it. */
static void every_length_is_exact(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits <= 128; bits++) {
        char text[100];
        struct network_list *list;
        struct text error = {0};
        struct in6_addr network = {0};
        for (unsigned bit = 0; bit < bits; bit++) {
            network.s6_addr[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
        }
        char words[INET6_ADDRSTRLEN];
        assert_non_null(inet_ntop(AF_INET6, &network, words, sizeof(words)));
        (void)snprintf(text, sizeof(text), "%s/%u", words, bits);
        assert_int_equal(network_list_parse(text, &list, &error), ERR_OK);
        for (unsigned bit = 0; bit < 128; bit++) {
            struct ip address = {.v4 = false};
            memcpy(address.bytes, &network, 16);
            address.bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
            assert_int_equal(network_list_has(list, &address), bit >= bits);
        }
        network_list_destroy(list);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_address_is_in_a_network_by_its_first_bits),
        cmocka_unit_test(a_network_without_a_length_is_one_address),
        cmocka_unit_test(an_address_is_in_a_list_when_it_is_in_one_of_its_networks),
        cmocka_unit_test(an_empty_list_has_nothing),
        cmocka_unit_test(ipv4_in_ipv6_is_ipv4),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_network_that_is_too_long_is_refused),
        cmocka_unit_test(every_length_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
