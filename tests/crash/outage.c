#include "tests/crash/outage.h"

#include <signal.h>

enum {
    CALM_MIN_MS = 500,
    CALM_MAX_MS = 3000,
    SHORT_MAX_MS = 800,
    HELD_MIN_MS = 300,
    HELD_MAX_MS = 3000,
    SHORT_PERCENT = 25,
    KILL_PERCENT = 60,
    NOTICE_MAX_MS = 20000,
    DISK_NOTICE_MAX_MS = 60000, /* what it has in hand lasts for a while */
    MEND_MAX_MS = 30000
};

static struct world *world_of(const struct outage *outage)
{
    return outage->broker->world;
}

static uint32_t now_ms_of(const struct outage *outage)
{
    return world_now_ms(world_of(outage));
}

static void wait_between(struct outage *outage, uint32_t min_ms, uint32_t max_ms)
{
    outage->next_ms = now_ms_of(outage) + random_between(&world_of(outage)->dice, min_ms, max_ms);
}

static bool is_time(const struct outage *outage)
{
    return now_ms_of(outage) >= outage->next_ms;
}

void outage_init(struct outage *outage, struct broker *broker, struct database *database)
{
    *outage = (struct outage){.broker = broker, .database = database};
    filler_init(&outage->filler, world_of(outage)->options->store);
    http_init(&outage->http, broker->http_port);
    wait_between(outage, CALM_MIN_MS, CALM_MAX_MS);
}

void outage_fini(struct outage *outage)
{
    filler_free(&outage->filler);
    http_fini(&outage->http);
}

bool outage_is_over(const struct outage *outage)
{
    return outage->state == OUTAGE_NONE;
}

/* ---- the fault ------------------------------------------------------------------------------- */

static void break_store(struct outage *outage)
{
    switch (outage->kind) {
    case OUTAGE_STOPPED:
        process_signal(&outage->database->process, SIGSTOP);
        break;
    case OUTAGE_KILLED:
        process_end(&outage->database->process, SIGKILL);
        break;
    case OUTAGE_ENDED:
        process_signal(&outage->database->process, SIGTERM);
        break;
    case OUTAGE_DISK_FULL:
        filler_fill(&outage->filler);
        break;
    }
}

static void mend_store(struct outage *outage)
{
    switch (outage->kind) {
    case OUTAGE_STOPPED:
        process_signal(&outage->database->process, SIGCONT);
        break;
    case OUTAGE_ENDED:
        process_end(&outage->database->process, SIGTERM);
        database_start(outage->database);
        break;
    case OUTAGE_KILLED:
        database_start(outage->database);
        break;
    case OUTAGE_DISK_FULL:
        filler_free(&outage->filler);
        break;
    }
}

/* ---- its course ------------------------------------------------------------------------------ */

static void begin(struct outage *outage)
{
    struct random *dice = &world_of(outage)->dice;
    bool disk = world_of(outage)->options->mode == MODE_DISK_FULL;
    outage->kind = disk ? OUTAGE_DISK_FULL : (enum outage_kind)random_below(dice, OUTAGE_DISK_FULL);
    outage->is_short = random_chance(dice, SHORT_PERCENT);
    outage->kills = random_chance(dice, KILL_PERCENT);
    outage->state = OUTAGE_BEGUN;
    outage->begun_ms = now_ms_of(outage);
    outage->broker->may_end = true;
    record_note(&world_of(outage)->record, EVENT_FAULT, ACTOR_BROKER, 0, outage->kind + 1);
    break_store(outage);
    wait_between(outage, 0, SHORT_MAX_MS);
}

static void mend(struct outage *outage)
{
    mend_store(outage);
    record_note(&world_of(outage)->record, EVENT_FAULT_OVER, ACTOR_BROKER, 0, 0);
    outage->state = OUTAGE_MENDED;
    outage->begun_ms = now_ms_of(outage);
    http_forget(&outage->http);
}

static void note_noticed(struct outage *outage)
{
    uint32_t took_ms = now_ms_of(outage) - outage->begun_ms;
    outage->notice_max_ms = took_ms > outage->notice_max_ms ? took_ms : outage->notice_max_ms;
    outage->count++;
    outage->accepted_before = world_of(outage)->record.totals.accepted;
    outage->state = OUTAGE_HELD;
    wait_between(outage, HELD_MIN_MS, HELD_MAX_MS);
}

static void await_notice(struct outage *outage)
{
    uint32_t took_ms = now_ms_of(outage) - outage->begun_ms;
    bool disk = outage->kind == OUTAGE_DISK_FULL;
    if (outage->is_short && is_time(outage)) {
        mend(outage);
    } else if (outage->http.readiness == READY_NO) {
        note_noticed(outage);
    } else if (took_ms > (disk ? DISK_NOTICE_MAX_MS : NOTICE_MAX_MS)) {
        violation_report(&world_of(outage)->record, VIOLATION_READINESS, 0, ACTOR_BROKER,
                         "ready %u ms after its store was gone", took_ms);
        mend(outage);
    }
}

static void kill_in_the_middle(struct outage *outage)
{
    outage->kills = false;
    broker_kill(outage->broker);
    broker_start(outage->broker);
    wait_between(outage, HELD_MIN_MS, HELD_MAX_MS);
}

static void hold(struct outage *outage)
{
    if (!is_time(outage)) {
        return;
    }
    outage->accepted_during += world_of(outage)->record.totals.accepted - outage->accepted_before;
    outage->accepted_before = world_of(outage)->record.totals.accepted;
    if (outage->kills) {
        kill_in_the_middle(outage);
    } else {
        mend(outage);
    }
}

static void await_recovery(struct outage *outage)
{
    uint32_t took_ms = now_ms_of(outage) - outage->begun_ms;
    bool ready = outage->http.readiness == READY_YES && outage->broker->is_ready;
    if (!ready && took_ms <= MEND_MAX_MS) {
        return;
    }
    if (!ready) {
        violation_report(&world_of(outage)->record, VIOLATION_READINESS, 0, ACTOR_BROKER,
                         "not ready %u ms after its store was back", took_ms);
        broker_print_log(outage->broker);
    }
    outage->mend_max_ms = took_ms > outage->mend_max_ms ? took_ms : outage->mend_max_ms;
    outage->state = OUTAGE_NONE;
    outage->broker->may_end = false;
    wait_between(outage, CALM_MIN_MS, CALM_MAX_MS);
}

void outage_turn(struct outage *outage, bool may_begin)
{
    http_turn(&outage->http, now_ms_of(outage));
    if (outage->filler.fd >= 0) {
        filler_fill(&outage->filler); /* what the broker gives back is taken too */
    }
    switch (outage->state) {
    case OUTAGE_NONE:
        if (may_begin && is_time(outage) && outage->broker->is_ready) {
            http_forget(&outage->http);
            begin(outage);
        }
        break;
    case OUTAGE_BEGUN:
        await_notice(outage);
        break;
    case OUTAGE_HELD:
        hold(outage);
        break;
    case OUTAGE_MENDED:
        await_recovery(outage);
        break;
    }
}
