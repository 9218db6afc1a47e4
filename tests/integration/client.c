#include "tests/integration/client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ALIAS_COUNT = 65536, READ_SIZE = 65536 };

/*
 * Invariants:
 *   every open client is in the list that starts at `clients`;
 *   `last` stays valid until the next packet is decoded.
 */
struct client {
    struct client *next;
    int fd;
    uint8_t version;
    bool ended; /* the broker has closed its side */
    uint16_t last_id;
    struct buffer input;
    struct packet last;
    char **aliases;                       /* topics that the broker gave an alias to, by alias */
    const struct client_carrier *carrier; /* NULL: the bare socket */
    void *carried;
};

static struct client *clients;
static uint16_t target_port;
static client_open_fn *opener; /* NULL: plain TCP */
static unsigned client_ids_made;
static const char *case_name; /* NULL outside of tables */

void fail_at(struct here here, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    print_error("%s%s%s\n", case_name != NULL ? case_name : "", case_name != NULL ? ": " : "",
                text);
    _fail(here.file, here.line);
}

void test_case(const char *name)
{
    case_name = name;
}

long clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void let_time_pass(int ms)
{
    struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

void client_use_port(uint16_t port)
{
    target_port = port;
}

uint16_t client_port(void)
{
    return target_port;
}

void client_use_opener(client_open_fn *open)
{
    opener = open;
}

/* ---- opening and closing ---- */

static int connect_to_target(struct here here)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(target_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        fail_at(here, "cannot connect to port %u: %s", target_port, strerror(error));
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

struct client *client_open_at(uint8_t version, struct here here)
{
    return opener != NULL ? opener(version, here)
                          : client_adopt(connect_to_target(here), version, NULL, NULL);
}

struct client *client_adopt(int fd, uint8_t version, const struct client_carrier *carrier,
                            void *carried)
{
    struct client *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        abort();
    }
    c->fd = fd;
    c->carrier = carrier;
    c->carried = carried;
    c->version = version == 0 ? MQTT_50 : version;
    c->next = clients;
    clients = c;
    return c;
}

void client_close(struct client *c)
{
    struct client **link = &clients;
    while (*link != c) {
        link = &(*link)->next;
    }
    *link = c->next;
    if (c->carrier != NULL) {
        c->carrier->destroy(c->carried);
    } else {
        close(c->fd);
    }
    buffer_fini(&c->input);
    packet_fini(&c->last);
    for (size_t i = 0; c->aliases != NULL && i < ALIAS_COUNT; i++) {
        free(c->aliases[i]);
    }
    free(c->aliases);
    free(c);
}

void client_close_all(void)
{
    case_name = NULL;
    while (clients != NULL) {
        client_close(clients);
    }
}

struct client *client_connect_at(const struct connect_packet *packet, struct here here)
{
    struct client *c = client_open_at(packet->version, here);
    send_connect_at(c, packet, here);
    const struct packet *connack = expect_packet_at(c, PKT_CONNACK, here);
    if (connack->reason != RC_SUCCESS) {
        fail_at(here, "CONNECT was refused with 0x%02x (%s)", connack->reason,
                reason_name(connack->reason));
    }
    return c;
}

void client_disconnect_at(struct client *c, enum reason reason, const struct prop *props,
                          struct here here)
{
    if (c->version >= MQTT_50 && (reason != RC_SUCCESS || props != NULL)) {
        send_reason_at(c, PKT_DISCONNECT, reason, props, here);
    } else {
        client_send_at(c, (const uint8_t[]){PKT_DISCONNECT << 4, 0}, 2, here);
    }
    while (client_receive_at(c, WAIT_MS, here) != NULL) {
    }
    expect_closed_at(c, WAIT_MS, here);
    client_close(c);
}

void client_drop_at(struct client *c, struct here here)
{
    shutdown(c->fd, SHUT_WR);
    while (client_receive_at(c, WAIT_MS, here) != NULL) {
    }
    expect_closed_at(c, WAIT_MS, here);
    client_close(c);
}

/* ---- sending ---- */

static ssize_t transmit(struct client *c, const void *data, size_t len)
{
    return c->carrier != NULL ? c->carrier->send(c->carried, data, len)
                              : send(c->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

size_t client_send_some(struct client *c, const void *data, size_t len)
{
    ssize_t sent = transmit(c, data, len);
    return sent < 0 ? 0 : (size_t)sent;
}

/*
 * A broker that has closed already makes sending fail. That is no failure of the test: tests that
 * send wrong bytes race with the close, and then look for it.
 */
void client_send_at(struct client *c, const void *data, size_t len, struct here here)
{
    const uint8_t *at = data;
    long deadline = clock_ms() + WAIT_MS;
    bool is_waiting = len > 0;
    while (is_waiting) {
        ssize_t sent = transmit(c, at, len);
        if (sent >= 0) {
            /* A carrier keeps what the socket refuses, until it is called with nothing more. */
            is_waiting = len > (size_t)sent || (c->carrier != NULL && len > 0);
            at += sent;
            len -= (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd writable = {.fd = c->fd, .events = POLLOUT};
            poll(&writable, 1, 100);
            if (clock_ms() > deadline) {
                fail_at(here, "the broker takes no bytes any more, %zu are left", len);
            }
        } else {
            return;
        }
    }
}

static void send_and_free(struct client *c, struct buffer *buf, struct here here)
{
    client_send_at(c, buf->data, buf->len, here);
    buffer_fini(buf);
}

void send_connect_at(struct client *c, const struct connect_packet *packet, struct here here)
{
    struct connect_packet filled = *packet;
    char id[32];
    if (filled.client_id == NULL) {
        snprintf(id, sizeof(id), "t-%d-%u", (int)getpid() % 100000, ++client_ids_made);
        filled.client_id = id;
    }
    struct buffer buf = {0};
    put_connect(&buf, &filled);
    send_and_free(c, &buf, here);
}

void send_publish_at(struct client *c, const struct publish_packet *packet, struct here here)
{
    struct buffer buf = {0};
    put_publish(&buf, c->version, packet);
    send_and_free(c, &buf, here);
}

void send_subscribe_at(struct client *c, const struct subscribe_packet *packet, struct here here)
{
    struct buffer buf = {0};
    put_subscribe(&buf, c->version, packet);
    send_and_free(c, &buf, here);
}

void send_unsubscribe_at(struct client *c, const struct subscribe_packet *packet, struct here here)
{
    struct buffer buf = {0};
    put_unsubscribe(&buf, c->version, packet);
    send_and_free(c, &buf, here);
}

void send_ack_at(struct client *c, enum packet_type type, unsigned id, enum reason reason,
                 struct here here)
{
    struct buffer buf = {0};
    put_ack(&buf, c->version, type, id, reason);
    send_and_free(c, &buf, here);
}

void send_reason_at(struct client *c, enum packet_type type, enum reason reason,
                    const struct prop *props, struct here here)
{
    struct buffer buf = {0};
    put_reason_packet(&buf, type, reason, props);
    send_and_free(c, &buf, here);
}

/* ---- receiving ---- */

static char **alias_slot(struct client *c, uint32_t alias)
{
    if (c->aliases == NULL) {
        c->aliases = calloc(ALIAS_COUNT, sizeof(*c->aliases));
        if (c->aliases == NULL) {
            abort();
        }
    }
    return &c->aliases[alias];
}

/* Learns the topic of a new alias; gives a PUBLISH with a known alias its topic. */
static void resolve_alias(struct client *c, struct here here)
{
    const struct prop *alias = packet_prop(&c->last, PROP_TOPIC_ALIAS);
    if (c->last.type != PKT_PUBLISH || alias == NULL) {
        return;
    }
    char **slot = alias_slot(c, alias->number);
    if (c->last.topic[0] != '\0') {
        free(*slot);
        *slot = strdup(c->last.topic);
    } else if (*slot == NULL) {
        fail_at(here, "the broker uses topic alias %u before it gave it a topic", alias->number);
    } else {
        c->last.topic = *slot;
    }
}

static bool decode_next(struct client *c, struct here here)
{
    const char *problem = NULL;
    long len = packet_decode(&c->last, c->version, c->input.data, c->input.len, &problem);
    if (len < 0) {
        fail_at(here, "the broker sent a malformed packet (first byte 0x%02x): %s",
                c->input.data[0], problem);
    }
    if (len == 0) {
        return false;
    }
    buffer_consume(&c->input, (size_t)len);
    resolve_alias(c, here);
    return true;
}

/* Reads what is there; notices the end of the connection. */
static void read_some(struct client *c)
{
    static uint8_t bytes[READ_SIZE];
    ssize_t len = c->carrier != NULL ? c->carrier->receive(c->carried, bytes, sizeof(bytes))
                                     : recv(c->fd, bytes, sizeof(bytes), 0);
    if (len > 0) {
        put_bytes(&c->input, bytes, (size_t)len);
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
        c->ended = true;
    }
}

const struct packet *client_receive_at(struct client *c, int timeout_ms, struct here here)
{
    long deadline = clock_ms() + timeout_ms;
    while (!decode_next(c, here)) {
        long left = deadline - clock_ms();
        if (c->ended || left < 0) {
            return NULL;
        }
        size_t before = c->input.len;
        struct pollfd readable = {.fd = c->fd, .events = POLLIN};
        if (c->carrier != NULL) {
            read_some(c); /* it may hold bytes that poll() knows nothing of */
        }
        bool got_some = c->ended || c->input.len > before;
        if (!got_some && poll(&readable, 1, (int)left) > 0) {
            read_some(c);
        }
    }
    return &c->last;
}

const struct packet *client_last(const struct client *c)
{
    return &c->last;
}

uint16_t client_next_id(struct client *c)
{
    c->last_id++;
    return c->last_id != 0 ? c->last_id : ++c->last_id;
}

int client_fd(const struct client *c)
{
    return c->fd;
}

void *client_carried(const struct client *c)
{
    return c->carried;
}

bool client_ended(const struct client *c)
{
    return c->ended;
}

/* Fails with what came instead of `wanted`. */
static void fail_instead(struct client *c, const struct packet *packet, const char *wanted,
                         struct here here)
{
    char text[512];
    if (packet != NULL) {
        packet_describe(packet, text, sizeof(text));
        fail_at(here, "expected %s, got %s", wanted, text);
    }
    fail_at(here, "expected %s, but %s", wanted,
            c->ended ? "the broker closed the connection" : "nothing came");
}

const struct packet *expect_packet_at(struct client *c, enum packet_type type, struct here here)
{
    const struct packet *packet = client_receive_at(c, WAIT_MS, here);
    if (packet == NULL || packet->type != type) {
        fail_instead(c, packet, packet_type_name(type), here);
    }
    return packet;
}

const struct packet *expect_publish_at(struct client *c, const char *topic, const char *payload,
                                       struct here here)
{
    const struct packet *packet = expect_packet_at(c, PKT_PUBLISH, here);
    if (strcmp(packet->topic, topic) != 0 || packet->payload_len != strlen(payload) ||
        memcmp(packet->payload, payload, packet->payload_len) != 0) {
        char wanted[512];
        snprintf(wanted, sizeof(wanted), "PUBLISH topic \"%.100s\" payload \"%.60s\"", topic,
                 payload);
        fail_instead(c, packet, wanted, here);
    }
    return packet;
}

const struct packet *expect_ack_at(struct client *c, enum packet_type type, unsigned id,
                                   unsigned reason, struct here here)
{
    const struct packet *packet = client_receive_at(c, WAIT_MS, here);
    if (packet == NULL || packet->type != type || packet->id != id || packet->reason != reason) {
        char wanted[128];
        snprintf(wanted, sizeof(wanted), "%s id %u reason 0x%02x (%s)", packet_type_name(type), id,
                 reason, reason_name(reason));
        fail_instead(c, packet, wanted, here);
    }
    return packet;
}

void expect_reasons_at(struct client *c, enum packet_type type, unsigned id, const uint8_t *reasons,
                       size_t count, struct here here)
{
    const struct packet *packet = expect_packet_at(c, type, here);
    if (packet->id != id || packet->reason_count != count) {
        fail_at(here, "expected %s id %u with %zu reasons, got id %u with %zu",
                packet_type_name(type), id, count, packet->id, packet->reason_count);
    }
    for (size_t i = 0; i < count; i++) {
        if (packet->reasons[i] != reasons[i]) {
            fail_at(here, "%s: reason %zu should be 0x%02x (%s), is 0x%02x (%s)",
                    packet_type_name(type), i + 1, reasons[i], reason_name(reasons[i]),
                    packet->reasons[i], reason_name(packet->reasons[i]));
        }
    }
}

/* Fails unless `packet` is of `type` and its reason is one of these. */
static void check_reason(struct client *c, const struct packet *packet, enum packet_type type,
                         const uint8_t *reasons, size_t count, struct here here)
{
    if (packet != NULL && packet->type == type && memchr(reasons, packet->reason, count) != NULL) {
        return;
    }
    char wanted[128];
    snprintf(wanted, sizeof(wanted), "%s reason 0x%02x (%s)%s", packet_type_name(type), reasons[0],
             reason_name(reasons[0]), count > 1 ? " or the like" : "");
    fail_instead(c, packet, wanted, here);
}

void expect_disconnect_at(struct client *c, const uint8_t *reasons, size_t count, struct here here)
{
    if (c->version >= MQTT_50) {
        const struct packet *packet = client_receive_at(c, WAIT_MS, here);
        check_reason(c, packet, PKT_DISCONNECT, reasons, count, here);
        assert_no_prop_at(packet, PROP_SESSION_EXPIRY, here); /* [MQTT-3.14.2-2] */
    }
    expect_closed_at(c, WAIT_MS, here);
}

void expect_refused_at(struct client *c, const uint8_t *reasons, size_t count, struct here here)
{
    const struct packet *packet = client_receive_at(c, WAIT_MS, here);
    check_reason(c, packet, PKT_CONNACK, reasons, count, here);
    if (packet->session_present) {
        fail_at(here, "session present in a CONNACK that refuses [MQTT-3.2.2-6]");
    }
    expect_closed_at(c, WAIT_MS, here);
}

void expect_closed_at(struct client *c, int timeout_ms, struct here here)
{
    const struct packet *packet = client_receive_at(c, timeout_ms, here);
    if (packet != NULL || !c->ended) {
        fail_instead(c, packet, "the end of the connection", here);
    }
    if (c->input.len > 0) {
        fail_at(here, "the connection ended in the middle of a packet");
    }
}

void expect_nothing_at(struct client *c, int quiet_ms, struct here here)
{
    const struct packet *packet = client_receive_at(c, quiet_ms, here);
    if (packet != NULL || c->ended) {
        fail_instead(c, packet, "silence", here);
    }
}

/* ---- whole exchanges ---- */

void subscribe_at(struct client *c, const char *filter, unsigned options, const struct prop *props,
                  struct here here)
{
    uint16_t id = client_next_id(c);
    struct subscribe_packet packet = {
        .id = id, .filters = FILTERS({filter, (uint8_t)options}), .props = props};
    send_subscribe_at(c, &packet, here);
    expect_reasons_at(c, PKT_SUBACK, id, (const uint8_t[]){options & 0x03}, 1, here);
}

void unsubscribe_at(struct client *c, const char *filter, struct here here)
{
    uint16_t id = client_next_id(c);
    send_unsubscribe_at(c, &(struct subscribe_packet){.id = id, .filters = FILTERS({filter, 0})},
                        here);
    const struct packet *packet = expect_packet_at(c, PKT_UNSUBACK, here);
    if (packet->id != id || (c->version >= MQTT_50 && packet->reason != RC_SUCCESS)) {
        fail_instead(c, packet, "UNSUBACK with success", here);
    }
}

static void expect_good_ack(struct client *c, enum packet_type type, uint16_t id, struct here here)
{
    const struct packet *packet = client_receive_at(c, WAIT_MS, here);
    if (packet == NULL || packet->type != type || packet->id != id || packet->reason >= 0x80) {
        char wanted[64];
        snprintf(wanted, sizeof(wanted), "%s id %u with success", packet_type_name(type), id);
        fail_instead(c, packet, wanted, here);
    }
}

void publish_at(struct client *c, const struct publish_packet *packet, struct here here)
{
    struct publish_packet filled = *packet;
    if (filled.qos > 0 && filled.id == 0) {
        filled.id = client_next_id(c);
    }
    send_publish_at(c, &filled, here);
    if (filled.qos == 1) {
        expect_good_ack(c, PKT_PUBACK, filled.id, here);
    } else if (filled.qos == 2) {
        expect_good_ack(c, PKT_PUBREC, filled.id, here);
        send_ack_at(c, PKT_PUBREL, filled.id, RC_SUCCESS, here);
        expect_good_ack(c, PKT_PUBCOMP, filled.id, here);
    }
}

void acknowledge_at(struct client *c, const struct packet *packet, struct here here)
{
    uint16_t id = packet->id; /* the packet is gone once the next one comes */
    if (packet->qos == 1) {
        send_ack_at(c, PKT_PUBACK, id, RC_SUCCESS, here);
    } else if (packet->qos == 2) {
        send_ack_at(c, PKT_PUBREC, id, RC_SUCCESS, here);
        expect_ack_at(c, PKT_PUBREL, id, RC_SUCCESS, here);
        send_ack_at(c, PKT_PUBCOMP, id, RC_SUCCESS, here);
    }
}

void settle_at(struct client *c, struct here here)
{
    client_send_at(c, (const uint8_t[]){PKT_PINGREQ << 4, 0}, 2, here);
    expect_packet_at(c, PKT_PINGRESP, here);
}
