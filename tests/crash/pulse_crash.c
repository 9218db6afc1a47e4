/*
 * pulse-crash: a broker under load is killed again and again, or its store fails; what comes out at
 * the end is compared with what was acknowledged. See README.md.
 *
 * It runs in rounds: some kills, then all is drained and settled.
 *
 * Exit code 0: no violation; 1: some; 2: it could not run.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/crash/broker.h"
#include "tests/crash/cast.h"
#include "tests/crash/database.h"
#include "tests/crash/killer.h"
#include "tests/crash/outage.h"
#include "tests/crash/world.h"

enum {
    ROUND_KILLS_MIN = 3,
    ROUND_KILLS_MAX = 25,
    ROUND_MIN_MS = 4000,
    ROUND_MAX_MS = 40000,
    ROUND_MESSAGES_MAX = 100000,
    PATIENCE_MS = 12000, /* without any progress, when all is to be drained */
    DRAIN_MAX_MS = 180000
};

struct run {
    struct options options;
    struct world world;
    struct cast cast;
    struct database database;
    struct broker broker;
    struct killer killer;
    struct outage outage;
    uint32_t end_ms;
    bool broken; /* the broker is of no more use */
};

static uint32_t now_ms_of(const struct run *run)
{
    return world_now_ms(&run->world);
}

static bool is_over(const struct run *run)
{
    return run->broken || now_ms_of(run) >= run->end_ms ||
           run->world.record.kill_count >= run->options.kills;
}

static void turn(struct run *run)
{
    world_turn(&run->world);
    if (!broker_watch(&run->broker)) {
        run->broken = true;
    }
}

/* ---- a round --------------------------------------------------------------------------------- */

static void trouble_turn(struct run *run)
{
    switch (run->options.mode) {
    case MODE_KILLS:
        killer_turn(&run->killer);
        break;
    case MODE_CALM:
        break;
    case MODE_DATABASE_FAULTS:
    case MODE_DISK_FULL:
        outage_turn(&run->outage, true);
        break;
    }
}

static void make_trouble(struct run *run)
{
    struct random *dice = &run->world.dice;
    const struct record *record = &run->world.record;
    size_t kills_end = record->kill_count + random_between(dice, ROUND_KILLS_MIN, ROUND_KILLS_MAX);
    bool has_kills = run->options.mode == MODE_KILLS;
    uint32_t end_ms = now_ms_of(run) +
                      (has_kills ? ROUND_MAX_MS : random_between(dice, ROUND_MIN_MS, ROUND_MAX_MS));
    run->world.draining = false;
    while (!is_over(run) && now_ms_of(run) < end_ms && record->kill_count < kills_end &&
           record->message_count < ROUND_MESSAGES_MAX) {
        turn(run);
        trouble_turn(run);
    }
    while (!run->broken && !outage_is_over(&run->outage)) {
        turn(run);
        outage_turn(&run->outage, false);
    }
}

/* Turns until `is_done`, or until nothing has happened for long. */
static bool turn_until(struct run *run, bool (*is_done)(const struct run *run))
{
    uint64_t events = 0;
    uint32_t begun_ms = now_ms_of(run), moved_ms = begun_ms;
    while (!run->broken && !is_done(run)) {
        turn(run);
        killer_spare(&run->killer);
        if (run->world.record.history.count != events) {
            events = run->world.record.history.count;
            moved_ms = now_ms_of(run);
        }
        if (now_ms_of(run) > moved_ms + PATIENCE_MS || now_ms_of(run) > begun_ms + DRAIN_MAX_MS) {
            return false;
        }
    }
    return !run->broken;
}

static bool everybody_is_done(const struct run *run)
{
    return cast_is_done(&run->cast);
}

static bool inspector_is_done(const struct run *run)
{
    return !run->cast.inspector.client.wanted;
}

static void drain_and_settle(struct run *run)
{
    run->world.draining = true;
    record_note(&run->world.record, EVENT_DRAINING, ACTOR_BROKER, 0, 0);
    if (!turn_until(run, everybody_is_done) && !run->broken) {
        cast_report_undone(&run->cast);
    }
    if (!run->broken) {
        inspector_look(&run->cast.inspector);
        (void)turn_until(run, inspector_is_done); /* it reports by itself */
    }
    if (!run->broken) {
        record_settle(&run->world.record);
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void print_recovery(struct broker *broker)
{
    size_t count = broker->recovery_count;
    if (count > 0) {
        qsort(broker->recoveries_ms, count, sizeof(uint32_t), compare);
        printf("started %zu times: median %u ms, longest %u ms until a client was answered\n",
               count, broker->recoveries_ms[count / 2], broker->recoveries_ms[count - 1]);
    }
}

static void print_outages(const struct run *run)
{
    if (run->options.mode <= MODE_CALM) {
        return;
    }
    printf("outages noticed: %u; longest until not ready %u ms, until ready again %u ms; "
           "accepted meanwhile %" PRIu64 "\n",
           run->outage.count, run->outage.notice_max_ms, run->outage.mend_max_ms,
           run->outage.accepted_during);
    printf("QoS 0: %" PRIu64 " heard, longest silence %u ms\n", run->cast.stream.heard,
           run->cast.stream.longest_ms);
}

static void print_figures(struct run *run)
{
    const struct record *record = &run->world.record;
    const struct totals *totals = &record->totals;
    printf("kills %zu, stops %u, sent %" PRIu64 ", acknowledged %" PRIu64 ", refused %" PRIu64
           ", given up %" PRIu64 ", delivered %" PRIu64 ", of them again as allowed %" PRIu64 "\n",
           record->kill_count, run->broker.stops, totals->sent, totals->accepted, totals->refused,
           totals->uncertain, totals->delivered, totals->allowed_again);
    printf("retained messages looked at %" PRIu64 " times\n", run->cast.inspector.looked);
    print_recovery(&run->broker);
    print_outages(run);
    if (totals->lost_oldest_ms > 0 && record->violations.lossy) {
        printf("the oldest lost message was acknowledged %u ms before a kill\n",
               totals->lost_oldest_ms);
    }
    violations_print(&record->violations);
}

/* A run that never came to what it is for has shown nothing. */
static bool has_shown_something(const struct run *run)
{
    bool has_faults = run->options.mode > MODE_CALM;
    bool kills_enough = run->options.mode != MODE_KILLS || run->world.record.kill_count > 0;
    return run->world.record.totals.accepted > 0 && kills_enough &&
           (!has_faults || run->outage.count > 0);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static void init(struct run *run, int argc, char **argv)
{
    options_read(&run->options, argc, argv);
    const struct options *options = &run->options;
    printf("engine %s, policy %s, %u workers, seed %" PRIu64 "\n", options->engine, options->policy,
           options->workers, options->seed);
    world_init(&run->world, options);
    run->world.record.violations.lossy = strcmp(options->policy, "fast") == 0;
    run->world.record.has_outages = options->mode > MODE_CALM;
    cast_init(&run->cast, &run->world);
    database_init(&run->database, options);
    broker_init(&run->broker, &run->world, run->database.port);
    killer_init(&run->killer, &run->broker);
    outage_init(&run->outage, &run->broker, &run->database);
    run->end_ms = now_ms_of(run) + options->seconds * 1000;
    broker_start(&run->broker);
}

static void fini(struct run *run)
{
    outage_fini(&run->outage);
    broker_fini(&run->broker);
    database_fini(&run->database);
    cast_fini(&run->cast);
    world_fini(&run->world);
}

int main(int argc, char **argv)
{
    static struct run run;
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* whoever ends the run script ends all of it */
    setvbuf(stdout, NULL, _IOLBF, 0);
    init(&run, argc, argv);
    while (!is_over(&run)) {
        make_trouble(&run);
        drain_and_settle(&run);
    }
    print_figures(&run);
    bool shown = has_shown_something(&run);
    bool passed = shown && violations_total(&run.world.record.violations) == 0;
    if (!shown) {
        printf("nothing was shown: too short, or no trouble came about\n");
    }
    printf("%s\n", passed ? "passed" : "FAILED");
    fini(&run);
    return passed ? 0 : 1;
}
