#include "node/http.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/node/http_support.h"

/* ---- those who behave badly ------------------------------------------------------------------ */

static void garbage_ends_its_own_connection_only(void **state)
{
    struct http_fixture *fixture = *state;
    uint8_t garbage[2000];
    unsigned seed = 42;
    for (unsigned round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof(garbage); i++) {
            seed = seed * 1103515245u + 12345u;
            garbage[i] = (uint8_t)(seed >> 16);
        }
        memcpy(garbage + sizeof(garbage) - 4, "\r\n\r\n", 4);
        int fd = http_client_connect(fixture);
        http_client_send(fixture, fd, garbage, sizeof(garbage));
        shutdown(fd, SHUT_WR);
        http_client_read(fixture, fd);
        close(fd);
    }
    assert_http_served(fixture);
}

static void a_request_of_another_protocol_is_answered_or_closed(void **state)
{
    static const char *const requests[] = {
        "\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03xyz\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        "PUT /log HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "PUT /log HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct http_fixture *fixture = *state;
    http_set_lifetime(fixture->server, 300);
    for (size_t i = 0; i < ARRAY_COUNT(requests); i++) {
        http_client_ask(fixture, requests[i]); /* fails unless closed */
        assert_http_served(fixture);
    }
}

static void an_oversized_header_is_refused(void **state)
{
    struct http_fixture *fixture = *state;
    int fd = http_client_connect(fixture);
    char filler[1024];
    memset(filler, 'x', sizeof(filler));
    http_client_send_text(fixture, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ");
    bool taken = true;
    for (unsigned i = 0; i < 10000 && taken; i++) { /* 10 MB, if nobody stops us */
        taken = http_client_send(fixture, fd, filler, sizeof(filler));
    }
    assert_false(taken);
    close(fd);
    assert_http_served(fixture);
}

static void half_a_request_is_given_a_limited_time(void **state)
{
    struct http_fixture *fixture = *state;
    http_set_lifetime(fixture->server, 300);
    int fd = http_client_connect(fixture);
    http_client_send_text(fixture, fd, "GET /healthz HTTP/1.1\r\nHos");
    http_client_read(fixture, fd);
    close(fd);
    assert_string_equal(fixture->answer, "");
}

/* Each byte is activity, and yet the time of the whole request is limited. */
static void a_slow_sender_is_given_a_limited_time(void **state)
{
    struct http_fixture *fixture = *state;
    http_set_lifetime(fixture->server, 300);
    int fd = http_client_connect(fixture);
    http_client_send_text(fixture, fd, "GET /healthz HTTP/1.1\r\nX-Slow: ");
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    while (http_client_send_text(fixture, fd, "x")) {
        assert_true(clock_mono_ms() < until_ms);
        http_client_turn(fixture, -1);
    }
    close(fd);
    assert_http_served(fixture);
}

static void a_reader_that_does_not_read_is_given_a_limited_time(void **state)
{
    struct http_fixture *fixture = *state;
    http_set_lifetime(fixture->server, 300);
    fixture->metrics_bytes = 20u << 20; /* more than the sockets hold */
    int fd = http_client_connect(fixture);
    http_client_send_text(fixture, fd, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};
    while (poll(&end, 1, 0) == 0) {
        assert_true(clock_mono_ms() < until_ms);
        http_client_turn(fixture, -1);
    }
    close(fd);
    fixture->metrics_bytes = 0;
    assert_http_served(fixture);
}

/* They keep their connection for as long as they may, but not from the others. */
static void many_that_send_nothing_do_not_keep_others_out(void **state)
{
    struct http_fixture *fixture = *state;
    int fds[200];
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        fds[i] = http_client_connect(fixture);
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    assert_http_served(fixture);
    for (size_t i = 0; i < ARRAY_COUNT(fds); i++) {
        close(fds[i]);
    }
    assert_http_served(fixture);
}

static void clients_that_vanish_leave_nothing_behind(void **state)
{
    struct http_fixture *fixture = *state;
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    for (unsigned i = 0; i < 200; i++) {
        int fd = http_client_connect(fixture);
        http_client_send_text(fixture, fd,
                              i % 2 == 0 ? "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" : "PUT /l");
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once)); /* close sends a reset */
        if (i % 3 == 0) {
            uv_run(&fixture->loop, UV_RUN_NOWAIT);
        }
        close(fd);
    }
    assert_http_served(fixture);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* How often the loop goes round in 50 ms. */
static unsigned turns_of_loop(struct http_fixture *fixture)
{
    unsigned turns = 0;
    uint64_t until_ms = clock_mono_ms() + 50;
    while (clock_mono_ms() < until_ms) {
        struct pollfd backend = {.fd = uv_backend_fd(&fixture->loop), .events = POLLIN};
        int timeout_ms = uv_backend_timeout(&fixture->loop);
        bool idle = timeout_ms < 0 || timeout_ms > 50;
        if (poll(&backend, 1, idle ? 50 : timeout_ms) > 0 || !idle) {
            turns++;
        }
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
    }
    return turns;
}

static void an_idle_endpoint_wakes_nobody(void **state)
{
    struct http_fixture *fixture = *state;
    assert_http_served(fixture);
    turns_of_loop(fixture);                                   /* the end of that connection */
    assert_int_equal(uv_backend_timeout(&fixture->loop), -1); /* no timer */
    assert_int_equal(turns_of_loop(fixture), 0);
}

static void a_silent_connection_costs_no_turns(void **state)
{
    struct http_fixture *fixture = *state;
    int fd = http_client_connect(fixture);
    turns_of_loop(fixture);
    assert_true(turns_of_loop(fixture) <= 1);
    close(fd);
}

/* Without a descriptor for it a connection can't be accepted, and would wake the loop for ever. */
static void without_descriptors_the_loop_does_not_spin(void **state)
{
    struct http_fixture *fixture = *state;
    struct rlimit limit;
    int fd = http_client_connect(fixture);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int next = dup(fd); /* the number that an accepted connection would get */
    assert_true(next >= 0);
    close(next);
    struct rlimit none = {.rlim_cur = (rlim_t)next, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    uv_run(&fixture->loop, UV_RUN_NOWAIT);
    unsigned turns = turns_of_loop(fixture);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_true(turns < 10);

    http_client_send_text(fixture, fd, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    http_client_read(fixture, fd);
    assert_http_status(fixture->answer, 200);
    close(fd);
}

static void stopping_closes_open_connections(void **state)
{
    struct http_fixture *fixture = *state;
    int fd = http_client_connect(fixture);
    http_client_send_text(fixture, fd,
                          "PUT /log HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nerr");
    turns_of_loop(fixture);
    http_stop(fixture->server);
    fixture->server = NULL;
    http_client_read(fixture, fd);
    close(fd);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static void assert_bind(struct http_fixture *fixture, const char *bind, enum err expected)
{
    struct http_handlers handlers = http_fixture_handlers(fixture);
    struct http_server *server = NULL;
    enum err err = http_start(&fixture->loop, bind, &handlers, &server);
    if (err != expected) {
        fail_msg("%s: %s", bind, err_text(err));
    }
    assert_int_equal(server != NULL, expected == ERR_OK);
    http_stop(server);
}

static void addresses_are_host_and_port(void **state)
{
    assert_bind(*state, "127.0.0.1:0", ERR_OK);
    assert_bind(*state, "localhost:0", ERR_OK);
    assert_bind(*state, ":0", ERR_OK);
    assert_bind(*state, "", ERR_ADDRESS);
    assert_bind(*state, "9000", ERR_ADDRESS);
    assert_bind(*state, "127.0.0.1", ERR_ADDRESS);
    assert_bind(*state, "127.0.0.1:", ERR_ADDRESS);
    assert_bind(*state, "127.0.0.1:http", ERR_ADDRESS);
    assert_bind(*state, "127.0.0.1:99999", ERR_ADDRESS);
    assert_bind(*state, "::1:9000", ERR_ADDRESS);
    assert_bind(*state, "192.0.2.1:0", ERR_ADDRESS); /* not an address of this machine */
}

static bool have_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool have = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    if (fd >= 0) {
        close(fd);
    }
    return have;
}

static void ipv6_addresses_stand_in_brackets(void **state)
{
    if (!have_ipv6()) {
        skip();
    }
    assert_bind(*state, "[::1]:0", ERR_OK);
    assert_bind(*state, "[::]:0", ERR_OK);
}

static void a_port_in_use_is_refused(void **state)
{
    struct http_fixture *fixture = *state;
    char bind[32];
    snprintf(bind, sizeof(bind), "127.0.0.1:%u", http_port(fixture->server));
    assert_bind(fixture, bind, ERR_ADDRESS);
    assert_http_served(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_server(garbage_ends_its_own_connection_only),
        with_server(a_request_of_another_protocol_is_answered_or_closed),
        with_server(an_oversized_header_is_refused),
        with_server(half_a_request_is_given_a_limited_time),
        with_server(a_slow_sender_is_given_a_limited_time),
        with_server(a_reader_that_does_not_read_is_given_a_limited_time),
        with_server(many_that_send_nothing_do_not_keep_others_out),
        with_server(clients_that_vanish_leave_nothing_behind),
        with_server(an_idle_endpoint_wakes_nobody),
        with_server(a_silent_connection_costs_no_turns),
        with_server(without_descriptors_the_loop_does_not_spin),
        with_server(stopping_closes_open_connections),
        with_server(addresses_are_host_and_port),
        with_server(ipv6_addresses_stand_in_brackets),
        with_server(a_port_in_use_is_refused),
    };
    return log_set_filter("off") == ERR_OK ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
