/*
 * What the files of `pulse ctl` know about one another: what the command line says, the way to the
 * API (ctl_http.c), the verbs (ctl_verbs.c), output for people (ctl_table.c).
 *
 * Thread    main.
 */
#ifndef PULSE_NODE_CTL_PRIV_H
#define PULSE_NODE_CTL_PRIV_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/text.h"

#define CTL_DONE 0
#define CTL_FAILED 1
#define CTL_USAGE 2

/*
 * X(field, "name", "VALUE or empty for a switch", "what it does"). The first ones are for every
 * verb.
 */
#define CTL_OPTIONS(X)                                                                         \
    X(url, "url", "URL", "where the API is; http://127.0.0.1:9002")                            \
    X(token_file, "token-file", "FILE",                                                        \
      "file with the token; else PULSE_ADMIN_TOKEN in the environment")                        \
    X(ca, "ca", "FILE", "certificates that may sign the server's; those of the system")        \
    X(cert, "cert", "FILE", "certificate to show to the server")                               \
    X(key, "key", "FILE", "its private key")                                                   \
    X(json, "json", "", "JSON instead of tables; of lists, one object a line")                 \
    X(help, "help", "", "this text")                                                           \
    X(client_id, "client-id", "PATTERN", "client ids; * stands for any characters, ? for one") \
    X(username, "username", "PATTERN", "user names")                                           \
    X(address, "address", "PATTERN", "addresses of clients")                                   \
    X(listener, "listener", "PATTERN", "listeners that they came by")                          \
    X(connected, "connected", "true|false", "only sessions whose client is here, or away")     \
    X(filter, "filter", "FILTER",                                                              \
      "subscriptions: exactly this filter; retained: topics that it matches")                  \
    X(topic, "topic", "TOPIC", "subscriptions that match this topic")                          \
    X(limit, "limit", "N", "no more rows than this")                                           \
    X(payload_bytes, "payload-bytes", "N", "show so much of each payload")                     \
    X(qos, "qos", "N", "0, 1 or 2; 0")                                                         \
    X(retain, "retain", "", "publish a retained message")                                      \
    X(file, "file", "FILE", "publish the content of a file; - is standard input")              \
    X(delete, "delete", "", "forget the retained message of the topic")                        \
    X(seconds, "seconds", "N", "how long to trace; 60")
/* How many of them are for every verb. */
#define CTL_COMMON_OPTIONS 7

struct ctl {
#define X(field, name, value, about) const char *field; /* NULL: not given; a switch: not NULL */
    CTL_OPTIONS(X)
#undef X
    const char *arguments[2];
    size_t argument_count;
    struct ctl_http *http;
};

struct ctl_verb {
    const char *name;
    const char *words; /* its arguments, for people */
    const char *about;
    const char *options; /* that are for it, with blanks around each */
    size_t arguments_min;
    size_t arguments_max;
    int (*run)(struct ctl *ctl);
};
extern const struct ctl_verb ctl__verbs[];
extern const size_t ctl__verb_count;

/* Says on stderr what went wrong; gives CTL_FAILED. */
int ctl__fail(const char *format, ...) printf_like(1, 2);

/* ---- the API --------------------------------------------------------------------------------- */

/* Makes the connection ready. NULL: told. End with ctl__http_close, which takes NULL. */
struct ctl_http *ctl__http_open(const struct ctl *ctl);
void ctl__http_close(struct ctl_http *http);

/* Adds a segment or a value, escaped. */
void ctl__escape(struct text *target, const char *value);

/*
 * Asks, and gives what was answered: an object, or json_true() when the answer has no body. NULL:
 * told. `body` may be NULL.
 */
json_t *ctl__ask(struct ctl_http *http, const char *method, const char *target, const json_t *body);

/* Asks, and hands each line of the answer to `line` as it comes. */
int ctl__stream(struct ctl_http *http, const char *target, long timeout_s,
                void (*line)(void *context, struct slice line), void *context);

/* ---- output ---------------------------------------------------------------------------------- */

/* A column of a table: a member of the rows' objects. */
struct ctl_column {
    const char *key;
    const char *title;
};

/* A table whose widths follow from its first rows. */
struct ctl_table {
    const struct ctl_column *columns;
    size_t count;
    size_t widths[12];
    bool begun;
};

/* Prints rows, an array of objects; the titles come before the first. */
void ctl__print_rows(struct ctl_table *table, const json_t *rows);
/* Prints an object, a member a line. */
void ctl__print_object(const json_t *object, unsigned indent);
/* A value as people read it. */
void ctl__add_value(struct text *out, const json_t *value);

/* What standard output did not take is an error too. */
int ctl__finish_output(void);

#endif
