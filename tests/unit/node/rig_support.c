#include "tests/unit/node/rig_support.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/reclaim.h"
#include "codec/mqtt.h"

/* Iterations that carry anything from one client through two workers to another. */
#define TURNS 8

void rig_start(struct rig *rig, unsigned workers)
{
    char count[32];
    snprintf(count, sizeof(count), "--worker-threads=%u", workers);
    char *argv[] = {(char *)(uintptr_t) "pulse", count, (char *)(uintptr_t) "--log=error", NULL};
    char *environment[] = {NULL};
    *rig = (struct rig){.broker = NULL};
    signal(SIGPIPE, SIG_IGN); /* as main does */
    assert_int_equal(config_load(&rig->config, 3, argv, environment, stdout, stderr), CONFIG_RUN);
    reclaim_thread_register();
    assert_int_equal(broker_create(&rig->config, &rig->broker), ERR_OK);
    rig->worker = rig->broker->workers[0];
    rig_turn(rig);
}

void rig_stop(struct rig *rig)
{
    rig_turn(rig);
    reclaim_thread_unregister();
    broker_destroy(rig->broker); /* registers the thread itself */
    config_fini(&rig->config);
}

void rig_turn(struct rig *rig)
{
    for (unsigned turn = 0; turn < TURNS; turn++) {
        for (unsigned i = 0; i < rig->broker->worker_count; i++) {
            uv_run(&rig->broker->workers[i]->loop, UV_RUN_NOWAIT);
        }
    }
}

int64_t rig_metric(const struct rig *rig, enum metric id)
{
    return metric_sum(rig->broker->metrics, rig->broker->worker_count, id);
}

/* ---- packets of a client --------------------------------------------------------------------- */

static void put_16(struct writer *w, uint16_t value)
{
    *w->at++ = (uint8_t)(value >> 8);
    *w->at++ = (uint8_t)value;
}

static void put_bytes(struct writer *w, const void *bytes, size_t len)
{
    if (len > 0) {
        memcpy(w->at, bytes, len);
    }
    w->at += len;
}

static void put_text(struct writer *w, const char *text)
{
    put_16(w, (uint16_t)strlen(text));
    put_bytes(w, text, strlen(text));
}

static void put_varint(struct writer *w, size_t value)
{
    do {
        uint8_t more = value > 127 ? 128 : 0;
        *w->at++ = (uint8_t)((value & 127) | more);
        value >>= 7;
    } while (value > 0);
}

static void put_limits(struct writer *w, const struct client_options *options)
{
    if (options->session_expiry > 0) {
        mqtt_prop_write_u32(w, MQTT_PROP_SESSION_EXPIRY, options->session_expiry);
    }
    if (options->receive_maximum > 0) {
        mqtt_prop_write_u16(w, MQTT_PROP_RECEIVE_MAXIMUM, options->receive_maximum);
    }
    if (options->maximum_packet_size > 0) {
        mqtt_prop_write_u32(w, MQTT_PROP_MAXIMUM_PACKET_SIZE, options->maximum_packet_size);
    }
    if (options->topic_alias_maximum > 0) {
        mqtt_prop_write_u16(w, MQTT_PROP_TOPIC_ALIAS_MAXIMUM, options->topic_alias_maximum);
    }
}

/* `body` behind a fixed header. */
static void send_packet(struct client *client, uint8_t first_byte, struct slice body)
{
    uint8_t *bytes = mem_alloc(body.len + 5);
    struct writer w = {.at = bytes, .end = bytes + body.len + 5};
    *w.at++ = first_byte;
    put_varint(&w, body.len);
    put_bytes(&w, body.data, body.len);
    client_send(client, bytes, (size_t)(w.at - bytes));
    mem_free(bytes);
}

static void send_connect(struct client *client, const struct client_options *options)
{
    uint8_t props[64];
    struct writer p = {.at = props, .end = props + sizeof(props)};
    put_limits(&p, options);
    uint8_t body[256];
    struct writer w = {.at = body, .end = body + sizeof(body)};
    uint8_t version = options->version > 0 ? options->version : 5;
    put_text(&w, "MQTT");
    *w.at++ = version;
    *w.at++ = 0; /* not a clean start, no will, no credentials */
    put_16(&w, 0);
    if (version == 5) {
        put_varint(&w, (size_t)(p.at - props));
        put_bytes(&w, props, (size_t)(p.at - props));
    }
    put_text(&w, options->id);
    send_packet(client, MQTT_CONNECT << 4, slice_of(body, (size_t)(w.at - body)));
}

void client_connect(struct client *client, struct rig *rig, struct client_options options)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    *client = (struct client){.rig = rig, .fd = fds[0]};
    reclaim_enter();
    conn_open(rig->worker, &(struct conn_start){.fd = fds[1]});
    reclaim_leave();
    send_connect(client, &options);
    rig_turn(rig);
    struct packet connack;
    assert_true(client_next(client, &connack));
    assert_int_equal(connack.type, MQTT_CONNACK);
    struct slice id = slice_text(options.id);
    unsigned home = broker_worker_of(rig->broker, id);
    client->session = session_table_find(&rig->broker->workers[home]->sessions, id);
    assert_non_null(client->session);
    client->conn = client->session->conn;
    assert_non_null(client->conn);
}

void client_vanish(struct client *client)
{
    close(client->fd);
    client->fd = -1;
    client->conn = NULL;
    client->session = NULL;
}

void client_send(struct client *client, const void *bytes, size_t len)
{
    assert_int_equal(send(client->fd, bytes, len, MSG_NOSIGNAL), len);
}

void client_publish(struct client *client, const char *topic, uint8_t qos, uint16_t packet_id,
                    struct slice payload)
{
    uint8_t *body = mem_alloc(strlen(topic) + payload.len + 8);
    struct writer w = {.at = body};
    put_text(&w, topic);
    if (qos > 0) {
        put_16(&w, packet_id);
    }
    if (client->conn->version == MQTT_V5) {
        *w.at++ = 0; /* no properties */
    }
    put_bytes(&w, payload.data, payload.len);
    send_packet(client, (uint8_t)(MQTT_PUBLISH << 4 | qos << 1),
                slice_of(body, (size_t)(w.at - body)));
    mem_free(body);
}

void client_ack(struct client *client, enum mqtt_packet type, uint16_t packet_id)
{
    uint8_t body[2] = {(uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    send_packet(client, (uint8_t)(type << 4 | (type == MQTT_PUBREL ? 2 : 0)), slice_of(body, 2));
}

/* ---- packets of the broker ------------------------------------------------------------------- */

static struct slice take(struct slice *from, size_t len)
{
    assert_true(from->len >= len);
    struct slice taken = slice_of(from->data, len);
    *from = slice_from(*from, len);
    return taken;
}

static uint16_t take_16(struct slice *from)
{
    struct slice two = take(from, 2);
    return (uint16_t)(two.data[0] << 8 | two.data[1]);
}

static size_t take_varint(struct slice *from)
{
    size_t value = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = take(from, 1).data[0];
        value |= (size_t)(byte & 127) << shift;
        if (byte < 128) {
            return value;
        }
    }
}

static void read_publish(const struct client *client, struct packet *packet)
{
    struct slice rest = packet->body;
    packet->topic = take(&rest, take_16(&rest));
    packet->packet_id = (packet->flags & 6) != 0 ? take_16(&rest) : 0;
    packet->props = slice_of(NULL, 0);
    if (client->conn->version == MQTT_V5) {
        packet->props = take(&rest, take_varint(&rest));
    }
    packet->payload = rest;
}

/* Reads what is there, as far as there is room. */
static void receive(struct client *client)
{
    size_t room = sizeof(client->unread) - client->unread_len;
    ssize_t len = recv(client->fd, client->unread + client->unread_len, room, MSG_DONTWAIT);
    client->unread_len += len > 0 ? (size_t)len : 0;
}

bool client_next(struct client *client, struct packet *out)
{
    static uint8_t bytes[sizeof(client->unread)];
    receive(client);
    struct mqtt_frame frame;
    struct slice unread = slice_of(client->unread, client->unread_len);
    if (mqtt_frame_read(unread, &frame) != MQTT_FRAME_OK) {
        return false;
    }
    size_t len = frame.header_len + frame.body_len;
    assert_true(len <= sizeof(bytes)); /* else a test asks too much of this client */
    if (unread.len < len) {
        return false;
    }
    memcpy(bytes, unread.data, len);
    memmove(client->unread, client->unread + len, client->unread_len - len);
    client->unread_len -= len;
    *out = (struct packet){.type = frame.type,
                           .flags = frame.flags,
                           .body = slice_of(bytes + frame.header_len, frame.body_len)};
    if (out->type == MQTT_PUBLISH) {
        read_publish(client, out);
    }
    return true;
}

struct packet client_expect_publish(struct client *client)
{
    struct packet packet = {.type = 0};
    assert_true(client_next(client, &packet));
    assert_int_equal(packet.type, MQTT_PUBLISH);
    return packet;
}

void client_expect_nothing(struct client *client)
{
    receive(client);
    assert_int_equal(client->unread_len, 0);
}

/* ---- what the router and SUBSCRIBE do -------------------------------------------------------- */

void client_subscribe(struct client *client, const char *filter, struct subscription options)
{
    bool existed;
    reclaim_enter();
    session_subscribe(client->session, slice_text(filter), slice_of(NULL, 0), &options, &existed);
    reclaim_leave();
}

void deliver_to(struct client *client, struct message *message, struct delivery delivery,
                size_t receivers)
{
    struct encoder encoder;
    encoder_init(&encoder, client->session->worker, message, receivers);
    reclaim_enter();
    deliver(&encoder, client->session, &delivery);
    reclaim_leave();
}
