#include "tests/integration/suite.h"

#include "tests/integration/peer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { OUT_MAX = 65536, ACK_SIZE = 4, PAYLOAD_MAX = 4096, PEERS_MAX = 4 };

static void put_message(struct peer *peer)
{
    char payload[PAYLOAD_MAX];
    assert_true(peer->size >= 12 && peer->size <= sizeof(payload));
    memset(payload, '.', peer->size);
    int len = snprintf(payload, sizeof(payload), "%d", peer->sent);
    payload[len] = '.';
    put_publish(&peer->out, MQTT_50,
                &(struct publish_packet){.topic = peer->to,
                                         .payload = payload,
                                         .payload_len = peer->size,
                                         .qos = 1,
                                         .id = (uint16_t)(peer->sent % 60000 + 1)});
    peer->sent++;
}

static void fill(struct peer *peer)
{
    while (peer->to != NULL && peer->sent < peer->total &&
           peer->sent - peer->acked < peer->window && peer->out.len < OUT_MAX) {
        put_message(peer);
    }
    while (peer->acks_left > 0 && peer->acks.len > 0) {
        put_bytes(&peer->out, peer->acks.data, ACK_SIZE);
        buffer_consume(&peer->acks, ACK_SIZE);
        peer->acks_left -= peer->acks_left == PEER_ACKS_ALL ? 0 : 1;
    }
}

static void on_packet(struct peer *peer, const struct packet *packet)
{
    if (packet->type == PKT_PUBACK) {
        assert_true(packet->reason < 0x80);
        peer->acked++;
        return;
    }
    assert_int_equal(packet->type, PKT_PUBLISH);
    assert_int_equal(packet->qos, 1);
    assert_int_equal(atoi(packet->payload), peer->got);
    peer->got++;
    peer->dups += packet->dup;
    put_ack(&peer->acks, MQTT_50, PKT_PUBACK, packet->id, RC_SUCCESS);
}

/* What has come. The first call reads from the socket, the others take what that brought. */
static void receive(struct peer *peer)
{
    const struct packet *packet = client_receive(peer->c, 0);
    while (packet != NULL) {
        on_packet(peer, packet);
        packet = client_receive(peer->c, -1);
    }
    if (client_ended(peer->c)) {
        test_fail("the broker closed the connection after %d messages to it and %d from it",
                  peer->sent, peer->got);
    }
}

static bool done(const struct peer *peers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct peer *peer = &peers[i];
        bool published = peer->to == NULL || peer->acked == peer->total;
        bool answered = peer->out.len == 0 && (peer->acks.len == 0 || peer->acks_left == 0);
        if (!published || !answered || peer->got < peer->expected) {
            return false;
        }
    }
    return true;
}

/* Waits until one of the sockets is ready, and serves those that are. False: none was. */
static bool serve(struct peer *peers, size_t count, int timeout_ms)
{
    struct pollfd polls[PEERS_MAX];
    assert_true(count <= PEERS_MAX);
    for (size_t i = 0; i < count; i++) {
        fill(&peers[i]);
        short wanted = peers[i].out.len > 0 ? POLLIN | POLLOUT : POLLIN;
        polls[i] = (struct pollfd){.fd = client_fd(peers[i].c), .events = wanted};
    }
    if (poll(polls, count, timeout_ms) <= 0) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if ((polls[i].revents & POLLOUT) != 0) {
            struct buffer *out = &peers[i].out;
            buffer_consume(out, client_send_some(peers[i].c, out->data, out->len));
        }
        if ((polls[i].revents & ~POLLOUT) != 0) {
            receive(&peers[i]);
        }
    }
    return true;
}

bool peers_run(struct peer *peers, size_t count, int quiet_ms)
{
    bool moves = true;
    while (moves && !done(peers, count)) {
        moves = serve(peers, count, quiet_ms);
    }
    return moves;
}

void peer_fini(struct peer *peer)
{
    buffer_fini(&peer->out);
    buffer_fini(&peer->acks);
}
