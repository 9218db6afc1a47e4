/*
 * config: the options of the broker, from defaults < YAML file < environment < flags. All of it
 * comes from two tables, config_options.def and config_lists.def.
 *
 * Owns      the strings of a loaded struct config.
 * Thread    main, before the workers start; read-only afterwards, from any thread.
 * Errors    printed as one line on stderr, with file, line, key and what is allowed; the exit code
 *           is 2.
 * Not here  reading (config_source_priv.h), values (config_value_priv.h), lists
 *           (config_list_priv.h), pages (config_page_priv.h).
 */
#ifndef PULSE_NODE_CONFIG_H
#define PULSE_NODE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/macros.h"
#include "codec/proxy_header.h"
#include "node/auth/acl.h"
#include "node/auth/auth.h"
#include "node/tls/tls.h"
#include "storage/config.h"

/* What a value of each kind is in struct config. Durations are milliseconds, sizes bytes. */
#define CONFIG_C_BOOL bool
#define CONFIG_C_UINT uint64_t
#define CONFIG_C_DURATION uint64_t
#define CONFIG_C_SIZE uint64_t
#define CONFIG_C_ENUM int
#define CONFIG_C_STRING const char *
#define CONFIG_C_ADDRESS const char *

/* Where a value came from. */
enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENV, CONFIG_FLAG };

/* X(ENUM_CONSTANT, "word"), in the order of the values. */
#define CONFIG_SLOW_CONSUMER_POLICIES(X)      \
    X(SLOW_CONSUMER_THROTTLE, "throttle")     \
    X(SLOW_CONSUMER_DISCONNECT, "disconnect") \
    X(SLOW_CONSUMER_QUEUE_OFFLINE, "queue-offline")
#define CONFIG_OFFLINE_QUEUE_POLICIES(X)        \
    X(OFFLINE_QUEUE_DROP_NEWEST, "drop-newest") \
    X(OFFLINE_QUEUE_DROP_OLDEST, "drop-oldest")
#define CONFIG_SHARED_REDISPATCHES(X)             \
    X(SHARED_REDISPATCH_DISCONNECT, "disconnect") \
    X(SHARED_REDISPATCH_SESSION_END, "session-end")
#define CONFIG_PROTOCOLS(X)         \
    X(CONFIG_PROTOCOL_MQTT, "mqtt") \
    X(CONFIG_PROTOCOL_WS, "ws")
#define CONFIG_LOG_FORMATS(X)  \
    X(CONFIG_LOG_TEXT, "text") \
    X(CONFIG_LOG_JSON, "json")

#define X(constant, word) constant,
enum config_slow_consumer_policy { CONFIG_SLOW_CONSUMER_POLICIES(X) };
enum config_offline_queue_policy { CONFIG_OFFLINE_QUEUE_POLICIES(X) };
enum config_shared_redispatch { CONFIG_SHARED_REDISPATCHES(X) };
enum config_log_format { CONFIG_LOG_FORMATS(X) };
enum config_protocol { CONFIG_PROTOCOLS(X) };
#undef X

/*
 * Entries of the lists (config_lists.def). `listeners` of a loaded config are all there are: those
 * of the file, and those that server.* and websocket.* stand for.
 */
#define LISTENER(key, kind, ...) CONFIG_C_##kind key;
struct config_listener {
#include "node/config_lists.def"
    const char *place; /* for errors: "pulse.yaml:12" */
};
#define USER(key, kind, ...) CONFIG_C_##kind key;
struct config_user {
#include "node/config_lists.def"
    const char *place;
};
#define ACL_RULE(key, kind, ...) CONFIG_C_##kind key;
struct config_acl_rule {
#include "node/config_lists.def"
    const char *place;
};

/* One field per option, named section_key: server_bind, limits_max_offline_queue_len, ... */
struct config {
#define OPTION(section, key, kind, ...) CONFIG_C_##kind section##_##key;
#include "node/config_options.def"
#undef OPTION
    struct config_listener *listeners;
    size_t listener_count;
    struct config_user *users;
    size_t user_count;
    struct config_acl_rule *acl_rules;
    size_t acl_rule_count;
    struct config_private *priv; /* where each value came from */
};

/* What the command line asked for. */
enum config_action {
    CONFIG_RUN,       /* start the broker with `config` */
    CONFIG_EXIT_OK,   /* --help, --version, --check-config, --print-config did their work */
    CONFIG_EXIT_ERROR /* a message has been printed; exit with 2 */
};

/*
 * Reads everything. Fills `config` (end with config_fini, whatever was returned). Output of --help
 * and the like goes to `out`, complaints go to `complaints`. The log filter is in effect
 * afterwards: checking it is setting it.
 */
enum config_action config_load(struct config *config, int argc, char *const *argv,
                               char *const *environment, FILE *out, FILE *complaints);

/*
 * The same for a command that takes the name of a file between its flags: `*operand` is the one
 * word that is no flag and no flag's value, borrowed from `argv`; NULL: there is none.
 */
enum config_action config_load_operand(struct config *config, int argc, char *const *argv,
                                       char *const *environment, FILE *out, FILE *complaints,
                                       const char **operand);

void config_fini(struct config *config);

/*
 * As config_load for a broker that runs, at SIGHUP, but the log filter stays as it is: the caller
 * sets it once everything else is as `config` says. `argc`, `argv` and `environment` are those of
 * the start. CONFIG_RUN, or CONFIG_EXIT_ERROR with lines on `complaints`. End with config_fini.
 */
enum config_action config_reload(struct config *config, int argc, char *const *argv,
                                 char *const *environment, FILE *complaints);

/*
 * Adds what differs between two loaded configurations and takes a restart to count:
 * "server.bind, listeners[1].max_connections". Nothing: all that differs can be taken over now.
 */
void config_reload_changes(const struct config *running, const struct config *fresh,
                           struct text *out);

/* ---- values that are more than one thing ----------------------------------------------------- */

/* Room for a host name and its NUL. */
#define CONFIG_HOST_SIZE 256

/*
 * Takes an ADDRESS apart: 10.0.0.1:1883, [::1]:1883, broker.example:1883. The host comes without
 * brackets. ERR_SYNTAX when it is not one, and nothing is written. Every ADDRESS of a loaded config
 * is one, or is empty, which means off.
 */
must_check enum err config_split_address(const char *address, char host[static CONFIG_HOST_SIZE],
                                         uint16_t *port);

/* Writes which providers are asked, in which order: auth.chain, or all that are configured. Returns
 * how many. */
size_t config_auth_chain(const struct config *config,
                         enum auth_provider_kind chain[static AUTH_PROVIDER_COUNT]);

#endif
