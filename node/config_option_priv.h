/*
 * config_option: the table of options as data, and how to find a row of it.
 *
 * Thread    any: the table is constant.
 * Not here  lists (config_list_priv.h), reading and printing values (config_value_priv.h), where
 *           they come from (config_source_priv.h).
 */
#ifndef PULSE_NODE_CONFIG_OPTION_PRIV_H
#define PULSE_NODE_CONFIG_OPTION_PRIV_H

#include "base/text.h"
#include "node/config.h"

/*
 * X(name, parent, what it is about): the sections of the file, in the order of the pages. One that
 * stands inside another comes right behind it; the parent of the others is the file, ROOT.
 */
#define CONFIG_SECTIONS(X)                                              \
    X(server, ROOT, "The listener and the threads.")                    \
    X(server_tls, server, "TLS on server.bind and websocket.bind.")     \
    X(websocket, ROOT, "MQTT over WebSocket.")                          \
    X(auth, ROOT, "Who may connect, and what they may do.")             \
    X(admin, ROOT, "The HTTP API for operators.")                       \
    X(storage, ROOT, "What is kept, and where.")                        \
    X(limits, ROOT, "How much a client, and all of them, may ask for.") \
    X(observability, ROOT, "Logs, metrics and the $SYS topics.")        \
    X(cluster, ROOT, "Who this node is among others.")

/* How they are written. */
#define CONFIG_PATH_server "server"
#define CONFIG_PATH_server_tls "server.tls"
#define CONFIG_PATH_websocket "websocket"
#define CONFIG_PATH_auth "auth"
#define CONFIG_PATH_admin "admin"
#define CONFIG_PATH_storage "storage"
#define CONFIG_PATH_limits "limits"
#define CONFIG_PATH_observability "observability"
#define CONFIG_PATH_cluster "cluster"

enum config_section {
#define X(name, ...) CONFIG_SECTION_##name,
    CONFIG_SECTIONS(X)
#undef X
        CONFIG_SECTION_COUNT,
    CONFIG_SECTION_ROOT = CONFIG_SECTION_COUNT /* the file itself */
};

/* Index of every option: CONFIG_OPTION_server_bind, ... */
enum {
#define OPTION(section, key, ...) CONFIG_OPTION_##section##_##key,
#include "node/config_options.def"
#undef OPTION
    CONFIG_OPTION_COUNT
};

enum config_kind {
    CONFIG_KIND_BOOL,
    CONFIG_KIND_UINT,
    CONFIG_KIND_DURATION,
    CONFIG_KIND_SIZE,
    CONFIG_KIND_ENUM,
    CONFIG_KIND_STRING,
    CONFIG_KIND_ADDRESS
};

/* What makes a string a good one. */
struct config_text_rule {
    const char *noun;    /* "not a log filter": what a bad one is said to be */
    const char *allowed; /* for people */
    enum err (*check)(const char *text);
    const char *none; /* the word for an optional one that isn't there; NULL: off */
    /* Adds a good one as it may be shown, without its secret. NULL: there is no secret in it, so
     * bad ones may be shown too. */
    void (*add_shown)(const char *text, struct text *out);
};

extern const struct config_text_rule config__log_filter;
extern const struct config_text_rule config__topic_prefix;
extern const struct config_text_rule config__file_name;
extern const struct config_text_rule config__folder_name;
extern const struct config_text_rule config__ca_file_name;
extern const struct config_text_rule config__node_id;
extern const struct config_text_rule config__plain_text;
extern const struct config_text_rule config__secret;
extern const struct config_text_rule config__acl_filter;
extern const struct config_text_rule config__auth_chain;
extern const struct config_text_rule config__jwt_algorithms;
extern const struct config_text_rule config__networks;
extern const struct config_text_rule config__openssl_list;
extern const struct config_text_rule config__origins;
extern const struct config_text_rule config__mysql_url;
extern const struct config_text_rule config__sql_database;
extern const struct config_text_rule config__http_url;
extern const struct config_text_rule config__url_path;
extern const struct config_text_rule config__listener_address;

/* A row of the table of options, or of the keys of a list. */
struct config_option {
    const char *key;
    const char *path;            /* section.key; of a list: list.key */
    enum config_section section; /* of a list: CONFIG_SECTION_ROOT */
    enum config_kind kind;
    const char *initial; /* NULL: of a list, and must be given */
    uint64_t minimum;
    uint64_t maximum;
    uint64_t step;                       /* DURATION */
    const char *const *words;            /* ENUM; ends with NULL */
    const struct config_text_rule *rule; /* STRING */
    const char *mqtt_rs_name;            /* MQTT_RS_*, or NULL */
    const char *help;
    size_t offset; /* in struct config; of a list: in the structure of an entry */
};

extern const struct config_option config__options[CONFIG_OPTION_COUNT];

/* How the column `rule` of a row becomes a field, by kind. */
#define CONFIG_RULE_BOOL(rule)
#define CONFIG_RULE_UINT(rule)
#define CONFIG_RULE_SIZE(rule)
#define CONFIG_RULE_ADDRESS(rule)
#define CONFIG_RULE_DURATION(multiple) .step = (multiple),
#define CONFIG_RULE_STRING(text_rule) .rule = &(text_rule),
#define CONFIG_RULE_ENUM(list) .words = (const char *const[]){list(CONFIG_RULE_WORD) NULL},
#define CONFIG_RULE_WORD(constant, word) word,

const char *config__section_path(enum config_section section); /* "server.tls" */
const char *config__section_key(enum config_section section);  /* "tls" */
const char *config__section_about(enum config_section section);
enum config_section config__section_parent(enum config_section section);

/* The section `key` inside `parent`; CONFIG_SECTION_COUNT when there is none. */
enum config_section config__section_find(enum config_section parent, const char *key);

/* Borrows the option of that section and key, or NULL. */
const struct config_option *config__option_find(enum config_section section, const char *key);

/* Add PULSE_SERVER_BIND, --server-bind, --bind. The last adds nothing when there is no short flag.
 */
void config__option_add_env(const struct config_option *option, struct text *text);
void config__option_add_flag(const struct config_option *option, struct text *text);
void config__option_add_short_flag(const struct config_option *option, struct text *text);

#endif
