/*
 * rig_support: a broker whose workers have no threads: a test turns their loops by hand, and talks
 * to them over socket pairs. Everything happens when the test says so.
 */
#ifndef PULSE_TESTS_RIG_SUPPORT_H
#define PULSE_TESTS_RIG_SUPPORT_H

#include "node/broker.h"
#include "node/config.h"
#include "node/conn.h"
#include "node/delivery.h"
#include "node/session.h"
#include "node/worker.h"
#include "tests/unit/node/node_support.h"

struct rig {
    struct config config; /* defaults; a test may change limits at any time */
    struct broker *broker;
    struct worker *worker; /* the first */
};

/* A client: the test's end of a connection, and what the broker has of it. */
struct client {
    struct rig *rig;
    int fd;
    struct session *session;
    struct conn *conn;
    size_t unread_len;
    uint8_t unread[1 << 16];
};

/* What CONNECT says; zero means that it is not said. */
struct client_options {
    const char *id;
    uint8_t version; /* 5 when 0 */
    uint32_t session_expiry;
    uint16_t receive_maximum;
    uint32_t maximum_packet_size;
    uint16_t topic_alias_maximum;
};

/* A packet as a client sees it; slices are good until the next one. */
struct packet {
    uint8_t type;
    uint8_t flags;
    struct slice body;
    /* of a PUBLISH */
    struct slice topic;
    uint16_t packet_id;
    struct slice props;
    struct slice payload;
};

void rig_start(struct rig *rig, unsigned workers);
/* Closes the clients' connections too. */
void rig_stop(struct rig *rig);
/* Turns the loops until all is done that can be done without time passing. */
void rig_turn(struct rig *rig);

/* The metric `id`, over all workers. */
int64_t rig_metric(const struct rig *rig, enum metric id);

/* Connects, and reads CONNACK. */
void client_connect(struct client *client, struct rig *rig, struct client_options options);
/* Goes away without a word. */
void client_vanish(struct client *client);
void client_send(struct client *client, const void *bytes, size_t len);
void client_publish(struct client *client, const char *topic, uint8_t qos, uint16_t packet_id,
                    struct slice payload);
/* PUBACK, PUBREC, PUBREL or PUBCOMP. */
void client_ack(struct client *client, enum mqtt_packet type, uint16_t packet_id);
/* The next packet that the broker has sent; false when there is none. */
bool client_next(struct client *client, struct packet *out);
/* Reads a packet, which must be a PUBLISH. */
struct packet client_expect_publish(struct client *client);
/* Fails unless nothing was sent. */
void client_expect_nothing(struct client *client);

/* In a read section, as all that happens on a worker. */
void client_subscribe(struct client *client, const char *filter, struct subscription options);
/* As one of `receivers`, which others there may be. */
void deliver_to(struct client *client, struct message *message, struct delivery delivery,
                size_t receivers);

#endif
