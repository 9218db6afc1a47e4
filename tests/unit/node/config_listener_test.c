#include "tests/unit/node/config_support.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MATERIAL "--tls-certificate-chain c --tls-private-key k "

static void without_anything_there_is_one_listener(void **state)
{
    (void)state;
    struct config_run result = config_good("", "");
    assert_int_equal(result.config.listener_count, 1);
    assert_string_equal(result.config.listeners[0].name, "mqtt");
    assert_string_equal(result.config.listeners[0].bind, "0.0.0.0:1883");
    assert_string_equal(result.config.listeners[0].place, "default");
    assert_int_equal(result.config.listeners[0].protocol, CONFIG_PROTOCOL_MQTT);
    assert_false(result.config.listeners[0].tls);
    config_run_end(&result);
}

static void the_short_forms_become_listeners(void **state)
{
    (void)state;
    struct config_run result =
        config_good("MQTT_RS_WEBSOCKET_ENABLED=true",
                    "--bind a:1 --server-proxy-protocol v2 --websocket-bind b:1 "
                    "--websocket-path /ws --websocket-origins https://a");
    const struct config_listener *mqtt = &result.config.listeners[0];
    const struct config_listener *websocket = &result.config.listeners[1];
    assert_int_equal(result.config.listener_count, 2);
    assert_string_equal(mqtt->bind, "a:1");
    assert_string_equal(mqtt->place, "--bind");
    assert_int_equal(mqtt->proxy_protocol, PROXY_V2);
    assert_string_equal(websocket->name, "websocket");
    assert_string_equal(websocket->bind, "b:1");
    assert_int_equal(websocket->protocol, CONFIG_PROTOCOL_WS);
    assert_int_equal(websocket->proxy_protocol, PROXY_OFF);
    assert_string_equal(websocket->path, "/ws");
    assert_string_equal(websocket->origins, "https://a");
    assert_false(websocket->tls);
    config_run_end(&result);
}

static void both_short_forms_share_the_certificates_of_the_server(void **state)
{
    (void)state;
    struct config_run result =
        config_good("", MATERIAL "--tls --websocket --websocket-tls --tls-client-auth required "
                                 "--tls-client-ca ca --server-tls-identity cn "
                                 "--server-tls-min-version 1.3 --no-server-tls-session-tickets "
                                 "--server-tls-groups X25519");
    for (size_t i = 0; i < 2; i++) {
        const struct config_listener *listener = &result.config.listeners[i];
        assert_true(listener->tls);
        assert_string_equal(listener->certificate_chain, "c");
        assert_string_equal(listener->private_key, "k");
        assert_int_equal(listener->client_auth, TLS_CLIENT_AUTH_REQUIRED);
        assert_string_equal(listener->client_ca, "ca");
        assert_int_equal(listener->identity, TLS_IDENTITY_CN);
        assert_int_equal(listener->min_version, TLS_VERSION_1_3);
        assert_string_equal(listener->groups, "X25519");
        assert_false(listener->session_tickets);
    }
    config_run_end(&result);
    result = config_good("", MATERIAL "--websocket --websocket-tls");
    assert_false(result.config.listeners[0].tls);
    assert_string_equal(result.config.listeners[0].certificate_chain, "");
    assert_true(result.config.listeners[1].tls);
    config_run_end(&result);
}

static void a_list_replaces_the_default_but_not_what_was_given(void **state)
{
    (void)state;
    const char *list = "listeners: [{bind: c:1}]\n";
    struct config_run result = config_good_file(list, "");
    assert_int_equal(result.config.listener_count, 1);
    assert_string_equal(result.config.listeners[0].bind, "c:1");
    assert_string_equal(result.config.server_bind, "");
    config_run_end(&result);
    result = config_good_file(list, "--bind 0.0.0.0:1883");
    assert_int_equal(result.config.listener_count, 2);
    assert_string_equal(result.config.listeners[1].bind, "0.0.0.0:1883");
    config_run_end(&result);
    result = config_good_file(list, "--bind off --websocket");
    assert_int_equal(result.config.listener_count, 2);
    assert_string_equal(result.config.listeners[1].name, "websocket");
    config_run_end(&result);
}

static void there_must_be_a_listener(void **state)
{
    (void)state;
    const char *why = "server.bind: there must be a listener; give server.bind, listeners, or "
                      "websocket.enabled";
    char line[200];
    snprintf(line, sizeof(line), "FILE:1: %s", why);
    assert_config_file_refused("server: {bind: off}\n", "", line);
    assert_config_file_refused("listeners: []\nserver: {bind: off}\n", "",
                               "FILE:2: server.bind: there must be a listener; give server.bind, "
                               "listeners, or websocket.enabled");
    struct config_run result = config_good("", "--bind off --websocket");
    assert_int_equal(result.config.listener_count, 1);
    config_run_end(&result);
}

static void addresses_and_names_differ(void **state)
{
    (void)state;
    assert_config_file_refused("listeners:\n- bind: a:1\n- bind: a:1\n", "",
                               "FILE:3: listeners[1].bind: must differ from listeners[0].bind");
    assert_config_file_refused("listeners:\n- bind: a:1\n", "--bind a:1",
                               "--bind: server.bind: must differ from listeners[0].bind");
    assert_config_file_refused("listeners:\n- bind: a:1\n", "--websocket --websocket-bind a:1",
                               "--websocket-bind: websocket.bind: must differ from "
                               "listeners[0].bind");
    assert_config_refused(
        "", "--websocket --websocket-bind a:1 --bind a:1",
        "pulse: --websocket-bind: websocket.bind: must differ from server.bind\n");
    assert_config_file_refused("listeners:\n- {bind: a:1, name: x}\n- {bind: b:1, name: x}\n", "",
                               "FILE:3: listeners[1].name: must differ from listeners[0].name");
    assert_config_file_refused("listeners:\n- {bind: a:1, name: mqtt}\n", "--bind b:1",
                               "FILE:2: listeners[0].name: must differ from the name of "
                               "server.bind");
    struct config_run result = config_good_file("listeners: [{bind: a:1, name: mqtt}]\n", "");
    config_run_end(&result);
}

static void endpoints_for_operators_have_addresses_of_their_own(void **state)
{
    (void)state;
    assert_config_file_refused("listeners: [{bind: 127.0.0.1:9}]\n", "--metrics-bind 127.0.0.1:9",
                               "--metrics-bind: observability.metrics_bind: must differ from the "
                               "addresses of listeners");
    assert_config_file_refused("listeners: [{bind: 127.0.0.1:9}]\n",
                               "--admin-enabled --admin-bind 127.0.0.1:9",
                               "--admin-bind: admin.bind: must differ from the addresses of "
                               "listeners and from observability.metrics_bind");
    assert_config_refused("", "--admin-enabled --metrics-bind 127.0.0.1:9002",
                          "pulse: admin.bind: must differ from the addresses of listeners and from "
                          "observability.metrics_bind\n");
    struct config_run result = config_good("", "--metrics-bind 127.0.0.1:9002");
    config_run_end(&result);
}

static void tls_needs_a_certificate_and_its_key(void **state)
{
    (void)state;
    assert_config_refused("", "--tls",
                          "pulse: server.tls.certificate_chain: must be given for TLS\n");
    assert_config_refused("", "--tls --tls-certificate-chain c",
                          "pulse: server.tls.private_key: must be given for TLS\n");
    assert_config_refused("", "--websocket --websocket-tls",
                          "pulse: server.tls.certificate_chain: must be given for TLS\n");
    assert_config_file_refused("listeners:\n- bind: a:1\n- bind: b:1\n  tls: true\n", "",
                               "FILE:3: listeners[1].certificate_chain: must be given for TLS");
    assert_config_file_refused("listeners: [{bind: a:1, tls: true, certificate_chain: c}]\n", "",
                               "FILE:1: listeners[0].private_key: must be given for TLS");
}

static void certificates_of_clients_need_somebody_who_signs(void **state)
{
    (void)state;
    const char *why = "pulse: server.tls.client_ca: must be given unless client_auth is "
                      "disabled\n";
    assert_config_refused("", MATERIAL "--tls --tls-client-auth required", why);
    assert_config_refused("", MATERIAL "--tls --tls-client-auth optional", why);
    assert_config_refused("", MATERIAL "--websocket --websocket-tls --tls-client-auth optional",
                          why);
    assert_config_file_refused("listeners: [{bind: a:1, tls: true, certificate_chain: c, "
                               "private_key: k, client_auth: required}]\n",
                               "",
                               "FILE:1: listeners[0].client_ca: must be given unless client_auth "
                               "is disabled");
}

static void what_is_about_certificates_of_clients_needs_them(void **state)
{
    (void)state;
    assert_config_refused("", MATERIAL "--tls --server-tls-identity cn",
                          "pulse: server.tls.identity: needs client_auth optional or required\n");
    assert_config_refused("", MATERIAL "--tls --server-tls-client-crl x",
                          "pulse: server.tls.client_crl: needs client_auth optional or required\n");
    assert_config_file_refused("listeners: [{bind: a:1, tls: true, certificate_chain: c, "
                               "private_key: k, identity: san-uri}]\n",
                               "",
                               "FILE:1: listeners[0].identity: needs client_auth optional or "
                               "required");
}

/* Who names a certificate believes that it is encrypted. */
static void certificates_without_tls_are_not_passed_over(void **state)
{
    (void)state;
    const char *why = "FILE:1: listeners[0].tls: must be true where certificates are given";
    assert_config_file_refused("listeners: [{bind: a:1, certificate_chain: c}]\n", "", why);
    assert_config_file_refused("listeners: [{bind: a:1, private_key: c}]\n", "", why);
    assert_config_file_refused("listeners: [{bind: a:1, client_auth: required}]\n", "", why);
    assert_config_file_warned("{}\n", MATERIAL,
                              "--tls-certificate-chain: server.tls.certificate_chain: is not used, "
                              "because server.tls.enabled is false");
    assert_config_file_warned("listeners: [{bind: a:1}]\n", MATERIAL,
                              "--tls-certificate-chain: server.tls.certificate_chain: is not used, "
                              "because server.bind is off");
    assert_config_file_warned("websocket: {tls: true}\n", "",
                              "FILE:1: websocket.tls: is not used, because websocket.enabled is "
                              "false");
}

static void permissions_of_a_socket_are_octal(void **state)
{
    (void)state;
    assert_config_file_refused("listeners: [{bind: \"unix:/a\", unix_mode: 680}]\n", "",
                               "FILE:1: listeners[0].unix_mode: its digits are octal, 0 to 7");
    struct config_run result =
        config_good_file("listeners: [{bind: \"unix:/a\", unix_mode: 777}]\n", "");
    config_run_end(&result);
}

static void the_admin_api_is_closed_to_others_unless_they_show_something(void **state)
{
    (void)state;
    const char *why = "pulse: --admin-bind: admin.bind: other machines can reach this address, so "
                      "admin.token_file or admin.tls_client_ca must be given\n";
    assert_config_refused("", "--admin-enabled --admin-bind 0.0.0.0:1", why);
    assert_config_refused("", "--admin-enabled --admin-bind [::]:1", why);
    assert_config_refused("", "--admin-enabled --admin-bind 10.127.0.0:1", why);
    assert_config_refused("", "--admin-enabled --admin-bind localhost.example:1", why);
    static const char *const near[] = {"127.0.0.1:1", "127.200.0.9:1", "[::1]:1", "localhost:1"};
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
        char arguments[100];
        snprintf(arguments, sizeof(arguments), "--admin-enabled --admin-bind %s", near[i]);
        struct config_run result = config_good("", arguments);
        config_run_end(&result);
    }
    struct config_run result =
        config_good("", "--admin-enabled --admin-bind 0.0.0.0:1 --admin-tls-client-ca a "
                        "--admin-tls-certificate-chain c --admin-tls-private-key k");
    config_run_end(&result);
    assert_config_file_warned("{}\n", "--admin-enabled --admin-bind 0.0.0.0:1 --admin-token-file t",
                              "--admin-bind: admin.bind: the token goes over the network in the "
                              "clear; give admin.tls_certificate_chain");
}

static void https_of_the_admin_api_needs_both_files(void **state)
{
    (void)state;
    assert_config_refused(
        "", "--admin-enabled --admin-tls-certificate-chain c",
        "pulse: --admin-tls-certificate-chain: admin.tls_certificate_chain: needs "
        "admin.tls_private_key\n");
    assert_config_refused("", "--admin-enabled --admin-tls-private-key c",
                          "pulse: --admin-tls-private-key: admin.tls_private_key: needs "
                          "admin.tls_certificate_chain\n");
    assert_config_refused("", "--admin-enabled --admin-tls-client-ca c",
                          "pulse: --admin-tls-client-ca: admin.tls_client_ca: needs "
                          "admin.tls_certificate_chain\n");
    assert_config_file_warned("admin: {token_file: t}\n", "",
                              "FILE:1: admin.token_file: is not used, because admin.enabled is "
                              "false");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_there_is_one_listener),
        cmocka_unit_test(the_short_forms_become_listeners),
        cmocka_unit_test(both_short_forms_share_the_certificates_of_the_server),
        cmocka_unit_test(a_list_replaces_the_default_but_not_what_was_given),
        cmocka_unit_test(there_must_be_a_listener),
        cmocka_unit_test(addresses_and_names_differ),
        cmocka_unit_test(endpoints_for_operators_have_addresses_of_their_own),
        cmocka_unit_test(tls_needs_a_certificate_and_its_key),
        cmocka_unit_test(certificates_of_clients_need_somebody_who_signs),
        cmocka_unit_test(what_is_about_certificates_of_clients_needs_them),
        cmocka_unit_test(certificates_without_tls_are_not_passed_over),
        cmocka_unit_test(permissions_of_a_socket_are_octal),
        cmocka_unit_test(the_admin_api_is_closed_to_others_unless_they_show_something),
        cmocka_unit_test(https_of_the_admin_api_needs_both_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
