/*
 * store_support: a rig (rig_support.h) whose broker keeps what it has in a store in memory
 * (tests/unit/storage/fake_engine_support.h). The storage writer is a thread, as always: a test
 * settles the rig, and looks then.
 */
#ifndef PULSE_TESTS_STORE_SUPPORT_H
#define PULSE_TESTS_STORE_SUPPORT_H

#include "base/clock.h"
#include "base/reclaim.h"
#include "node/journal_priv.h"
#include "node/receipt.h"
#include "node/restore.h"
#include "storage/storage_priv.h"
#include "tests/unit/node/rig_support.h"
#include "tests/unit/storage/fake_engine_support.h"

#define RIG_WAIT_MS 10000u

/* A rig with that store, which is loaded first. */
void rig_start_with(struct rig *rig, unsigned workers, const struct engine_type *engine,
                    enum storage_policy policy);
/* What is with storage is written, unless that takes longer than `timeout_ms`. */
void rig_stop_with(struct rig *rig, uint64_t timeout_ms);

/* Turns the loops until storage has all that it is to have: after a blocked call, or one that
 * fails, that never happens. */
void rig_settle(struct rig *rig);
/* Turns the loops until `call` is held up. */
void rig_turn_until_blocked(struct rig *rig, struct fake_store *store);

/* A client with a session that is kept for a minute. */
void client_connect_kept(struct client *client, struct rig *rig, const char *id);
/* The same, and it goes away when it has subscribed; its id begins such that worker `home` has it.
 */
void leave_kept(struct rig *rig, const char *id, const char *filter, uint8_t qos);
/* An id that begins with `prefix` and lives on worker `home`; good until the next call. */
const char *id_on_worker(const struct rig *rig, const char *prefix, unsigned home);

/* Reads a packet, which must be an acknowledgement of that type and id. */
void client_expect_ack(struct client *client, enum mqtt_packet type, uint16_t packet_id);

int64_t rig_cancelled(const struct rig *rig);

#endif
