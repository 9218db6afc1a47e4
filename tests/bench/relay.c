/*
 * pulse-relay: the floor that brokers are measured against. It copies each publisher's bytes to its
 * subscribers and does nothing else.
 *
 * Only to set up does it look at MQTT: CONNECT and SUBSCRIBE get their answers, and the topic of a
 * connection's first PUBLISH says whose bytes it feeds. From then on nothing of that connection is
 * parsed. So one publisher per topic, QoS 0, no wildcards: fan-out, pairs, latency, connect, idle.
 *
 * Owns      its connections and the routes between them.
 * Thread    one libuv loop.
 * Errors    a bad connection is closed; a subscriber more than OUT_BYTES_MAX behind ends the
 * program. Source    the shape of a broker's hot path: reads into one shared buffer, one coalesced
 * write per connection and loop iteration, refused bytes left to uv_write().
 */
#include "tests/bench/wire.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

enum {
    READ_BYTES = 64 * 1024,
    SETUP_BYTES = 1024, /* packets before the first PUBLISH, and that one's topic */
    OUT_BYTES_MAX = 256 * 1024 * 1024,
    ROUTES_MAX = 65536,
    LISTEN_BACKLOG = 1024,
};

struct peer;

/* Who gets the bytes sent to one topic. Routes stay until the end. */
struct route {
    char *topic;
    struct peer **subscribers;
    size_t count;
    size_t room;
};

struct buffer {
    char *bytes;
    size_t len;
    size_t room;
};

struct peer {
    uv_tcp_t socket;
    uv_write_t write;
    struct buffer out;     /* collects; written once per iteration */
    struct buffer writing; /* in the hands of uv_write() */
    struct route *feeds;   /* set by the first PUBLISH: bytes are copied blindly */
    struct route *follows; /* set by SUBSCRIBE */
    struct peer *dirty_next;
    uint8_t *setup; /* an incomplete packet from before the first PUBLISH */
    uint32_t setup_len;
    uint8_t version;
    bool is_dirty;
    bool is_writing;
};

static struct {
    uv_loop_t loop;
    uv_tcp_t listener;
    uv_check_t check;
    struct peer *dirty;
    struct route *routes[ROUTES_MAX]; /* open addressing by topic */
    char input[READ_BYTES];
} relay;

static void __attribute__((noreturn)) give_up(const char *what)
{
    fprintf(stderr, "pulse-relay: %s\n", what);
    exit(1);
}

static size_t topic_hash(const uint8_t *topic, size_t len)
{
    size_t hash = 5381;
    for (size_t i = 0; i < len; i++) {
        hash = hash * 33 + topic[i];
    }
    return hash;
}

static struct route *route_find(const uint8_t *topic, size_t len)
{
    size_t first = topic_hash(topic, len);
    for (size_t i = 0; i < ROUTES_MAX; i++) {
        struct route **slot = &relay.routes[(first + i) % ROUTES_MAX];
        if (*slot == NULL) {
            *slot = calloc(1, sizeof(**slot));
            char *name = *slot == NULL ? NULL : strndup((const char *)topic, len);
            if (name == NULL) {
                give_up("out of memory");
            }
            (*slot)->topic = name;
            return *slot;
        }
        if (strlen((*slot)->topic) == len && memcmp((*slot)->topic, topic, len) == 0) {
            return *slot;
        }
    }
    give_up("too many topics");
}

static void route_add(struct route *route, struct peer *peer)
{
    if (route->count == route->room) {
        route->room = route->room == 0 ? 1 : 2 * route->room;
        route->subscribers = realloc(route->subscribers, route->room * sizeof(struct peer *));
        if (route->subscribers == NULL) {
            give_up("out of memory");
        }
    }
    route->subscribers[route->count++] = peer;
    peer->follows = route;
}

static void route_remove(struct route *route, const struct peer *peer)
{
    for (size_t i = 0; i < route->count; i++) {
        if (route->subscribers[i] == peer) {
            route->subscribers[i] = route->subscribers[--route->count];
            return;
        }
    }
}

static void buffer_append(struct buffer *buffer, const void *bytes, size_t len)
{
    if (buffer->len + len > buffer->room) {
        buffer->room = 2 * (buffer->len + len);
        buffer->bytes = buffer->room > OUT_BYTES_MAX ? NULL : realloc(buffer->bytes, buffer->room);
        if (buffer->bytes == NULL) {
            give_up("a subscriber is too far behind");
        }
    }
    memcpy(buffer->bytes + buffer->len, bytes, len);
    buffer->len += len;
}

static void on_closed(uv_handle_t *handle)
{
    struct peer *peer = handle->data;
    struct peer **link = &relay.dirty;
    while (*link != NULL && *link != peer) {
        link = &(*link)->dirty_next;
    }
    if (*link != NULL) {
        *link = peer->dirty_next;
    }
    free(peer->out.bytes);
    free(peer->writing.bytes);
    free(peer->setup);
    free(peer);
}

static void peer_close(struct peer *peer)
{
    if (uv_is_closing((uv_handle_t *)&peer->socket)) {
        return;
    }
    if (peer->follows != NULL) {
        route_remove(peer->follows, peer);
    }
    uv_close((uv_handle_t *)&peer->socket, on_closed);
}

static void peer_send(struct peer *peer, const void *bytes, size_t len)
{
    buffer_append(&peer->out, bytes, len);
    if (!peer->is_dirty) {
        peer->is_dirty = true;
        peer->dirty_next = relay.dirty;
        relay.dirty = peer;
    }
}

static void peer_flush(struct peer *peer);

static void on_written(uv_write_t *write, int status)
{
    struct peer *peer = write->data;
    peer->is_writing = false;
    peer->writing.len = 0;
    if (status < 0) {
        peer_close(peer);
    } else {
        peer_flush(peer);
    }
}

/* Writes what has been collected; what the socket refuses goes to uv_write(), buffer and all. */
static void peer_flush(struct peer *peer)
{
    if (peer->is_writing || peer->out.len == 0 || uv_is_closing((uv_handle_t *)&peer->socket)) {
        return;
    }
    uv_stream_t *stream = (uv_stream_t *)&peer->socket;
    uv_buf_t all = uv_buf_init(peer->out.bytes, (unsigned)peer->out.len);
    int written = uv_try_write(stream, &all, 1);
    if (written < 0 && written != UV_EAGAIN) {
        peer_close(peer);
        return;
    }
    size_t done = written > 0 ? (size_t)written : 0;
    if (done == peer->out.len) {
        peer->out.len = 0;
        return;
    }
    struct buffer refused = peer->out;
    peer->out = peer->writing;
    peer->writing = refused;
    peer->is_writing = true;
    peer->write.data = peer;
    uv_buf_t rest = uv_buf_init(refused.bytes + done, (unsigned)(refused.len - done));
    if (uv_write(&peer->write, stream, &rest, 1, on_written) != 0) {
        peer_close(peer);
    }
}

/* Runs once per loop iteration, after all reads. */
static void on_check(uv_check_t *check)
{
    (void)check;
    struct peer *peer = relay.dirty;
    relay.dirty = NULL;
    while (peer != NULL) {
        struct peer *next = peer->dirty_next;
        peer->is_dirty = false;
        peer_flush(peer);
        peer = next;
    }
}

static void copy_to_followers(const struct route *route, const void *bytes, size_t len)
{
    for (size_t i = 0; i < route->count; i++) {
        peer_send(route->subscribers[i], bytes, len);
    }
}

/* The topic of the first PUBLISH of `peer`, once enough of it has arrived; later packets go unread.
 */
static bool wire_up(struct peer *peer, const uint8_t *bytes, size_t len)
{
    size_t body_len = 0;
    int digits = wire_get_varint(bytes + 1, len - 1, &body_len);
    size_t at = 1 + (size_t)(digits > 0 ? digits : 0);
    if (digits <= 0 || len < at + 2 || len < at + 2 + wire_get_u16(bytes + at)) {
        return false;
    }
    peer->feeds = route_find(bytes + at + 2, wire_get_u16(bytes + at));
    copy_to_followers(peer->feeds, bytes, len);
    return true;
}

static void answer_connect(struct peer *peer, const struct wire_packet *packet)
{
    static const uint8_t connack_311[] = {WIRE_CONNACK << 4, 2, 0, 0};
    static const uint8_t connack_5[] = {WIRE_CONNACK << 4, 3, 0, 0, 0};
    /* The version follows the protocol name. */
    size_t at = packet->body_len < 2 ? 0 : 2u + wire_get_u16(packet->body);
    if (at == 0 || at >= packet->body_len) {
        peer_close(peer);
        return;
    }
    peer->version = packet->body[at];
    if (peer->version == WIRE_VERSION_5) {
        peer_send(peer, connack_5, sizeof(connack_5));
    } else {
        peer_send(peer, connack_311, sizeof(connack_311));
    }
}

/* Takes the first filter, which is all that pulse-bench asks for. */
static void answer_subscribe(struct peer *peer, const struct wire_packet *packet)
{
    size_t at = peer->version == WIRE_VERSION_5 ? 3 : 2; /* properties are empty */
    const uint8_t *body = packet->body;
    if (packet->body_len < at + 2 || packet->body_len < at + 2 + wire_get_u16(body + at) ||
        peer->follows != NULL) {
        peer_close(peer);
        return;
    }
    route_add(route_find(body + at + 2, wire_get_u16(body + at)), peer);
    uint8_t suback[6] = {WIRE_SUBACK << 4, 3, body[0], body[1], 0, 0};
    suback[1] = peer->version == WIRE_VERSION_5 ? 4 : 3;
    peer_send(peer, suback, 2u + suback[1]);
}

/* Handles one packet of a connection that has not published yet: its length, or 0 to wait. */
static size_t set_up(struct peer *peer, const uint8_t *bytes, size_t len)
{
    struct wire_packet packet;
    if (bytes[0] >> 4 == WIRE_PUBLISH) {
        return wire_up(peer, bytes, len) ? len : 0;
    }
    switch (wire_frame(bytes, len, &packet)) {
    case WIRE_PARTIAL:
        return 0;
    case WIRE_BROKEN:
        peer_close(peer);
        return 0;
    case WIRE_WHOLE:
        break;
    }
    if (packet.type == WIRE_CONNECT) {
        answer_connect(peer, &packet);
    } else if (packet.type == WIRE_SUBSCRIBE) {
        answer_subscribe(peer, &packet);
    } else {
        peer_close(peer); /* DISCONNECT, or something that a relay knows nothing of */
    }
    return packet.len;
}

static void on_setup_bytes(struct peer *peer, const uint8_t *bytes, size_t len)
{
    uint8_t joined[SETUP_BYTES + READ_BYTES];
    if (peer->setup_len > 0) {
        memcpy(joined, peer->setup, peer->setup_len);
        memcpy(joined + peer->setup_len, bytes, len);
        bytes = joined;
        len += peer->setup_len;
    }
    size_t at = 0;
    while (at < len && !uv_is_closing((uv_handle_t *)&peer->socket)) {
        size_t used = set_up(peer, bytes + at, len - at);
        if (used == 0) {
            break;
        }
        at += used;
    }
    size_t left = len - at;
    peer->setup_len = 0;
    if (left == 0 || uv_is_closing((uv_handle_t *)&peer->socket)) {
        return;
    }
    if (peer->setup == NULL) {
        peer->setup = malloc(SETUP_BYTES);
    }
    if (left > SETUP_BYTES || peer->setup == NULL) {
        peer_close(peer);
        return;
    }
    memcpy(peer->setup, bytes + at, left);
    peer->setup_len = (uint32_t)left;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle;
    (void)suggested;
    *buffer = uv_buf_init(relay.input, READ_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct peer *peer = stream->data;
    if (count < 0) {
        peer_close(peer);
    } else if (peer->feeds != NULL) {
        copy_to_followers(peer->feeds, buffer->base, (size_t)count);
    } else if (count > 0) {
        on_setup_bytes(peer, (const uint8_t *)buffer->base, (size_t)count);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peer *peer = status < 0 ? NULL : calloc(1, sizeof(*peer));
    if (peer == NULL) {
        return;
    }
    uv_tcp_init(&relay.loop, &peer->socket);
    peer->socket.data = peer;
    uv_stream_t *stream = (uv_stream_t *)&peer->socket;
    if (uv_accept(listener, stream) != 0 || uv_tcp_nodelay(&peer->socket, 1) != 0 ||
        uv_read_start(stream, on_alloc, on_read) != 0) {
        peer_close(peer);
    }
}

int main(int argc, char **argv)
{
    int port = argc == 2 ? atoi(argv[1]) : 0;
    if (port <= 0 || port > 65535) {
        fprintf(stderr, "usage: pulse-relay PORT     (listens on 127.0.0.1 until it is killed)\n");
        return 2;
    }
    struct sockaddr_in address;
    signal(SIGPIPE, SIG_IGN);
    uv_ip4_addr("127.0.0.1", port, &address);
    if (uv_loop_init(&relay.loop) != 0 || uv_tcp_init(&relay.loop, &relay.listener) != 0 ||
        uv_tcp_bind(&relay.listener, (const struct sockaddr *)&address, 0) != 0 ||
        uv_listen((uv_stream_t *)&relay.listener, LISTEN_BACKLOG, on_connection) != 0) {
        give_up("cannot listen on this port");
    }
    uv_check_init(&relay.loop, &relay.check);
    uv_check_start(&relay.check, on_check);
    uv_run(&relay.loop, UV_RUN_DEFAULT);
    return 0;
}
