/*
 * acl: who may publish and subscribe to what. Rules are compiled once; at login those that concern
 * one client become its view, which the worker asks for each publish and subscription.
 *
 * Owns      struct acl: the compiled rules of the configuration and its file; struct acl_view: what
 *           one client may do. Both immutable and counted.
 * Thread    making and asking: any, after hash_seed_init. acl_cache: the worker of its connection.
 * Errors    ERR_SYNTAX with one line for people: file, line, what is allowed. A bad file is an
 *           error, never an empty one. NULL where something is made: no memory.
 * Source    docs/acl.md: the first rule that fits decides; nothing fits: denied.
 * Not here  users and groups (auth.h).
 */
#ifndef PULSE_NODE_AUTH_ACL_H
#define PULSE_NODE_AUTH_ACL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/macros.h"
#include "base/slice.h"
#include "base/text.h"

struct acl;
struct acl_view;

/* X(CONSTANT, "word") */
#define ACL_PERMISSIONS(X) X(ACL_ALLOW, "allow") X(ACL_DENY, "deny")
#define ACL_ACTIONS(X) X(ACL_PUBLISH, "publish") X(ACL_SUBSCRIBE, "subscribe") X(ACL_ALL, "all")
#define X(constant, word) constant,
enum acl_permission { ACL_PERMISSIONS(X) };
enum acl_action { ACL_ACTIONS(X) };
#undef X

/*
 * One rule. It concerns a client when everything that is given here fits: `username`, `group`,
 * `anonymous`. None given: everybody.
 * In `filter`, %c is the client id, %u the user name, %C the common name of the client's
 * certificate, %O its organization, %U its organizational unit, %% a percent sign. A level holds
 * one of them at most, other text may stand around it. When the client's value is missing, or has
 * + # / or NUL in it, an allowing rule does not concern the client; a denying one holds whatever
 * the value: the level is +, or for a value with / the filter ends there with +/#. A topic that
 * begins with $ is allowed only by a rule that has the $ itself.
 */
struct acl_rule {
    enum acl_permission permission;
    enum acl_action action;
    struct slice username; /* empty: any */
    struct slice group;    /* empty: any */
    bool anonymous;        /* only clients without a user name */
    struct slice filter;   /* a topic filter without $share */
};

/* Who asks. */
struct acl_subject {
    struct slice username; /* empty: anonymous */
    struct slice client_id;
    struct slice common_name;
    struct slice organization;
    struct slice organizational_unit;
    const struct slice *groups;
    size_t group_count;
};

/* ---- rules ----------------------------------------------------------------------------------- */

#define ACL_RULES_MAX 1000000
#define ACL_RULES_BYTES_MAX (64u << 20) /* of all their texts */
#define ACL_FILE_BYTES_MAX (16u << 20)
#define ACL_LEVELS_MAX 256 /* of the filter of a rule */

/* Rules as they are read, in the order in which they count. A zeroed list is empty. */
struct acl_rules {
    struct acl_rule *items; /* their texts are owned by the list */
    size_t count;
    size_t cap;
    size_t bytes;
};

void acl_rules_fini(struct acl_rules *rules);
/* Adds a copy. ERR_SYNTAX: its filter is none, or it wants a user name and none; ERR_FULL: over a
 * limit above; ERR_MEMORY. */
must_check enum err acl_rules_add(struct acl_rules *rules, const struct acl_rule *rule);
/* What is wrong with the filter of a rule, in constant words for people; NULL: nothing. */
const char *acl_filter_complaint(struct slice filter);
/*
 * Adds the rules of a text, at least one, in one of the formats of docs/acl.md. `name` is that of
 * the file, for errors. On an error some rules may have been added.
 */
must_check enum err acl_rules_read(struct acl_rules *rules, struct slice text, const char *name,
                                   struct text *error);
must_check enum err acl_rules_read_file(struct acl_rules *rules, const char *path,
                                        struct text *error);

/* Compiles copies of `rules`. `default_allow`: what holds where no rule fits. NULL: no memory. */
struct acl *acl_create(const struct acl_rules *rules, bool default_allow);
void acl_ref(struct acl *acl);
void acl_unref(struct acl *acl); /* NULL is allowed */

/* ---- views ----------------------------------------------------------------------------------- */

/* Keeps a reference on `acl`. `extra` are rules of its own that a provider gave (JWT, HTTP, SQL),
 * which come before the others; borrowed; NULL: none. NULL: no memory. */
struct acl_view *acl_view_create(struct acl *acl, const struct acl_subject *subject,
                                 const struct acl_rules *extra);
void acl_view_ref(struct acl_view *view);
void acl_view_unref(struct acl_view *view); /* NULL is allowed */

bool acl_may_publish(const struct acl_view *view, struct slice topic);
/*
 * May it have every message that `filter` (without $share) matches? The first rule that covers the
 * filter decides; an earlier denying rule that overlaps it refuses it, because some of its messages
 * are not for this client.
 */
bool acl_may_subscribe(const struct acl_view *view, struct slice filter);
/* May it have this one message: for retained ones and for a queue that is older than the view. */
bool acl_may_receive(const struct acl_view *view, struct slice topic);
/* Views with the same one answer alike; for noticing changes. Those with different ones may answer
 * alike too. Differs from process to process. Never 0. */
uint64_t acl_view_fingerprint(const struct acl_view *view);

/* ---- what was asked lately ------------------------------------------------------------------- */

#define ACL_CACHE_SIZE 8

/* Answers of acl_may_publish for one client. A zeroed one is empty; zero it when its view
 * changes. */
struct acl_cache {
    uint64_t topics[ACL_CACHE_SIZE]; /* seeded hashes, never 0; the lowest bit is the answer */
};

bool acl_cache_may_publish(struct acl_cache *cache, const struct acl_view *view,
                           struct slice topic);

#endif
