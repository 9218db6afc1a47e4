#include "tests/crash/mortal.h"

#include <stdio.h>

enum {
    LIFE_MIN_MS = 50,
    LIFE_MAX_MS = 4000,
    DELAY_MAX_S = 3,
    LONG_EXPIRY_S = 86400,
    MARGIN_MS = 300,     /* near its time a will may come or not */
    GOODBYE_MS = 2000,   /* after that a kill doesn't undo a DISCONNECT */
    UNCERTAIN_MS = 5000, /* after that an uncertain will has come, if it comes */
    REST_MS = 200,
    PAYLOAD_MAX = 200
};

/*
 * NEW -> ALIVE (SUBACK) -> DEAD -> NEW
 *        ALIVE -> RETURNS -> BACK -> ALIVE
 *        ALIVE -> PARTED -> AWAY -> NEW
 * NEW, BACK, PARTED -> AWAY, when a kill comes too early to tell.
 */

static struct mortal *mortal_of(struct client *client)
{
    return (struct mortal *)client; /* its first member */
}

static struct record *record_of(const struct mortal *mortal)
{
    return &mortal->client.world->record;
}

static struct random *dice_of(const struct mortal *mortal)
{
    return &mortal->client.world->dice;
}

static void enter(struct mortal *mortal, enum mortal_state state, uint32_t next_ms)
{
    mortal->state = state;
    mortal->next_ms = client_now_ms(&mortal->client) + next_ms;
}

/* How long after it is gone the will is published: at its delay, or when the session ends. */
static uint32_t delay_ms(const struct mortal *mortal)
{
    return 1000 * (mortal->delay_s < mortal->expiry_s ? mortal->delay_s : mortal->expiry_s);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void leave_to_chance(struct mortal *mortal, uint64_t *will)
{
    if (*will != 0) {
        record_uncertain(record_of(mortal), *will, EVENT_WILL_UNCERTAIN);
        mortal->uncertain_ms = client_now_ms(&mortal->client);
        *will = 0;
    }
}

static void make_will(struct mortal *mortal)
{
    struct random *dice = dice_of(mortal);
    mortal->delay_s = random_between(dice, 0, DELAY_MAX_S);
    mortal->expiry_s = random_chance(dice, 25) ? random_between(dice, 1, 2) : LONG_EXPIRY_S;
    uint8_t qos = (uint8_t)random_between(dice, 1, 2);
    struct message draft = {.actor = mortal->client.actor,
                            .topic = mortal->topic,
                            .payload_len = random_between(dice, 1, PAYLOAD_MAX),
                            .qos = qos,
                            .will = true,
                            .sends = 0,
                            .earliest_ms = UINT32_MAX};
    mortal->will = record_add_message(record_of(mortal), &draft);
    record_sent(record_of(mortal), mortal->will);
    client_note(&mortal->client, EVENT_WILL_SENT, mortal->will, delay_ms(mortal));
    record_message(record_of(mortal), mortal->will)->sends = qos == 1 ? RECORD_UNLIMITED : 1;
}

static void mortal_prepare(struct client *client, struct wire_connect *connect)
{
    struct mortal *mortal = mortal_of(client);
    leave_to_chance(mortal, &mortal->will); /* of a CONNECT that was not answered, but maybe read */
    make_will(mortal);
    const struct message *message = record_message(record_of(mortal), mortal->will);
    mortal->publish = (struct wire_publish){.topic = record_of(mortal)->topics[mortal->topic].name,
                                            .qos = message->qos};
    content_fill(&mortal->content, &mortal->publish, mortal->will, message->payload_len);
    connect->clean_start = client->connection == 0;
    connect->session_expiry_s = mortal->expiry_s;
    connect->will = &mortal->publish;
    connect->will_delay_s = mortal->delay_s;
}

/* A subscription that changes each time: its SUBACK says that all before it is kept too. */
static void mortal_online(struct client *client, bool session_present)
{
    struct mortal *mortal = mortal_of(client);
    char filter[RECORD_NAME_MAX];
    (void)session_present; /* subscribers look at that */
    snprintf(filter, sizeof(filter), "none/%s",
             record_actor_name(record_of(mortal), client->actor));
    wire_put_subscribe(client_out(client),
                       &(struct wire_subscribe){.filter = filter,
                                                .packet_id = 1,
                                                .qos = 1,
                                                .subscription_id = ++mortal->subscription_id});
}

static void judge_old_will(struct mortal *mortal)
{
    if (mortal->old_will != 0 && client_now_ms(&mortal->client) + MARGIN_MS < mortal->due_ms) {
        record_will_withdrawn(record_of(mortal), mortal->old_will);
        mortal->old_will = 0;
    }
    leave_to_chance(mortal, &mortal->old_will);
}

static void mortal_packet(struct client *client, const struct packet *packet)
{
    struct mortal *mortal = mortal_of(client);
    if (packet->type != WIRE_SUBACK || packet->reason >= WIRE_REFUSED) {
        return;
    }
    judge_old_will(mortal);
    client_note(client, EVENT_WILL_CERTAIN, mortal->will, client->connection);
    mortal->pinned = random_chance(dice_of(mortal), 40);
    enter(mortal, MORTAL_ALIVE, random_between(dice_of(mortal), LIFE_MIN_MS, LIFE_MAX_MS));
}

/* ---- the end of a connection ----------------------------------------------------------------- */

static void become_uncertain(struct mortal *mortal)
{
    leave_to_chance(mortal, &mortal->will);
    leave_to_chance(mortal, &mortal->old_will);
    mortal->client.wanted = false;
    enter(mortal, MORTAL_AWAY, UNCERTAIN_MS);
}

static void die(struct mortal *mortal)
{
    record_will_due(record_of(mortal), mortal->will, mortal->gone_ms + delay_ms(mortal));
    mortal->will = 0;
    mortal->client.wanted = false;
    enter(mortal, MORTAL_DEAD, REST_MS);
}

static void plan_return(struct mortal *mortal)
{
    record_message(record_of(mortal), mortal->will)->earliest_ms =
        mortal->gone_ms + delay_ms(mortal);
    mortal->due_ms = mortal->gone_ms + delay_ms(mortal);
    mortal->old_will = mortal->will;
    mortal->will = 0;
    mortal->client.wanted = false;
    enter(mortal, MORTAL_RETURNS, random_below(dice_of(mortal), delay_ms(mortal) / 2));
}

static void mortal_lost(struct client *client, enum loss loss)
{
    struct mortal *mortal = mortal_of(client);
    mortal->gone_ms = client_now_ms(client);
    bool may_return = delay_ms(mortal) > 3 * MARGIN_MS && !client->world->draining;
    if (loss == LOSS_LEFT && mortal->state == MORTAL_PARTED) {
        mortal->kills = record_of(mortal)->kill_count;
        record_message(record_of(mortal), mortal->will)->earliest_ms = 0; /* after a kill */
        enter(mortal, MORTAL_PARTED, GOODBYE_MS);
    } else if (mortal->state != MORTAL_ALIVE) {
        become_uncertain(mortal);
    } else if (may_return && random_chance(dice_of(mortal), 35)) {
        plan_return(mortal);
    } else {
        die(mortal);
    }
}

/* ---- in time --------------------------------------------------------------------------------- */

static void end_life(struct mortal *mortal)
{
    if (random_chance(dice_of(mortal), 30)) {
        mortal->client.wanted = false;
        enter(mortal, MORTAL_PARTED, 0);
        client_leave(&mortal->client);
    } else {
        client_vanish(&mortal->client);
    }
}

static void live(struct mortal *mortal)
{
    bool draining = mortal->client.world->draining;
    bool tired = client_now_ms(&mortal->client) >= mortal->next_ms && !mortal->pinned;
    if (mortal->client.state == CLIENT_ONLINE && (draining || tired)) {
        end_life(mortal);
    }
}

static void begin_life(struct mortal *mortal)
{
    if (!mortal->client.world->draining) {
        mortal->client.wanted = true;
        enter(mortal, MORTAL_NEW, 0);
    }
}

static bool was_published(struct mortal *mortal)
{
    const struct record *record = record_of(mortal);
    const struct topic *topic = &record->topics[mortal->topic];
    const struct message *message = record_message(record_of(mortal), topic->last_sent);
    return message == NULL || message->got != 0;
}

static void forget_goodbye(struct mortal *mortal)
{
    const struct world *world = mortal->client.world;
    bool undone = record_of(mortal)->kill_count != mortal->kills;
    if (undone || world->options->mode > MODE_CALM) {
        become_uncertain(mortal);
    } else {
        record_will_withdrawn(record_of(mortal), mortal->will);
        mortal->will = 0;
        enter(mortal, MORTAL_AWAY, REST_MS);
    }
}

static void mortal_tick(struct client *client)
{
    struct mortal *mortal = mortal_of(client);
    bool is_time = client_now_ms(client) >= mortal->next_ms;
    switch (mortal->state) {
    case MORTAL_ALIVE:
        live(mortal);
        break;
    case MORTAL_DEAD:
        if (is_time && was_published(mortal)) {
            begin_life(mortal);
        }
        break;
    case MORTAL_RETURNS:
        if (is_time) {
            mortal->client.wanted = true;
            enter(mortal, MORTAL_BACK, 0);
        }
        break;
    case MORTAL_PARTED:
        if (client->state == CLIENT_OFFLINE && is_time) {
            forget_goodbye(mortal);
        }
        break;
    case MORTAL_AWAY:
        if (is_time) {
            begin_life(mortal);
        }
        break;
    case MORTAL_NEW:
    case MORTAL_BACK:
        break; /* SUBACK goes on */
    }
}

static const struct client_type mortal_type = {.prepare = mortal_prepare,
                                               .online = mortal_online,
                                               .packet = mortal_packet,
                                               .lost = mortal_lost,
                                               .tick = mortal_tick};

void mortal_init(struct mortal *mortal, struct world *world, unsigned index)
{
    char name[RECORD_NAME_MAX];
    *mortal = (struct mortal){.state = MORTAL_NEW};
    snprintf(name, sizeof(name), "w%u", index);
    client_init(&mortal->client, world, &mortal_type, name);
    snprintf(name, sizeof(name), "will/%u", index);
    mortal->topic = record_add_topic(&world->record, name, false);
}

void mortal_fini(struct mortal *mortal)
{
    client_fini(&mortal->client);
}

bool mortal_is_done(const struct mortal *mortal)
{
    uint32_t now_ms = client_now_ms(&mortal->client);
    bool decided = mortal->uncertain_ms == 0 || now_ms >= mortal->uncertain_ms + UNCERTAIN_MS;
    return decided && (mortal->state == MORTAL_DEAD ||
                       (mortal->state == MORTAL_AWAY && now_ms >= mortal->next_ms));
}
