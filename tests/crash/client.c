#include "tests/crash/client.h"

#include "tests/crash/violation.h"

enum { PING_MS = 200, RETRY_MS = 10, RETRY_REFUSED_MS = 100 };

void client_init(struct client *client, struct world *world, const struct client_type *type,
                 const char *name)
{
    *client = (struct client){.type = type,
                              .world = world,
                              .actor = record_add_actor(&world->record, name),
                              .wanted = true};
    link_init(&client->link);
    world->clients[world->client_count++] = client;
}

void client_fini(struct client *client)
{
    link_fini(&client->link);
}

void client_note(struct client *client, enum event_kind kind, uint64_t message, uint32_t detail)
{
    record_note(&client->world->record, kind, client->actor, message, detail);
}

static void end_connection(struct client *client, enum loss loss)
{
    static const enum event_kind kinds[] = {
        [LOSS_BROKEN] = EVENT_LOST, [LOSS_VANISHED] = EVENT_VANISHED, [LOSS_LEFT] = EVENT_LEFT};
    bool was_known = client->state == CLIENT_ONLINE || client->state == CLIENT_LEAVING;
    bool abort = loss == LOSS_VANISHED && random_chance(&client->world->dice, 50);
    link_close(&client->link, abort);
    client->state = CLIENT_OFFLINE;
    client->retry_at_ms = client_now_ms(client) + random_between(&client->world->dice, 0, RETRY_MS);
    if (was_known) {
        client_note(client, kinds[loss], 0, client->connection);
        if (client->type->lost != NULL) {
            client->type->lost(client, loss);
        }
    }
}

void client_vanish(struct client *client)
{
    end_connection(client, LOSS_VANISHED);
}

void client_leave(struct client *client)
{
    wire_put_disconnect(client_out(client));
    client->state = CLIENT_LEAVING;
}

/* ---- packets --------------------------------------------------------------------------------- */

static void reject(struct client *client, const char *why)
{
    violation_report(&client->world->record, VIOLATION_PROTOCOL, 0, client->actor, "%s", why);
    end_connection(client, LOSS_BROKEN);
}

static void take_connack(struct client *client, const struct packet *packet)
{
    if (packet->reason >= WIRE_REFUSED) {
        end_connection(client, LOSS_BROKEN);
        client->retry_at_ms = client_now_ms(client) + RETRY_REFUSED_MS;
        return;
    }
    client->state = CLIENT_ONLINE;
    client->connection++;
    client->pinged_ms = 0;
    client->ping_at_ms = client_now_ms(client) + PING_MS;
    client_note(client, packet->session_present ? EVENT_RESUMED : EVENT_CONNECTED, 0,
                client->connection);
    client->type->online(client, packet->session_present);
}

static void take_pong(struct client *client)
{
    if (client->pinged_ms == 0) {
        reject(client, "PINGRESP without a PINGREQ");
        return;
    }
    uint32_t until_ms = client->pinged_ms;
    client->pinged_ms = 0;
    if (client->type->confirmed != NULL) {
        client->type->confirmed(client, until_ms);
    }
}

static void take_packet(struct client *client, const struct packet *packet)
{
    if (client->state == CLIENT_WAITING && packet->type == WIRE_CONNACK) {
        take_connack(client, packet);
    } else if (client->state == CLIENT_WAITING || packet->type == WIRE_CONNACK) {
        reject(client, wire_type_name(packet->type));
    } else if (packet->type == WIRE_PINGRESP) {
        take_pong(client);
    } else if (packet->type != WIRE_DISCONNECT) { /* after that one the connection ends anyway */
        client->type->packet(client, packet);
    }
}

static void take_packets(struct client *client)
{
    struct bytes *in = &client->link.in;
    while (bytes_len(in) > 0 &&
           (client->state == CLIENT_WAITING || client->state == CLIENT_ONLINE)) {
        struct packet packet;
        long len = wire_read(&packet, in->data + in->start, bytes_len(in));
        if (len == 0) {
            return;
        }
        if (len < 0) {
            reject(client, "bytes that are no packet");
            return;
        }
        take_packet(client, &packet);
        if (client->link.fd >= 0) {
            bytes_take(in, (size_t)len);
        }
    }
}

/* Not before somebody listens: a CONNECT that may have been read has consequences. */
static void send_connect(struct client *client)
{
    struct wire_connect connect = {.client_id =
                                       record_actor_name(&client->world->record, client->actor),
                                   .receive_maximum = UINT16_MAX};
    client->type->prepare(client, &connect);
    wire_put_connect(client_out(client), &connect);
    client->state = CLIENT_WAITING;
}

void client_service(struct client *client)
{
    if (client->link.fd < 0) {
        return;
    }
    bool alive = link_service(&client->link);
    if (alive && client->state == CLIENT_CONNECTING && !client->link.connecting) {
        send_connect(client);
    }
    take_packets(client);
    if (client->link.fd >= 0 && !alive) {
        end_connection(client, client->state == CLIENT_LEAVING ? LOSS_LEFT : LOSS_BROKEN);
    }
}

void client_lose(struct client *client)
{
    if (client->link.fd < 0) {
        return;
    }
    (void)link_service(&client->link);
    take_packets(client);
    if (client->link.fd >= 0) {
        end_connection(client, LOSS_BROKEN);
    }
}

/* ---- in time --------------------------------------------------------------------------------- */

static void connect_now(struct client *client)
{
    client->retry_at_ms = client_now_ms(client) + RETRY_MS;
    if (link_open(&client->link, client->world->port)) {
        client->state = CLIENT_CONNECTING;
    }
}

void client_tick(struct client *client)
{
    uint32_t now_ms = client_now_ms(client);
    if (client->state == CLIENT_OFFLINE && client->wanted && now_ms >= client->retry_at_ms) {
        connect_now(client);
    }
    if (client->state == CLIENT_ONLINE && client->pinged_ms == 0 && now_ms >= client->ping_at_ms) {
        wire_put_ping(client_out(client));
        client->pinged_ms = now_ms;
        client->ping_at_ms = now_ms + PING_MS;
    }
    client->type->tick(client);
}
