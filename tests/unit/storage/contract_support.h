/*
 * contract_support: what the contract of every engine is tested with: a store of the engine under
 * test, which is told the same as a naive model.
 *
 * Thread    the test's.
 * Errors    none: what goes wrong fails the test.
 */
#ifndef PULSE_TESTS_UNIT_STORAGE_CONTRACT_SUPPORT_H
#define PULSE_TESTS_UNIT_STORAGE_CONTRACT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/engine.h"
#include "tests/unit/storage/contract_model_support.h"

struct store {
    const struct engine_type *type;
    struct storage_config config;
    struct storage_stats stats;
    struct engine *engine; /* NULL: closed */
    struct engine_loaded loaded;
    struct model expected;
    uint64_t now_ms;  /* of the next batch */
    uint64_t next_id; /* of the next batch */
    bool model_only;  /* store_apply and its like leave the store alone */
    char directory[64];
    char url[400];
};

/* Chooses the engine for all stores that follow. False: there is none of that name here. */
bool contract_choose(const char *engine);
/* Ends what contract_choose started. */
void contract_end(void);

/* Setup and teardown of a test: `*state` is an empty store, closed. */
int store_create(void **state);
int store_destroy(void **state);
#define with_store(test) cmocka_unit_test_setup_teardown(test, store_create, store_destroy)

/* Opens, loads, and fails unless what was loaded is what is expected, in the promised order. */
void store_open(struct store *store);
void store_close(struct store *store);
void store_reopen(struct store *store);

/* As store_open, but what came goes to `found` (end it with model_fini), and is not compared. */
void store_open_into(struct store *store, struct model *found);

/* Applies a batch to the store and to the model. */
void store_apply(struct store *store, const struct operation *operations, size_t count);
#define store_apply_all(store, operations) store_apply(store, operations, ARRAY_COUNT(operations))
/* To the store alone: what was applied before comes again. */
void store_repeat(struct store *store, const struct operation *operations, size_t count);

void store_sync(struct store *store);

/* Lets the engine tend its store until it has nothing more to do. */
void store_tend(struct store *store);

/* Runs `work` on the store in a process that is killed with -9 afterwards, and then here on the
 * model alone. The store is closed before and afterwards. */
void store_kill_after(struct store *store, void (*work)(struct store *store));

/* Runs `work` again and again in a process that is killed with -9 when it was done at least
 * `pieces` times: at any point of the next one. Returns how often it was done. The model is left
 * alone. */
size_t store_kill_while(struct store *store, void (*work)(struct store *store), size_t pieces);

/* Tries to open the store in this process; it stays closed. */
enum err store_try_open(struct store *store);

/* Runs `check` here while another process has the store open. */
void store_while_open_elsewhere(struct store *store, void (*check)(struct store *store));

/* Marks the closed store as one that a newer version wrote. */
void store_make_newer(struct store *store);

/* ---- values ---------------------------------------------------------------------------------- */

/* A text of `len` bytes, made of `piece`; borrowed until the process ends. */
struct slice long_text(const char *piece, size_t len);

struct operation session_put(uint64_t session, const char *client_id);
struct operation session_drop(uint64_t session);
struct operation message_put(uint64_t message, const char *topic, const char *payload);
struct operation message_drop(uint64_t message);
struct operation queue_push(uint64_t session, uint64_t position, uint64_t message);
struct operation queue_pop(uint64_t session, uint64_t position, uint64_t last);
struct operation queue_release(uint64_t session, uint64_t position);
struct operation subscription_put(uint64_t session, const char *filter);
struct operation will_put(uint64_t session, uint64_t message);
struct operation retained_put(const char *topic, const char *payload);
struct operation inbound_put(uint64_t session, uint16_t packet_id);

/* A seed of the environment (PULSE_TEST_SEED) or of the clock; prints it. */
uint64_t contract_seed(void);
/* A number below `limit`, of the generator `state`, which is not 0. */
uint64_t contract_draw(uint64_t *state, uint64_t limit);

#endif
