#include "tests/crash/inspector.h"

#include <inttypes.h>
#include <string.h>

#include "tests/crash/content.h"

enum { PATIENCE_MS = 8000, PAUSE_MS = 500 };

static struct inspector *inspector_of(struct client *client)
{
    return (struct inspector *)client; /* its first member */
}

static struct record *record_of(const struct inspector *inspector)
{
    return &inspector->client.world->record;
}

static void inspector_prepare(struct client *client, struct wire_connect *connect)
{
    (void)client;
    connect->clean_start = true;
}

/* What was acknowledged before the SUBSCRIBE must be seen. */
static void inspector_online(struct client *client, bool session_present)
{
    struct inspector *inspector = inspector_of(client);
    const struct record *record = record_of(inspector);
    (void)session_present;
    for (unsigned i = 0; i < record->topic_count; i++) {
        inspector->least[i] = record->topics[i].last_accepted;
        inspector->seen[i] = 0;
    }
    inspector->deadline_ms = client_now_ms(client) + PATIENCE_MS;
    wire_put_subscribe(client_out(client),
                       &(struct wire_subscribe){.filter = "ret/#", .packet_id = 1});
}

static int topic_of(const struct record *record, const struct packet *packet)
{
    for (unsigned i = 0; i < record->topic_count; i++) {
        const char *name = record->topics[i].name;
        if (strlen(name) == packet->topic_len &&
            memcmp(name, packet->topic, packet->topic_len) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static void inspector_packet(struct client *client, const struct packet *packet)
{
    struct inspector *inspector = inspector_of(client);
    uint64_t id = 0;
    if (packet->type != WIRE_PUBLISH) {
        return;
    }
    int topic = topic_of(record_of(inspector), packet);
    if (topic < 0 || !content_label(packet, &id) || !content_is_whole(packet, id)) {
        violation_report(record_of(inspector), VIOLATION_CORRUPT, id, client->actor,
                         "retained message %" PRIu64, id);
    } else if (id > inspector->seen[topic]) {
        inspector->seen[topic] = id;
    }
}

/* The newest one that was seen is new enough, or one that was sent since took it away. */
static bool is_right(const struct inspector *inspector, unsigned topic)
{
    uint64_t seen = inspector->seen[topic], least = inspector->least[topic];
    bool deleted = record_of(inspector)->topics[topic].last_deletion >= least;
    return seen == 0 ? least == 0 || deleted : seen >= least;
}

static bool is_all_right(struct inspector *inspector)
{
    for (unsigned i = 0; i < record_of(inspector)->topic_count; i++) {
        if (record_of(inspector)->topics[i].retained && !is_right(inspector, i)) {
            return false;
        }
    }
    return true;
}

static void report(struct inspector *inspector)
{
    struct record *record = record_of(inspector);
    for (unsigned i = 0; i < record->topic_count; i++) {
        if (!record->topics[i].retained || is_right(inspector, i)) {
            continue;
        }
        bool missing = inspector->seen[i] == 0;
        violation_report(record, missing ? VIOLATION_RETAINED_LOST : VIOLATION_RETAINED_OLD,
                         inspector->least[i], inspector->client.actor,
                         "topic %s has message %" PRIu64 ", acknowledged was %" PRIu64,
                         record->topics[i].name, inspector->seen[i], inspector->least[i]);
    }
}

static void finish(struct inspector *inspector)
{
    inspector->looked++;
    inspector->next_ms = client_now_ms(&inspector->client) + PAUSE_MS;
    inspector->client.wanted = false;
    client_vanish(&inspector->client);
}

/* PINGRESP comes behind the retained messages, unless they are sent in portions. */
static void inspector_confirmed(struct client *client, uint32_t until_ms)
{
    struct inspector *inspector = inspector_of(client);
    (void)until_ms;
    if (is_all_right(inspector)) {
        finish(inspector);
    } else if (client_now_ms(client) >= inspector->deadline_ms) {
        report(inspector);
        finish(inspector);
    }
}

static void inspector_tick(struct client *client)
{
    struct inspector *inspector = inspector_of(client);
    if (!client->wanted && !client->world->draining &&
        client_now_ms(client) >= inspector->next_ms) {
        client->wanted = true;
    }
}

static const struct client_type inspector_type = {.prepare = inspector_prepare,
                                                  .online = inspector_online,
                                                  .packet = inspector_packet,
                                                  .confirmed = inspector_confirmed,
                                                  .tick = inspector_tick};

void inspector_init(struct inspector *inspector, struct world *world)
{
    *inspector = (struct inspector){0};
    client_init(&inspector->client, world, &inspector_type, "inspector");
}

void inspector_fini(struct inspector *inspector)
{
    client_fini(&inspector->client);
}

void inspector_look(struct inspector *inspector)
{
    if (inspector->client.state != CLIENT_OFFLINE) {
        client_vanish(&inspector->client);
    }
    inspector->client.wanted = true;
}
