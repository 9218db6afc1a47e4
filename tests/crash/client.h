/*
 * client: an MQTT 5.0 client that stays connected as long as it is wanted, whatever happens to the
 * broker. What it says and does is its type's: publisher, subscriber, mortal, ...
 *
 * Owns      its connection.
 * Thread    the driver's.
 * Errors    a packet that a broker must not send is a violation; the connection is dropped.
 */
#ifndef TESTS_CRASH_CLIENT_H
#define TESTS_CRASH_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/crash/link.h"
#include "tests/crash/wire.h"
#include "tests/crash/world.h"

enum loss {
    LOSS_BROKEN,   /* the broker ended it, or ended */
    LOSS_VANISHED, /* client_vanish */
    LOSS_LEFT      /* client_leave, and the broker has seen it */
};

struct client;

struct client_type {
    /* Fills in what CONNECT says; client_id is there already. */
    void (*prepare)(struct client *client, struct wire_connect *connect);
    void (*online)(struct client *client, bool session_present);
    void (*packet)(struct client *client, const struct packet *packet);
    /* The broker has worked through all that was sent before `until_ms`. NULL: never mind. */
    void (*confirmed)(struct client *client, uint32_t until_ms);
    void (*lost)(struct client *client, enum loss loss); /* NULL: never mind */
    void (*tick)(struct client *client);                 /* each turn, connected or not */
};

enum client_state {
    CLIENT_OFFLINE,
    CLIENT_CONNECTING,
    CLIENT_WAITING, /* for CONNACK */
    CLIENT_ONLINE,
    CLIENT_LEAVING /* DISCONNECT is sent, the broker closes */
};

struct client {
    const struct client_type *type;
    struct world *world;
    uint16_t actor;
    bool wanted; /* connects again and again */
    enum client_state state;
    struct link link;
    uint32_t connection;  /* the one that is or was; counts from 1 */
    uint32_t retry_at_ms; /* not before */
    uint32_t ping_at_ms;
    uint32_t pinged_ms; /* 0: no ping is under way */
};

/* Adds it to the world. `name` is its client id too. */
void client_init(struct client *client, struct world *world, const struct client_type *type,
                 const char *name);
void client_fini(struct client *client);

/* Breaks the connection without a word. */
void client_vanish(struct client *client);

/* Sends DISCONNECT; `lost` follows. */
void client_leave(struct client *client);

/* Reads, writes, connects, as is due. */
void client_service(struct client *client);
void client_tick(struct client *client);

/* Ends the connection to a broker that is dead, after reading what it has said. */
void client_lose(struct client *client);

void client_note(struct client *client, enum event_kind kind, uint64_t message, uint32_t detail);

static inline struct bytes *client_out(struct client *client)
{
    return &client->link.out;
}

static inline uint32_t client_now_ms(const struct client *client)
{
    return world_now_ms(client->world);
}

#endif
