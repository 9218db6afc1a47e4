#include "tests/crash/cast.h"

#include <stdio.h>
#include <stdlib.h>

enum { SHORT_EXPIRY_S = 3, LONG_EXPIRY_S = 86400, SHORT_LIVED = 2, KEPT_AT_LEAST = 3 };

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count + 1, size);
    if (memory == NULL) {
        fprintf(stderr, "pulse-crash: out of memory\n");
        abort();
    }
    return memory;
}

/* The last ones have sessions that end soon after they are gone. */
static uint32_t expiry_of(const struct options *options, unsigned index)
{
    bool is_short = index >= KEPT_AT_LEAST && index + SHORT_LIVED >= options->sessions;
    return is_short ? SHORT_EXPIRY_S : LONG_EXPIRY_S;
}

void cast_init(struct cast *cast, struct world *world)
{
    const struct options *options = world->options;
    *cast = (struct cast){.world = world};
    cast->publishers = allocate(options->publishers, sizeof(*cast->publishers));
    cast->subscribers = allocate(options->sessions, sizeof(*cast->subscribers));
    cast->mortals = allocate(options->mortals, sizeof(*cast->mortals));
    for (unsigned i = 0; i < options->publishers; i++) {
        publisher_init(&cast->publishers[i], world, i);
    }
    for (unsigned i = 0; i < options->sessions; i++) {
        subscriber_init(&cast->subscribers[i], world, i, expiry_of(options, i));
    }
    for (unsigned i = 0; i < options->mortals; i++) {
        mortal_init(&cast->mortals[i], world, i);
    }
    inspector_init(&cast->inspector, world);
    stream_init(&cast->stream, world);
}

void cast_fini(struct cast *cast)
{
    const struct options *options = cast->world->options;
    for (unsigned i = 0; i < options->publishers; i++) {
        publisher_fini(&cast->publishers[i]);
    }
    for (unsigned i = 0; i < options->sessions; i++) {
        subscriber_fini(&cast->subscribers[i]);
    }
    for (unsigned i = 0; i < options->mortals; i++) {
        mortal_fini(&cast->mortals[i]);
    }
    inspector_fini(&cast->inspector);
    stream_fini(&cast->stream);
    free(cast->publishers);
    free(cast->subscribers);
    free(cast->mortals);
}

bool cast_is_done(const struct cast *cast)
{
    const struct options *options = cast->world->options;
    if (cast->world->record.outstanding > 0) {
        return false;
    }
    for (unsigned i = 0; i < options->publishers; i++) {
        if (!publisher_is_done(&cast->publishers[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < options->mortals; i++) {
        if (!mortal_is_done(&cast->mortals[i])) {
            return false;
        }
    }
    for (unsigned i = 0; i < options->sessions; i++) {
        if (!subscriber_is_done(&cast->subscribers[i])) {
            return false;
        }
    }
    return true;
}

void cast_report_undone(struct cast *cast)
{
    const struct options *options = cast->world->options;
    struct record *record = &cast->world->record;
    for (unsigned i = 0; i < options->publishers; i++) {
        const struct publisher *publisher = &cast->publishers[i];
        if (!publisher_is_done(publisher)) {
            violation_report(record, VIOLATION_STUCK, publisher->flights[0].message,
                             publisher->client.actor, "%u in flight", publisher->flight_count);
        }
    }
    for (unsigned i = 0; i < options->mortals; i++) {
        if (!mortal_is_done(&cast->mortals[i])) {
            violation_report(record, VIOLATION_STUCK, 0, cast->mortals[i].client.actor,
                             "in state %d", (int)cast->mortals[i].state);
        }
    }
    for (unsigned i = 0; i < options->sessions; i++) {
        struct subscriber *subscriber = &cast->subscribers[i];
        if (!subscriber_is_done(subscriber)) {
            violation_report(record, VIOLATION_STUCK, 0, subscriber->client.actor,
                             "client state %d, %u answers due, %u packet ids remembered, last "
                             "packet at %u ms, idle for certain at %u ms",
                             (int)subscriber->client.state, subscriber->answer_count,
                             subscriber->remembered_count, subscriber->last_packet_ms,
                             subscriber->confirmed_ms);
            subscriber_forget(subscriber);
        }
    }
}
