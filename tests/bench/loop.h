/*
 * loop: an epoll loop for client connections, with one write per connection and iteration.
 *
 * Owns      the epoll descriptor, the shared read buffer, the list of links with bytes to send.
 *           Links belong to the scenario, and must not move or be freed before loop_fini().
 * Thread    one.
 * Errors    the first failure is kept by loop_fail() and ends the scenario: `failed`, `error`.
 * Not here  MQTT packets (wire.h), connection set-up (link.h), who sends what (traffic.h ...).
 */
#ifndef TESTS_BENCH_LOOP_H
#define TESTS_BENCH_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull

struct link;
struct transport_plan;

struct loop {
    int epoll_fd;
    bool spin; /* poll without sleeping: exact clock, a whole core */
    bool failed;
    char error[256];
    uint64_t refused; /* connections that the broker was too busy for, and that were asked again */
    uint8_t *input;   /* where every read lands */
    struct link *dirty;
    uint64_t now_ns;      /* refreshed by every read and every turn */
    uint64_t progress_ns; /* last time anything arrived */
    uint64_t stall_ns;    /* silence longer than this is a failure */
    struct transport_plan
        *transport; /* of all links; NULL: plain TCP. The scenario's owner ends it */
    struct sockaddr_storage address;
    socklen_t address_len;
};

/* Resolves the broker's address. False leaves nothing behind but the error text. */
bool loop_init(struct loop *loop, const char *host, const char *port);
void loop_fini(struct loop *loop);

/* CLOCK_MONOTONIC; also refreshes `now_ns`. */
uint64_t loop_clock(struct loop *loop);

/* Waits for input for at most `wait_ns`, and hands it to the links. Also the watchdog's bark. */
void loop_turn(struct loop *loop, uint64_t wait_ns);

/* Writes what links have collected. */
void loop_flush(struct loop *loop);

/* Both, until the clock says `end_ns`, or a failure. */
void loop_run_until(struct loop *loop, uint64_t end_ns);

/* The same for `wait_ns` in which silence is no failure. */
void loop_run_quietly(struct loop *loop, uint64_t wait_ns);

/* Keeps the first failure. */
void loop_fail(struct loop *loop, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For a scenario that has just begun to wait for something else. */
void loop_mark_progress(struct loop *loop);

/* For link.c: puts a link on the list that loop_flush() writes, and chooses what epoll reports. */
void loop_add_dirty(struct loop *loop, struct link *link);
bool loop_watch(struct loop *loop, struct link *link, bool first);

#endif
