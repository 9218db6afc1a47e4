/*
 * listener: the addresses at which clients come. With several workers each has a socket of its own
 * on the same address (SO_REUSEPORT), and the kernel spreads the connections; a unix socket is one
 * that all of them accept from.
 *
 * Owns      struct listener: what is common to the workers, one for each address; struct listening:
 *           a worker's socket there, and its TLS context.
 * Thread    listener_stop and what has a worker: the worker; the rest: main, and before the workers
 *           run unless said otherwise.
 * Errors    ERR_ADDRESS, ERR_IO, ERR_INVALID, logged with the reason.
 */
#ifndef PULSE_NODE_LISTENER_H
#define PULSE_NODE_LISTENER_H

#include <stdatomic.h>
#include <uv.h>

#include "base/err.h"
#include "base/macros.h"
#include "codec/websocket.h"
#include "node/config.h"

/* What a `bind` begins with that is the path of a unix socket. */
#define LISTENER_UNIX_PREFIX "unix:"

struct broker;
struct tls_context;
struct worker;

struct listener {
    const struct config_listener *config;
    const char *name;
    struct ws_rules ws;
    struct tls_context *tls;      /* main's; NULL: none */
    bool made_path;               /* a unix socket's file is ours to remove */
    _Atomic uint32_t connections; /* any thread */
};

struct listening {
    struct worker *worker;
    struct listener *listener;
    struct tls_context *tls; /* NULL: none; replaced by mail */
    int fd;
    bool polls;
    uv_poll_t poll;
};

/* Binds every address of the configuration. May need privileges. */
must_check enum err listener_bind(struct broker *broker);
/* Reads certificates and keys. As the user that the broker is to be. */
must_check enum err listener_load_tls(struct broker *broker);
/* Can others than this machine reach a listener (one without TLS)? */
bool listener_is_public(const struct broker *broker, bool without_tls);
/* Lets clients come. */
must_check enum err listener_start(struct broker *broker);
/*
 * Reads certificates and keys again, from where `config` (a later one) says: one context for each
 * listener, NULL where nothing changes, in an array for listener_use_tls or listener_drop_tls. On
 * an error, which is logged, there is none. By main, any time.
 */
must_check enum err listener_read_tls(struct broker *broker, const struct config *config,
                                      struct tls_context ***out);
/* Takes the array: connections that come from now on use its contexts; others keep theirs. */
void listener_use_tls(struct broker *broker, struct tls_context **fresh);
void listener_drop_tls(struct broker *broker, struct tls_context **fresh);

/* Stops accepting. Harmless when it did not listen. */
void listener_stop(struct worker *worker);
/* Frees what the worker has of listeners. After its loop was closed. */
void listener_forget(struct worker *worker);
/* After the workers are gone. */
void listener_destroy_all(struct broker *broker);

/* Accepts nothing for a while: limits.connect_rate is used up; and goes on. */
void listener_pause(struct worker *worker);
void listener_go_on(struct worker *worker);

#endif
