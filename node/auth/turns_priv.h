/*
 * turns: how much of auth one address may have at a time, and how long it waits for a refusal.
 *
 * A refusal is kept back for auth.failure_delay, counted from the moment the attempt had its turn;
 * the delay doubles with each failure of the address, up to auth.failure_delay_max, and is
 * forgotten after FORGET_MS without one, or when the user who failed last gets in. Good credentials
 * are never delayed, so one device with a wrong password does not slow down the others behind its
 * router.
 *
 * Delays alone would not slow down somebody who guesses on many connections at once. So of one
 * address TURNS_JUDGED attempts are looked at at the same time, and as long as TURNS_HELD are
 * either looked at or kept back, all others of this address wait in line. Somebody who guesses gets
 * TURNS_HELD answers in each failure_delay_max: 6 a second. The place of a refusal is held until it
 * is due, also when the client did not wait for it.
 *
 * An address that many clients have by their nature (a proxy, limits.exempt_addresses) is taken
 * apart by user names: each name is limited as if it were an address. What is better: the PROXY
 * protocol.
 *
 * Addresses take turns: a thousand attempts of one don't hold up the one of another.
 * IPv6: a /64 counts as one address. All local clients of unix sockets are one, too.
 *
 * Owns      what is known of addresses: bounded; attempts are the caller's.
 * Thread    auth's.
 * Errors    none.
 */
#ifndef PULSE_NODE_AUTH_TURNS_PRIV_H
#define PULSE_NODE_AUTH_TURNS_PRIV_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"

#define TURNS_JUDGED 16u
#define TURNS_HELD 32u
#define TURNS_ADDRESSES_MAX 65536u
#define TURNS_FORGET_MS (5 * 60 * 1000)

struct turns;
struct turns_address;

/* In an attempt. Zeroed: in no line. */
struct turn {
    struct turns_address *address;
    enum { TURN_NONE, TURN_WAITING, TURN_JUDGED, TURN_HELD } state;
    struct list link;
};

struct turns *turns_create(void);
/* No turn is taken any more. NULL is allowed. */
void turns_destroy(struct turns *turns);

/* Who stands in which line. */
struct turns_peer {
    const struct sockaddr_storage *address;
    uint64_t name; /* a hash of the user name where the address is shared, else 0 */
};

/* Stands in line. */
void turns_wait(struct turns *turns, const struct turns_peer *peer, struct turn *turn,
                uint64_t now_ms);
/* The next whose turn it is, or NULL: none now. */
struct turn *turns_next(struct turns *turns);

/* Its credentials were wrong: how long its answer is kept back. The place stays until
 * turns_leave. */
uint64_t turns_fail(struct turns *turns, struct turn *turn, uint64_t name, uint64_t delay_ms,
                    uint64_t delay_max_ms, uint64_t now_ms);
/* They were good. `name` is a hash of the user name, as in turns_fail. */
void turns_succeed(struct turn *turn, uint64_t name);
/* Gives up its place, in whatever state it is. */
void turns_leave(struct turns *turns, struct turn *turn);

/* Addresses that are remembered. */
uint32_t turns_count(const struct turns *turns);

#endif
