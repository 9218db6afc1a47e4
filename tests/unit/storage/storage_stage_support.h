/*
 * storage_stage_support: a storage over a fake engine, and parts for it.
 *
 * Thread    the test's.
 */
#ifndef PULSE_TESTS_STORAGE_STAGE_SUPPORT_H
#define PULSE_TESTS_STORAGE_STAGE_SUPPORT_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/message.h"
#include "storage/storage.h"
#include "tests/unit/storage/fake_engine_support.h"

/* No wait of a test is longer; none that succeeds takes nearly as long. */
#define STAGE_WAIT_MS 20000u
#define STAGE_TOPICS 16

struct stage {
    struct fake_store *store;
    struct storage *storage;
    enum storage_policy policy;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned done;                          /* parts that came back */
    unsigned asked;                         /* calls of the hook */
    unsigned ids_per_question;              /* that the hook takes, as workers may at that time */
    struct message *retained[STAGE_TOPICS]; /* a reference, by number of the topic; NULL: none */
};

struct stage_part {
    struct storage_part part;
    struct stage *stage;
    bool done;
    enum err err;
    unsigned order; /* of its return: the first one is 1 */
};

/* A store, and a storage of it that runs. */
void stage_open(struct stage *stage, enum storage_policy policy);

/* A storage of the same store, once more; not started. */
void stage_reopen(struct stage *stage);

/* Stops the storage if there is one, and asserts that the engine had nothing to complain about. */
void stage_close(struct stage *stage);

void stage_part_init(struct stage *stage, struct stage_part *part);
void stage_part_fini(struct stage_part *part);
void stage_submit(struct stage_part *part);
bool stage_is_done(struct stage_part *part);
/* Returns what `done` said; fails the test when it doesn't come. */
enum err stage_wait(struct stage_part *part);
/* Submits, waits, expects ERR_OK, and clears the part. */
void stage_commit(struct stage_part *part);

/* Gives a heap message with one reference. */
struct message *stage_message(const char *topic, const char *payload);

/* Add a change; those with a message keep a reference on it. */
struct change *stage_push(struct stage_part *part, uint64_t session, uint64_t position,
                          struct message *message);
void stage_release(struct stage_part *part, uint64_t session, uint64_t position,
                   struct message *message);
void stage_pop(struct stage_part *part, uint64_t session, uint64_t position,
               struct message *message);
void stage_will_put(struct stage_part *part, uint64_t session, struct message *message);
void stage_will_drop(struct stage_part *part, uint64_t session, struct message *message);
void stage_session_put(struct stage_part *part, uint64_t session, const char *client_id);

/* The topic of number `topic`: "retained/<topic>". Good for the test's life. */
const char *stage_topic(unsigned topic);
/* The retained message of the topic is `payload` from now on (NULL: there is none), and `part` says
 * that it changed. */
void stage_retain(struct stage_part *part, unsigned topic, const char *payload);

/* Asserts the lines of the last batch, and of all that is kept. */
void stage_assert_batch(struct stage *stage, const char *lines);
void stage_assert_contents(struct stage *stage, const char *lines);

#endif
