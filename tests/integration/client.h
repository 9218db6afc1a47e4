/*
 * client: a scriptable MQTT client for tests. It says what the test tells it to, right or wrong,
 * and checks what comes back; a check that does not hold fails the test with the line that made it.
 *
 * Owns      its socket, its last received packet. All clients of a test are closed when it ends.
 * Thread    the test's.
 * Errors    none are returned: whatever is not expected fails the running cmocka test.
 * Not here  bytes of packets (wire.h, packet.h), the broker process (broker.h).
 *
 * Names in capitals take designated initialisers, all fields being optional:
 *
 *     struct client *sub = CONNECT(.client_id = "a", .resume = true);
 *     SUBSCRIBE(sub, .id = 1, .filters = FILTERS({"a/+", 1}));
 *     EXPECT_SUBACK(sub, 1, 0x01);
 */
#ifndef TESTS_INTEGRATION_CLIENT_H
#define TESTS_INTEGRATION_CLIENT_H

#include <sys/types.h>

#include "tests/integration/packet.h"

/* How long an expected event may take, and how long silence must last to be believed. */
enum { WAIT_MS = 10000, QUIET_MS = 120 };

struct client;

/* The line of a test, for the message of a failure. */
struct here {
    const char *file;
    int line;
};
#define HERE ((struct here){__FILE__, __LINE__})

/* Where new clients connect to, from now on. */
void client_use_port(uint16_t port);

uint16_t client_port(void);

/* Closes every client that is still open. */
void client_close_all(void);

/* ---- opening and closing ---- */

/* A TCP connection without a CONNECT, speaking `version` from now on (0 means 5.0). */
#define client_open(version) client_open_at(version, HERE)

/* Opens, sends CONNECT, expects CONNACK with success, which stays readable by client_last(). */
#define CONNECT(...) client_connect_at(&(struct connect_packet){__VA_ARGS__}, HERE)

/* DISCONNECT with success, then waits for the broker to close: it has then forgotten the
 * connection. */
#define client_disconnect(c) client_disconnect_at(c, RC_SUCCESS, NULL, HERE)
#define client_disconnect_with(c, reason, props) client_disconnect_at(c, reason, props, HERE)

/* Ends the connection without a DISCONNECT, and waits until the broker noticed. */
#define client_drop(c) client_drop_at(c, HERE)

/* Closes at once, waiting for nothing. `c` is gone after this. */
void client_close(struct client *c);

/* ---- sending ---- */

/* Bytes as they are: RAW(c, 0xc0, 0x00). */
#define RAW(c, ...) \
    client_send_at(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), HERE)
#define send_buffer(c, buf) client_send_at(c, (buf)->data, (buf)->len, HERE)
#define send_bytes(c, data, len) client_send_at(c, data, len, HERE)

#define SEND_CONNECT(c, ...) send_connect_at(c, &(struct connect_packet){__VA_ARGS__}, HERE)
#define PUBLISH(c, ...) send_publish_at(c, &(struct publish_packet){__VA_ARGS__}, HERE)
#define SUBSCRIBE(c, ...) send_subscribe_at(c, &(struct subscribe_packet){__VA_ARGS__}, HERE)
#define UNSUBSCRIBE(c, ...) send_unsubscribe_at(c, &(struct subscribe_packet){__VA_ARGS__}, HERE)
#define send_ack(c, type, id, reason) send_ack_at(c, type, id, reason, HERE)
#define send_pingreq(c) RAW(c, 0xc0, 0x00)
#define send_disconnect(c, reason, props) send_reason_at(c, PKT_DISCONNECT, reason, props, HERE)
#define send_auth(c, reason, props) send_reason_at(c, PKT_AUTH, reason, props, HERE)

/* ---- whole exchanges ---- */

/* SUBSCRIBE to one filter; expects it to be granted with the QoS in `options`. */
#define subscribe(c, filter, options) subscribe_at(c, filter, options, NULL, HERE)
#define subscribe_with(c, filter, options, props) subscribe_at(c, filter, options, props, HERE)
#define unsubscribe(c, filter) unsubscribe_at(c, filter, HERE)

/* PUBLISH and the whole handshake of its QoS, which must succeed. */
#define publish(c, topic, payload, qos) \
    publish_at(c, &(struct publish_packet){topic, payload, 0, qos, 0, false, false, NULL}, HERE)
#define publish_retained(c, topic, payload, qos) \
    publish_at(c, &(struct publish_packet){topic, payload, 0, qos, 0, true, false, NULL}, HERE)
#define PUBLISH_AND_WAIT(c, ...) publish_at(c, &(struct publish_packet){__VA_ARGS__}, HERE)

/* The receiver's side of the handshake for the received PUBLISH `packet`. */
#define acknowledge(c, packet) acknowledge_at(c, packet, HERE)

/* PINGREQ and its answer: the broker has worked through everything that `c` sent before. */
#define settle(c) settle_at(c, HERE)

/* ---- receiving ---- */

/* The next packet, which must be of `type`. Borrowed until `c` receives again. */
#define expect_packet(c, type) expect_packet_at(c, type, HERE)
#define expect_publish(c, topic, payload) expect_publish_at(c, topic, payload, HERE)

/* The same, then acknowledged as its QoS demands; QoS 2 is gone through to the end. */
#define expect_publish_and_ack(c, topic, payload) \
    acknowledge_at(c, expect_publish_at(c, topic, payload, HERE), HERE)

/* PUBACK, PUBREC, PUBREL, PUBCOMP with this id and reason. */
#define expect_ack(c, type, id, reason) expect_ack_at(c, type, id, reason, HERE)

/* SUBACK or UNSUBACK with exactly these reasons: EXPECT_SUBACK(c, id, 0x00, 0x8f). */
#define EXPECT_SUBACK(c, id, ...)                                        \
    expect_reasons_at(c, PKT_SUBACK, id, (const uint8_t[]){__VA_ARGS__}, \
                      sizeof((const uint8_t[]){__VA_ARGS__}), HERE)
#define EXPECT_UNSUBACK(c, id, ...)                                        \
    expect_reasons_at(c, PKT_UNSUBACK, id, (const uint8_t[]){__VA_ARGS__}, \
                      sizeof((const uint8_t[]){__VA_ARGS__}), HERE)

/* The broker ends the connection because of `reason`: 5.0 is told so, 3.x just sees the end. */
#define expect_disconnect(c, reason) expect_disconnect_at(c, (const uint8_t[]){reason}, 1, HERE)

/* The same where the specification leaves the choice between several reasons. */
#define EXPECT_DISCONNECT_ONE_OF(c, ...)                    \
    expect_disconnect_at(c, (const uint8_t[]){__VA_ARGS__}, \
                         sizeof((const uint8_t[]){__VA_ARGS__}), HERE)

/* CONNACK that refuses with one of these reasons and no session present, then the end. */
#define EXPECT_REFUSED(c, ...)                                                                   \
    expect_refused_at(c, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), \
                      HERE)

/* The end of the connection, with no packet before it. */
#define expect_closed(c) expect_closed_at(c, WAIT_MS, HERE)
#define expect_closed_within(c, timeout_ms) expect_closed_at(c, timeout_ms, HERE)

/* Silence, and an open connection, for QUIET_MS. */
#define expect_nothing(c) expect_nothing_at(c, QUIET_MS, HERE)
#define expect_nothing_for(c, quiet_ms) expect_nothing_at(c, quiet_ms, HERE)

/* Waits up to `timeout_ms` for the next packet of any type: NULL when none came, or at the end. */
#define client_receive(c, timeout_ms) client_receive_at(c, timeout_ms, HERE)

/* The last packet that was received. */
const struct packet *client_last(const struct client *c);

/* Fails unless `packet` has property `id` with this value. */
#define assert_prop_number(packet, id, number) assert_prop_number_at(packet, id, number, HERE)
#define assert_prop_text(packet, id, text) assert_prop_text_at(packet, id, text, HERE)
#define assert_no_prop(packet, id) assert_no_prop_at(packet, id, HERE)

/* ---- what carries the bytes ---- */

/*
 * In place of the bare socket (secure_client.h). `send` and `receive` are as send(2) and recv(2) on
 * a socket that doesn't block; what `send` took and the socket refused is tried again by sending
 * nothing. `destroy` closes.
 */
struct client_carrier {
    ssize_t (*send)(void *carried, const void *data, size_t len);
    ssize_t (*receive)(void *carried, void *to, size_t size);
    void (*destroy)(void *carried);
};

/* A client on a socket that is connected; takes both. `carrier` NULL: the bare socket. */
struct client *client_adopt(int fd, uint8_t version, const struct client_carrier *carrier,
                            void *carried);
void *client_carried(const struct client *c);

/* Makes the connections of client_open() and CONNECT() from now on. NULL: plain TCP. */
typedef struct client *client_open_fn(uint8_t version, struct here here);
void client_use_opener(client_open_fn *open);

/* ---- odds and ends ---- */

/* A packet id that `c` has not used yet. */
uint16_t client_next_id(struct client *c);

/* The socket, for tests that watch or tune it; and whether the broker was seen to close it. */
int client_fd(const struct client *c);
bool client_ended(const struct client *c);

/* Bytes to the broker as far as the socket takes them without waiting; gives how many it took. */
size_t client_send_some(struct client *c, const void *data, size_t len);

long clock_ms(void);

/* Lets the clock pass. Only for rules about time: whatever can be awaited is awaited. */
void let_time_pass(int ms);

/* ---- what the macros above call ---- */

#define test_fail(...) fail_at(HERE, __VA_ARGS__)

/* Names the case that a test with a table is at, for the message of a failure. Borrowed. */
void test_case(const char *name);

__attribute__((format(printf, 2, 3))) void fail_at(struct here here, const char *format, ...);

struct client *client_open_at(uint8_t version, struct here here);
struct client *client_connect_at(const struct connect_packet *packet, struct here here);
void client_disconnect_at(struct client *c, enum reason reason, const struct prop *props,
                          struct here here);
void client_drop_at(struct client *c, struct here here);
void client_send_at(struct client *c, const void *data, size_t len, struct here here);
void send_connect_at(struct client *c, const struct connect_packet *packet, struct here here);
void send_publish_at(struct client *c, const struct publish_packet *packet, struct here here);
void send_subscribe_at(struct client *c, const struct subscribe_packet *packet, struct here here);
void send_unsubscribe_at(struct client *c, const struct subscribe_packet *packet, struct here here);
void send_ack_at(struct client *c, enum packet_type type, unsigned id, enum reason reason,
                 struct here here);
void send_reason_at(struct client *c, enum packet_type type, enum reason reason,
                    const struct prop *props, struct here here);
void subscribe_at(struct client *c, const char *filter, unsigned options, const struct prop *props,
                  struct here here);
void unsubscribe_at(struct client *c, const char *filter, struct here here);
void publish_at(struct client *c, const struct publish_packet *packet, struct here here);
void acknowledge_at(struct client *c, const struct packet *packet, struct here here);
void settle_at(struct client *c, struct here here);
const struct packet *client_receive_at(struct client *c, int timeout_ms, struct here here);
const struct packet *expect_packet_at(struct client *c, enum packet_type type, struct here here);
const struct packet *expect_publish_at(struct client *c, const char *topic, const char *payload,
                                       struct here here);
const struct packet *expect_ack_at(struct client *c, enum packet_type type, unsigned id,
                                   unsigned reason, struct here here);
void expect_reasons_at(struct client *c, enum packet_type type, unsigned id, const uint8_t *reasons,
                       size_t count, struct here here);
void expect_disconnect_at(struct client *c, const uint8_t *reasons, size_t count, struct here here);
void expect_refused_at(struct client *c, const uint8_t *reasons, size_t count, struct here here);
void expect_closed_at(struct client *c, int timeout_ms, struct here here);
void expect_nothing_at(struct client *c, int quiet_ms, struct here here);
void assert_prop_number_at(const struct packet *packet, enum property id, uint32_t number,
                           struct here here);
void assert_prop_text_at(const struct packet *packet, enum property id, const char *text,
                         struct here here);
void assert_no_prop_at(const struct packet *packet, enum property id, struct here here);

#endif
