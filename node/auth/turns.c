#include "node/auth/turns_priv.h"

#include <netinet/in.h>
#include <string.h>

#include "base/hash.h"
#include "base/macros.h"
#include "base/mem.h"

#define BUCKETS 16384u
/* A delay doubles so often at most. */
#define DOUBLINGS_MAX 20u

/* The family, then the address: 4 bytes, or the first 8 of IPv6; then the name. */
#define NAME_AT 9
struct key {
    uint8_t bytes[NAME_AT + sizeof(uint64_t)];
};

/*
 * Invariants:
 *   an address is in `idle` exactly when no turn refers to it (then it has failed lately, else it
 * is gone), and in `ready` when the next of its line may have a turn; judged <= TURNS_JUDGED, and
 * judged + held is at most TURNS_HELD.
 */
struct turns_address {
    struct turns_address *next; /* in its bucket */
    struct key key;
    struct list link; /* in `idle` or `ready` */
    struct list line;
    uint32_t waiting;
    uint16_t judged;
    uint16_t held;
    uint8_t failures;
    uint64_t failed_at_ms;
    uint64_t failed_name;
};

struct turns {
    struct turns_address *buckets[BUCKETS];
    struct list ready;
    struct list idle; /* the one that has been so for longest first */
    uint32_t count;
};

struct turns *turns_create(void)
{
    struct turns *turns = mem_alloc_array(1, sizeof(*turns));
    list_init(&turns->ready);
    list_init(&turns->idle);
    return turns;
}

uint32_t turns_count(const struct turns *turns)
{
    return turns->count;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static struct key key_of(const struct turns_peer *peer)
{
    const struct sockaddr_storage *address = peer->address;
    struct key key = {.bytes = {(uint8_t)address->ss_family}};
    if (address->ss_family == AF_INET) {
        memcpy(key.bytes + 1, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(v6)) {
            key.bytes[0] = AF_INET;
            memcpy(key.bytes + 1, v6->s6_addr + 12, 4);
        } else {
            memcpy(key.bytes + 1, v6->s6_addr, 8);
        }
    }
    memcpy(key.bytes + NAME_AT, &peer->name, sizeof(peer->name));
    return key;
}

static struct turns_address **place_of(struct turns *turns, const struct key *key)
{
    struct turns_address **place = &turns->buckets[hash_bytes(key, sizeof(*key)) % BUCKETS];
    while (*place != NULL && memcmp(&(*place)->key, key, sizeof(*key)) != 0) {
        place = &(*place)->next;
    }
    return place;
}

static void drop(struct turns *turns, struct turns_address *address)
{
    *place_of(turns, &address->key) = address->next;
    list_remove(&address->link);
    turns->count--;
    mem_free(address);
}

void turns_destroy(struct turns *turns)
{
    if (turns == NULL) {
        return;
    }
    list_foreach(item, &turns->idle)
    {
        drop(turns, list_entry(item, struct turns_address, link));
    }
    ASSERT(turns->count == 0);
    mem_free(turns);
}

/* Makes room: for each new address up to two old ones go, and one in any case when it is full. */
static void forget(struct turns *turns, uint64_t now_ms)
{
    for (int i = 0; i < 2 && !list_empty(&turns->idle); i++) {
        struct turns_address *oldest = list_entry(turns->idle.next, struct turns_address, link);
        bool full = turns->count >= TURNS_ADDRESSES_MAX;
        if (!full && now_ms - oldest->failed_at_ms < TURNS_FORGET_MS) {
            return;
        }
        drop(turns, oldest);
    }
}

static struct turns_address *find_or_add(struct turns *turns, const struct turns_peer *peer,
                                         uint64_t now_ms)
{
    struct key key = key_of(peer);
    struct turns_address *found = *place_of(turns, &key);
    if (found != NULL) {
        return found;
    }
    forget(turns, now_ms);
    struct turns_address *made = mem_alloc(sizeof(*made));
    made->key = key;
    list_init(&made->link);
    list_init(&made->line);
    *place_of(turns, &key) = made;
    turns->count++;
    return made;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool may_go_on(const struct turns_address *address)
{
    return address->waiting > 0 && address->judged < TURNS_JUDGED &&
           address->judged + address->held < TURNS_HELD;
}

/* Puts the address where it belongs now. One that is ready keeps its place among the others. */
static void settle(struct turns *turns, struct turns_address *address)
{
    bool used = address->waiting > 0 || address->judged > 0 || address->held > 0;
    if (may_go_on(address)) {
        if (list_empty(&address->link)) {
            list_append(&turns->ready, &address->link);
        }
        return;
    }
    list_remove(&address->link);
    if (!used && address->failures == 0) {
        drop(turns, address);
    } else if (!used) {
        list_append(&turns->idle, &address->link);
    }
}

void turns_wait(struct turns *turns, const struct turns_peer *peer, struct turn *turn,
                uint64_t now_ms)
{
    ASSERT(turn->state == TURN_NONE);
    struct turns_address *line = find_or_add(turns, peer, now_ms);
    if (line->waiting == 0 && line->judged == 0 && line->held == 0) {
        list_remove(&line->link); /* from `idle` */
    }
    if (now_ms - line->failed_at_ms >= TURNS_FORGET_MS) {
        line->failures = 0;
    }
    *turn = (struct turn){.address = line, .state = TURN_WAITING};
    list_init(&turn->link);
    list_append(&line->line, &turn->link);
    line->waiting++;
    settle(turns, line);
}

struct turn *turns_next(struct turns *turns)
{
    if (list_empty(&turns->ready)) {
        return NULL;
    }
    struct turns_address *address = list_entry(turns->ready.next, struct turns_address, link);
    struct turn *turn = list_entry(address->line.next, struct turn, link);
    list_remove(&turn->link);
    turn->state = TURN_JUDGED;
    address->waiting--;
    address->judged++;
    list_remove(&address->link); /* and behind the others, if it has more */
    settle(turns, address);
    return turn;
}

uint64_t turns_fail(struct turns *turns, struct turn *turn, uint64_t name, uint64_t delay_ms,
                    uint64_t delay_max_ms, uint64_t now_ms)
{
    ASSERT(turn->state == TURN_JUDGED);
    struct turns_address *address = turn->address;
    uint64_t delay = delay_ms << address->failures;
    turn->state = TURN_HELD;
    address->judged--;
    address->held++;
    address->failed_at_ms = now_ms;
    address->failed_name = name;
    if (address->failures < DOUBLINGS_MAX) {
        address->failures++;
    }
    settle(turns, address);
    return delay < delay_max_ms ? delay : delay_max_ms;
}

void turns_succeed(struct turn *turn, uint64_t name)
{
    if (turn->address->failed_name == name) {
        turn->address->failures = 0;
    }
}

void turns_leave(struct turns *turns, struct turn *turn)
{
    struct turns_address *address = turn->address;
    switch (turn->state) {
    case TURN_NONE:
        return;
    case TURN_WAITING:
        list_remove(&turn->link);
        address->waiting--;
        break;
    case TURN_JUDGED:
        address->judged--;
        break;
    case TURN_HELD:
        address->held--;
        break;
    }
    *turn = (struct turn){.state = TURN_NONE};
    settle(turns, address);
}
