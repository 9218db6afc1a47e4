/*
 * fake_engine_support: an engine in memory, and the store behind it that outlives it. It can be
 * told to fail, to block and to have work to tend to; it writes down what it was given, and checks
 * what every engine may rely on.
 *
 * Thread    the engine: its caller's. The rest: the test's; a mutex inside.
 */
#ifndef PULSE_TESTS_FAKE_ENGINE_SUPPORT_H
#define PULSE_TESTS_FAKE_ENGINE_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/engine.h"

struct fake_store;

/* Opens fake_store_use()'s store. */
extern const struct engine_type fake_engine;

struct fake_store *fake_store_create(void);
void fake_store_destroy(struct fake_store *store);
void fake_store_use(struct fake_store *store);

enum fake_call { FAKE_OPEN, FAKE_LOAD, FAKE_APPLY, FAKE_SYNC, FAKE_TEND, FAKE_CLOSE, FAKE_CALLS };

/* The next `times` calls of apply or sync, or of open or load, give `err`, and `words` as trouble.
 */
void fake_store_fail(struct fake_store *store, enum fake_call call, enum err err, unsigned times,
                     const char *words);

/* apply and sync fail this often out of 100 times, as `seed` has it. */
void fake_store_fail_at_random(struct fake_store *store, unsigned percent, uint64_t seed);

/* `call` (apply, sync or tend) doesn't begin from now on, until told. */
void fake_store_block(struct fake_store *store, enum fake_call call);
void fake_store_unblock(struct fake_store *store);
/* Returns when a call is held up. False: none came in `timeout_ms`. */
bool fake_store_wait_blocked(struct fake_store *store, uint64_t timeout_ms);

/* tend says so often that there is more to do. */
void fake_store_set_tend_more(struct fake_store *store, unsigned times);

/* Returns when `call` has been made `count` times, failures included; false after `timeout_ms`. */
bool fake_store_wait(struct fake_store *store, enum fake_call call, unsigned count,
                     uint64_t timeout_ms);

/* Calls that were made, failures included. */
unsigned fake_store_calls(struct fake_store *store, enum fake_call call);

/* All calls of apply, sync and tend so far, the oldest first, as letters: A, S, T. Borrowed, and
 * changed by further calls. At most a thousand. */
const char *fake_store_history(struct fake_store *store);

/* When the last call of that kind ended, by clock_mono_ms(). */
uint64_t fake_store_call_ms(struct fake_store *store, enum fake_call call);

/* What was applied last, one operation a line: its name and its fields that aren't zero. Good until
 * the next call of this function. */
const char *fake_store_last_batch(struct fake_store *store);

/* Everything that is kept, in the same way, sorted. Good until the next call of this function. */
const char *fake_store_contents(struct fake_store *store);

/* The same, but in place of messages and their numbers what refers to one shows its payload. */
const char *fake_store_contents_with_payloads(struct fake_store *store);

/* How many things of that type are kept. */
unsigned fake_store_count(struct fake_store *store, enum operation_type type);

/* batch.now_ms and batch.next_id of the last batch. */
uint64_t fake_store_now_ms(struct fake_store *store);
uint64_t fake_store_next_id(struct fake_store *store);

/* For loading: what the store has seen last, and which ids are in use. */
void fake_store_set_last_seen(struct fake_store *store, uint64_t ms);
void fake_store_set_next_id(struct fake_store *store, uint64_t id);

/* What was wrong with a batch, the first time; "" when all was well: a message that is put twice,
 * named before it is put or after it was dropped, or kept without anything that names it. */
const char *fake_store_complaint(struct fake_store *store);

/* Operations are only counted from now on, not kept. */
void fake_store_forget(struct fake_store *store);

#endif
