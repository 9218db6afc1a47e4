/*
 * storm: clients that connect, are welcomed, and leave; again and again.
 *
 * Owns      its connections.
 * Thread    the loop's.
 * Errors    loop_fail() when a connection is refused.
 *
 * A client says DISCONNECT and waits for the broker to close, so that the broker's whole work lies
 * in the measured span; then it resets the connection, which leaves no port in TIME_WAIT.
 */
#include "tests/bench/scenario.h"

#include <stdlib.h>

struct storm {
    struct bench *bench;
    struct link *links;
    uint64_t connects;
    uint32_t link_count;
    bool is_ending;
};

static void open_link(struct storm *storm, struct link *link);

static void on_ready(struct link *link)
{
    wire_put_disconnect(link_reserve(link, 2));
}

static void on_closed(struct link *link, enum link_state was)
{
    struct storm *storm = link->owner;
    if (was != LINK_READY) {
        loop_fail(&storm->bench->loop, "closed before CONNACK");
        return;
    }
    storm->connects++;
    if (!storm->is_ending) {
        open_link(storm, link);
    }
}

static const struct link_handler handler = {.ready = on_ready, .closed = on_closed};

static void open_link(struct storm *storm, struct link *link)
{
    struct link_setup setup;
    scenario_fill_setup(storm->bench, "c", (uint32_t)(link - storm->links), &setup);
    setup.handler = &handler;
    setup.owner = storm;
    link_open(link, &storm->bench->loop, &setup); /* a failure has called loop_fail() */
}

static bool is_all_closed(const struct storm *storm)
{
    for (uint32_t i = 0; i < storm->link_count; i++) {
        if (storm->links[i].state != LINK_CLOSED) {
            return false;
        }
    }
    return true;
}

static void measure(struct storm *storm)
{
    struct loop *loop = &storm->bench->loop;
    const struct options *options = storm->bench->options;
    for (uint32_t i = 0; i < storm->link_count && !loop->failed; i++) {
        open_link(storm, &storm->links[i]);
    }
    loop_run_until(loop, loop_clock(loop) + options->warmup_ms * NS_PER_MS);
    uint64_t before = storm->connects;
    scenario_begin(storm->bench);
    loop_run_until(loop, loop_clock(loop) + options->duration_ms * NS_PER_MS);
    scenario_end(storm->bench, storm->connects - before);
    storm->bench->outcome.memory = probe_memory((pid_t)options->broker_pid);

    storm->is_ending = true;
    loop_mark_progress(loop);
    while (!loop->failed && !is_all_closed(storm)) {
        loop_flush(loop);
        loop_turn(loop, NS_PER_S);
    }
}

void storm_run(struct bench *bench)
{
    struct storm storm = {.bench = bench, .link_count = (uint32_t)bench->options->parallel};
    bench->outcome.unit = "connect";
    storm.links = calloc(storm.link_count, sizeof(*storm.links));
    if (storm.links == NULL) {
        loop_fail(&bench->loop, "out of memory");
        return;
    }
    measure(&storm);
    link_fini_all(storm.links, storm.link_count);
    free(storm.links);
}
