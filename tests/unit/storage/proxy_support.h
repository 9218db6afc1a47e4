/*
 * proxy_support: a TCP proxy on loopback, for tests that want a network to fail at a certain
 * moment.
 *
 * Owns      its thread and sockets.
 * Thread    the test's; the mode may be changed at any time.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_PROXY_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_PROXY_SUPPORT_H

#include <stdint.h>

enum proxy_mode {
    PROXY_PASS,
    PROXY_CUT_ANSWER,  /* after bytes that end with `word`: they go through, the answer doesn't */
    PROXY_CUT_REQUEST, /* such bytes don't even go through; the connection ends */
    PROXY_HOLD         /* such bytes arrive with proxy_release, whatever happened meanwhile */
};

struct proxy;

/* Forwards to 127.0.0.1:`port`. */
struct proxy *proxy_create(uint16_t port, const char *word);
void proxy_destroy(struct proxy *proxy);

uint16_t proxy_port(const struct proxy *proxy);

/* For one time: then everything passes again. */
void proxy_set(struct proxy *proxy, enum proxy_mode mode);

/* Nothing passes any more on the connections that are there, and nobody is told: as when a cable is
 * pulled. New connections are not affected. */
void proxy_freeze(struct proxy *proxy);

/* Forwards what PROXY_HOLD held back. The server may have ended the connection. */
void proxy_release(struct proxy *proxy);

/* How often the mode did its work. */
unsigned proxy_cuts(const struct proxy *proxy);

#endif
