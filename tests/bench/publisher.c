#include "tests/bench/publisher.h"

#include <stdlib.h>

/*
 * Invariants:
 *   id_states[id] is ID_FREE exactly for the ids on the stack;
 *   head ends with the stamp, and head_len + (payload_len - STAMP_BYTES) is the packet's length.
 */

enum {
    /* Payloads from here on go from the plan's one body straight to the socket, uncopied. */
    DIRECT_BYTES_MIN = 16 * 1024,
    WAITING_BYTES_MAX = 256 * 1024, /* what a publisher collects before it waits for the socket */
    UNLIMITED_BURST = 512,
};

enum { ID_FREE, ID_PUBLISHED, ID_RELEASED };

bool publisher_init(struct publisher *publisher, struct link *link, uint32_t number,
                    const char *topic, const struct publisher_plan *plan)
{
    *publisher = (struct publisher){.link = link, .number = number, .plan = plan};
    struct wire_outline outline = {
        .topic = topic,
        .payload_len = plan->payload_len,
        .version = link->version,
        .qos = plan->qos,
    };
    size_t len = wire_put_publish_head(publisher->head, &outline, &publisher->id_offset);
    publisher->head_len = len + STAMP_BYTES;
    if (plan->qos == 0) {
        return true;
    }

    uint32_t window = plan->window;
    publisher->id_count = window < link->receive_maximum ? window : link->receive_maximum;
    publisher->ids = calloc(publisher->id_count, sizeof(*publisher->ids));
    publisher->id_states = calloc(publisher->id_count + 1, 1);
    publisher->id_times_ns = calloc(publisher->id_count + 1, sizeof(*publisher->id_times_ns));
    if (publisher->ids == NULL || publisher->id_states == NULL || publisher->id_times_ns == NULL) {
        publisher_fini(publisher);
        loop_fail(link->loop, "out of memory");
        return false;
    }
    for (uint32_t i = 0; i < publisher->id_count; i++) {
        publisher->ids[i] = (uint16_t)(publisher->id_count - i);
    }
    publisher->ids_free = publisher->id_count;
    return true;
}

void publisher_fini(struct publisher *publisher)
{
    free(publisher->ids);
    free(publisher->id_states);
    free(publisher->id_times_ns);
    publisher->ids = NULL;
    publisher->id_states = NULL;
    publisher->id_times_ns = NULL;
}

static void stamp_head(struct publisher *publisher, const struct stamp *stamp)
{
    memcpy(publisher->head + publisher->head_len - STAMP_BYTES, stamp, STAMP_BYTES);
    if (publisher->plan->qos > 0) {
        uint16_t id = publisher->ids[--publisher->ids_free];
        publisher->id_states[id] = ID_PUBLISHED;
        publisher->id_times_ns[id] = stamp->time_ns;
        wire_put_u16(publisher->head + publisher->id_offset, id);
    }
}

static void send_message(struct publisher *publisher, uint64_t time_ns)
{
    const struct publisher_plan *plan = publisher->plan;
    struct stamp stamp = {time_ns, publisher->number, publisher->sent++};
    size_t body_len = plan->payload_len - STAMP_BYTES;
    stamp_head(publisher, &stamp);
    if (body_len >= DIRECT_BYTES_MIN) {
        stamp_put_seal(plan->body, body_len, &stamp);
        link_send_now(publisher->link, publisher->head, publisher->head_len, plan->body, body_len);
        return;
    }
    uint8_t *to = link_reserve(publisher->link, publisher->head_len + body_len);
    memcpy(to, publisher->head, publisher->head_len);
    memcpy(to + publisher->head_len, plan->body, body_len);
    stamp_put_seal(to + publisher->head_len, body_len, &stamp);
}

/* How many messages the window has room for. */
static uint32_t window_room(const struct publisher *publisher)
{
    const struct publisher_plan *plan = publisher->plan;
    if (plan->window == 0) {
        return link_has_output(publisher->link) ? 0 : UNLIMITED_BURST;
    }
    uint64_t behind = publisher->sent - publisher->delivered / plan->copies;
    if (plan->qos > 0) {
        return behind < plan->lag_max ? publisher->ids_free : 0;
    }
    uint64_t room = behind < plan->window ? plan->window - behind : 0;
    return room < plan->refill ? 0 : (uint32_t)room;
}

static bool has_output_room(const struct publisher *publisher)
{
    const struct link *link = publisher->link;
    return link->out_end - link->out_start < WAITING_BYTES_MAX;
}

void publisher_fill(struct publisher *publisher, uint64_t now_ns)
{
    uint32_t room = window_room(publisher);
    uint32_t left = publisher->plan->count_max - publisher->sent;
    for (room = room < left ? room : left; room > 0 && has_output_room(publisher); room--) {
        send_message(publisher, now_ns);
    }
}

bool publisher_send_one(struct publisher *publisher, uint64_t due_ns)
{
    bool is_counted_out = publisher->sent >= publisher->plan->count_max;
    if (is_counted_out || window_room(publisher) == 0 || !has_output_room(publisher)) {
        return false;
    }
    send_message(publisher, due_ns);
    return true;
}

void publisher_on_ack(struct publisher *publisher, enum wire_type type, uint16_t id, uint8_t reason)
{
    struct loop *loop = publisher->link->loop;
    uint8_t state = id <= publisher->id_count && id > 0 ? publisher->id_states[id] : ID_FREE;
    enum wire_type expected = state == ID_RELEASED        ? WIRE_PUBCOMP
                              : publisher->plan->qos == 1 ? WIRE_PUBACK
                                                          : WIRE_PUBREC;
    if (state == ID_FREE || type != expected) {
        loop_fail(loop, "acknowledgement type %d for packet id %u, which awaits none", type, id);
    } else if (reason >= WIRE_REASON_FAILED) {
        loop_fail(loop, "message refused by the broker: code 0x%02x", reason);
    } else if (type == WIRE_PUBREC) {
        publisher->id_states[id] = ID_RELEASED;
        link_send_ack(publisher->link, WIRE_PUBREL, id);
    } else {
        publisher->id_states[id] = ID_FREE;
        publisher->ids[publisher->ids_free++] = id;
    }
}

uint64_t publisher_waited_ns(const struct publisher *publisher, uint16_t id)
{
    bool is_awaited = id > 0 && id <= publisher->id_count && publisher->id_states[id] != ID_FREE;
    return is_awaited ? publisher->link->loop->now_ns - publisher->id_times_ns[id] : 0;
}

bool publisher_is_done(const struct publisher *publisher)
{
    return !link_has_output(publisher->link) && publisher->ids_free == publisher->id_count;
}
