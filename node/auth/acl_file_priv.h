/*
 * acl_file: reading rules from a text: our own format (acl_file.c), Mosquitto's (acl_mosquitto.c).
 *
 * Thread    the caller's.
 * Errors    a line gives a complaint in constant words, or NULL; reader->err says more when it is
 *           not ERR_OK.
 */
#ifndef PULSE_NODE_AUTH_ACL_FILE_PRIV_H
#define PULSE_NODE_AUTH_ACL_FILE_PRIV_H

#include "node/auth/acl.h"

/* Kinds of lines of a Mosquitto file, in the order in which they count there. */
enum acl__mosquitto_kind {
    ACL__TOPIC_DENY,
    ACL__TOPIC_ALLOW,
    ACL__PATTERN_DENY,
    ACL__PATTERN_ALLOW,
    ACL__MOSQUITTO_KINDS
};

struct acl__reader {
    struct acl_rules *rules;
    struct slice text;
    struct slice rest;
    uint8_t *copy; /* as long as the text; words with backslashes are put there, at their place */
    size_t line;
    enum err err;
    bool begun; /* a line has said something */
    bool mosquitto;
    struct slice username; /* of the last `user` line; borrows the text */
    struct acl_rules kinds[ACL__MOSQUITTO_KINDS];
};

void acl__skip_blanks(struct slice *line);

/* Adds one rule; gives a complaint or NULL. */
const char *acl__add(struct acl__reader *reader, struct acl_rules *to, const struct acl_rule *rule);

/* `line` is not empty and does not begin with a blank. */
const char *acl__mosquitto_line(struct acl__reader *reader, struct slice line);
/* Adds the rules of all lines to reader->rules, in their order. */
must_check enum err acl__mosquitto_end(struct acl__reader *reader);
void acl__mosquitto_fini(struct acl__reader *reader);

#endif
