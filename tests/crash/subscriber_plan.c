#include "tests/crash/subscriber_plan.h"

enum {
    STAY_MIN_MS = 30,
    STAY_MAX_MS = 3000,
    TOGGLE_MIN_MS = 100,
    TOGGLE_MAX_MS = 1500,
    SHORT_AWAY_MS = 300,
    LONG_AWAY_MS = 3000,
    AWAY_MAX_MS = 8000,
    AWAY_KILLS_MAX = 4,
    LATE_ANSWER_MS = 30,
    SHORT_EXPIRY_MAX_S = 60,
    ANEW_PERCENT = 25,
    EXPIRED_SLACK_MS = 3000 /* a broker may look for sessions that end every second or so */
};

static const char *const plain_filters[] = {"t/#",   "t/+/0", "t/+/1", "t/0/#", "t/1/#", "t/0/0",
                                            "t/1/1", "t/+/2", "ret/#", "#",     "+/0/#"};

enum { PLAIN_FILTERS = sizeof(plain_filters) / sizeof(plain_filters[0]) };

static struct random *dice_of(const struct subscriber *subscriber)
{
    return &subscriber->client.world->dice;
}

static bool has_filter(const struct subscriber *subscriber, unsigned count, const char *filter)
{
    for (unsigned i = 0; i < count; i++) {
        if (subscriber->subscriptions[i].filter == filter) {
            return true;
        }
    }
    return false;
}

void subscriber__choose_filters(struct subscriber *subscriber, unsigned index)
{
    static const char wills[] = "will/#";
    unsigned count = 0;
    if (index < 2) {
        subscription_init(&subscriber->subscriptions[count++], plain_filters[0]);
    }
    if (index == 1 || index == 2) { /* one of QoS 2, one of QoS 1 */
        subscription_init(&subscriber->subscriptions[count++], wills);
    }
    subscriber->permanent = count == 0 ? 1 : count;
    while (count < SUBSCRIBER_FILTERS) {
        const char *filter = plain_filters[random_below(dice_of(subscriber), PLAIN_FILTERS)];
        if (!has_filter(subscriber, count, filter)) {
            subscription_init(&subscriber->subscriptions[count++], filter);
        }
    }
}

void subscriber__choose_manners(struct subscriber *subscriber)
{
    static const uint16_t windows[] = {2, 10, 50, SUBSCRIBER_WINDOW_MAX};
    struct random *dice = dice_of(subscriber);
    bool draining = subscriber->client.world->draining;
    uint32_t now_ms = client_now_ms(&subscriber->client);
    subscriber->window = draining ? SUBSCRIBER_WINDOW_MAX : windows[random_below(dice, 4)];
    subscriber->answer_delay_ms = random_chance(dice, 30) ? LATE_ANSWER_MS : 0;
    subscriber->plan_at_ms = now_ms + random_between(dice, STAY_MIN_MS, STAY_MAX_MS);
    subscriber->toggle_at_ms = now_ms + random_between(dice, TOGGLE_MIN_MS, TOGGLE_MAX_MS);
}

/* ---- coming and going ------------------------------------------------------------------------ */

static void choose_return(struct subscriber *subscriber)
{
    struct random *dice = dice_of(subscriber);
    uint32_t choice = random_below(dice, 10);
    uint32_t away_ms = random_between(dice, 0, choice < 5 ? SHORT_AWAY_MS : LONG_AWAY_MS);
    subscriber->back_after_kills = 0;
    if (choice == 9) {
        away_ms = AWAY_MAX_MS;
        subscriber->back_after_kills =
            subscriber->client.world->record.kill_count + random_between(dice, 1, AWAY_KILLS_MAX);
    }
    subscriber->back_at_ms = client_now_ms(&subscriber->client) + away_ms;
    subscriber->client.wanted = false;
    bool may_end = subscriber->expiry_s <= SHORT_EXPIRY_MAX_S;
    subscriber->begins_anew = may_end && random_chance(dice, ANEW_PERCENT);
}

static void choose_next(struct subscriber *subscriber)
{
    static const uint8_t moments[] = {WIRE_PUBLISH, WIRE_PUBREL, WIRE_SUBACK, WIRE_UNSUBACK};
    struct random *dice = dice_of(subscriber);
    uint32_t choice = random_below(dice, 10);
    subscriber->plan_at_ms =
        client_now_ms(&subscriber->client) + random_between(dice, STAY_MIN_MS, STAY_MAX_MS);
    if (choice < 2) {
        choose_return(subscriber);
        subscriber->left_ms = client_now_ms(&subscriber->client);
        client_leave(&subscriber->client);
    } else if (choice < 4) {
        choose_return(subscriber);
        client_vanish(&subscriber->client);
    } else if (choice < 7) {
        subscriber->vanish_on = moments[random_below(dice, 4)];
    }
}

static void toggle_one(struct subscriber *subscriber)
{
    struct random *dice = dice_of(subscriber);
    subscriber->toggle_at_ms =
        client_now_ms(&subscriber->client) + random_between(dice, TOGGLE_MIN_MS, TOGGLE_MAX_MS);
    unsigned index = random_between(dice, subscriber->permanent, SUBSCRIBER_FILTERS - 1);
    subscriber__toggle(subscriber, index);
}

static bool is_time_to_return(const struct subscriber *subscriber)
{
    const struct world *world = subscriber->client.world;
    bool enough_kills = subscriber->back_after_kills != 0 &&
                        world->record.kill_count >= subscriber->back_after_kills;
    return world->draining || enough_kills || world_now_ms(world) >= subscriber->back_at_ms;
}

void subscriber__follow_plan(struct subscriber *subscriber)
{
    struct client *client = &subscriber->client;
    if (!client->wanted && client->state == CLIENT_OFFLINE && is_time_to_return(subscriber)) {
        client->wanted = true;
    }
    if (client->state != CLIENT_ONLINE || client->world->draining) {
        return;
    }
    if (client_now_ms(client) >= subscriber->toggle_at_ms) {
        toggle_one(subscriber);
    }
    if (client_now_ms(client) >= subscriber->plan_at_ms) {
        choose_next(subscriber);
    }
}

/* ---- expiry ---------------------------------------------------------------------------------- */

/* CONNACK alone says nothing about the store; soon after it, a kill takes the connection back. */
bool subscriber__is_stored(const struct subscriber *subscriber)
{
    const struct record *record = &subscriber->client.world->record;
    return subscriber->is_stored ||
           (!record->has_outages && subscriber->lost_ms > subscriber->connect_ms + RECORD_STALE_MS);
}

bool subscriber__may_have_expired(const struct subscriber *subscriber)
{
    return client_now_ms(&subscriber->client) >=
           subscriber->lasts_from_ms + subscriber->expiry_s * 1000;
}

bool subscriber__must_have_expired(const struct subscriber *subscriber)
{
    const struct world *world = subscriber->client.world;
    const struct record *record = &world->record;
    uint32_t since_ms = subscriber->lost_ms;
    bool killed = record->kill_count > 0 &&
                  record->kills_ms[record->kill_count - 1] + RECORD_STALE_MS > since_ms;
    /* After a kill the broker may not know since when, and counts from its start. */
    if (killed && world->ready_ms > since_ms) {
        since_ms = world->ready_ms;
    }
    return world->options->mode <= MODE_CALM && subscriber->is_known &&
           subscriber->connect_ms > since_ms + subscriber->expiry_s * 1000 + EXPIRED_SLACK_MS;
}
