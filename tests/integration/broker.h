/*
 * broker: a broker process for tests, on a free port of 127.0.0.1, with a configuration of its own.
 *
 * Owns      the process, its temporary folder (configuration and log), its ports.
 * Thread    the test's.
 * Errors    a broker that does not start, or does not stop in time with status 0, fails the test;
 *           its last log lines are printed.
 * Not here  which broker a client talks to (client.h, client_use_broker()).
 *
 * Environment: PULSE_BIN the binary, PULSE_WORKERS server.worker_threads (default 1), PULSE_STORAGE
 * storage.engine (memory, wal or sqlite; default memory).
 */
#ifndef TESTS_INTEGRATION_BROKER_H
#define TESTS_INTEGRATION_BROKER_H

#include <stdbool.h>
#include <stdint.h>

struct broker;

/*
 * Starts a broker and waits until it accepts connections. `settings` are "section.key: value"
 * lines, ended by NULL. Gives a broker to be ended with broker_stop(), or NULL after printing why
 * not.
 */
struct broker *broker_start(const char *const *settings);

/* The same with `yaml` at the end of its configuration, for lists; NULL: nothing. Borrowed. */
struct broker *broker_start_yaml(const char *const *settings, const char *yaml);

/*
 * True when a broker with these settings ends by itself, not with status 0, and says `text`. Else
 * it is told what happened.
 */
bool broker_refuses(const char *const *settings, const char *yaml, const char *text);

/* A port that is free now, for a listener of `yaml`. */
uint16_t broker_free_port(void);

/* The list that broker_start() takes: BROKER_SETTINGS("limits.max_offline_queue_len: 3", ...). */
#define BROKER_SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Sends a signal that should end the broker, and returns at once. */
void broker_signal(struct broker *broker, int signal_number);

/* SIGHUP: read again what can be read again. */
void broker_reload(struct broker *broker);

/* Waits for the process to end by itself; true when it did within `timeout_ms`, with status 0. */
bool broker_wait_exit(struct broker *broker, int timeout_ms);

/* The same with any status, but not by a signal: it ended itself. */
bool broker_wait_end(struct broker *broker, int timeout_ms);

/* Takes `broker`: SIGTERM when it runs untold, bounded wait, clean up. True when it had ended well.
 */
bool broker_stop(struct broker *broker);

/*
 * Ends the process with SIGTERM or SIGKILL, and waits for it: its folder and its ports stay, for
 * broker_start_again(). False, and told why, when it did not end as it should.
 */
bool broker_end(struct broker *broker, int signal_number);

/* Starts it again after broker_end(), with what it kept. False, and told why: it does not run. */
bool broker_start_again(struct broker *broker);

/*
 * From now on the broker can't write to files, or it can again: its limit of their size is 0 bytes.
 * What it has written stays; its log goes on. False: it could not be done.
 */
bool broker_fail_writes(struct broker *broker, bool fail);

/* How many lines of its log have `text` in them; all its starts count. */
unsigned broker_log_lines(const struct broker *broker, const char *text);

/* True while the process runs. */
bool broker_alive(struct broker *broker);

/* The port for MQTT, and the one for HTTP (observability.metrics_bind). */
uint16_t broker_port(const struct broker *broker);
uint16_t broker_http_port(const struct broker *broker);

/* The process's resident memory in bytes; always 0 for a binary with a sanitizer in it. */
long broker_rss_bytes(const struct broker *broker);

#endif
