/*
 * broker: the one broker object: what all workers share.
 *
 * Owns      everything in it.
 * Thread    made and ended by main; what workers may touch while they run says so.
 */
#ifndef PULSE_NODE_BROKER_H
#define PULSE_NODE_BROKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "node/auth_settings.h"
#include "node/config.h"
#include "node/metrics.h"
#include "node/sub_index.h"

struct address_table;
struct auth;
struct listener;
struct retained;
struct storage;
struct storage_config;
struct worker;

struct broker {
    const struct config *config; /* read-only while workers run */
    unsigned worker_count;
    unsigned started;           /* workers whose threads were started; main */
    _Atomic unsigned running;   /* of these, how many have not ended; any thread */
    uv_async_t *all_ended;      /* rings when the last one ends; NULL: nobody listens */
    struct metrics own_metrics; /* of main */
    struct worker *workers[WORKERS_MAX];
    struct metrics *metrics[WORKERS_MAX + 1]; /* of the workers and of main, for readers */
    struct sub_index index;
    struct retained *retained;
    struct storage *storage;    /* NULL: nothing is kept */
    _Atomic bool unreachable;   /* starting: the store does not answer; any thread */
    struct listener *listeners; /* listener.h */
    size_t listener_count;
    struct auth *auth; /* NULL: nobody is asked who it is */
    struct auth_settings_made auth_settings;
    struct address_table *addresses; /* connections of each address */
    uint64_t queue_bytes_max;        /* of all sessions */
    _Atomic int64_t queue_bytes;     /* about (delivery.h); any thread */
    uint32_t sockets_max;
    _Atomic uint32_t sockets;  /* any thread */
    _Atomic uint32_t sessions; /* any thread */
    _Atomic bool stopping;     /* no more CONNECTs */
    uint64_t started_mono_ms;
};

/* Makes workers and indexes as `config` says (kept by reference); nothing runs yet. End with
 * broker_destroy, after broker_join when it was started. */
must_check enum err broker_create(const struct config *config, struct broker **out);
void broker_destroy(struct broker *broker);

/* Binds the addresses of all listeners, for which it may take privileges. Errors are logged. */
must_check enum err broker_bind(struct broker *broker);
/* Reads certificates, keys, users and rules, as the user that the broker runs as. Errors are
 * logged. Before broker_start. */
must_check enum err broker_load_secrets(struct broker *broker);
/* Rules and users were replaced: every worker looks at its connections again. By main. */
void broker_recheck(struct broker *broker);

/*
 * Opens the store of `config` (kept), if it keeps anything, and loads it. Blocks, for as long as a
 * database can't be reached: ERR_STOPPED after broker_stop. Before broker_start, from any thread.
 */
must_check enum err broker_load(struct broker *broker, const struct storage_config *config);

/* Listens and starts the workers' threads; `all_ended` (kept, NULL allowed) rings when they have
 * stopped. Errors are logged. */
must_check enum err broker_start(struct broker *broker, uv_async_t *all_ended);

/* Asks every worker to stop gently, within the drain timeout. Returns at once. */
void broker_stop(struct broker *broker);

/* Waits for the workers' ends, and ends auth. */
void broker_join(struct broker *broker);

/* After broker_join: hands what the workers still had to storage, and closes that. */
void broker_close_storage(struct broker *broker);

/* For a worker's thread: it ends now. */
void broker_worker_ended(struct broker *broker);

/* Drops retained messages that have expired, some of them at each call. By main, now and then. */
void broker_sweep(struct broker *broker);

/* Publishes a message of the node itself ($SYS, retained). From any thread. */
void broker_publish(struct broker *broker, struct slice topic, struct slice payload);

/* The worker that the session of `client_id` lives on. Any thread. */
unsigned broker_worker_of(const struct broker *broker, struct slice client_id);

#endif
